"""SPEC.md section 6: leaving, and being gone."""

import pytest

from labs.errors import ChatError
from tests.contract.town import Town, everywhere
from tests.contract.waiting import until


async def test_S6_1_a_leave_is_announced_at_once_and_once(town: Town) -> None:
    """The clock stands still: no lease has ended."""
    await town.open()
    alice, bob = await town.person("alice"), await town.person("bob")
    await bob.leave()
    await alice.notices("leave", "bob")
    town.clock.now_s += 10 * town.settings.lease_s
    town.server.chat.expire()
    await alice.say("end")
    await alice.hears("end")
    assert alice.count("leave", "bob") == 1


async def test_S6_1_closing_twice_is_leaving_once(town: Town) -> None:
    await town.open()
    alice, bob = await town.person("alice"), await town.person("bob")
    await bob.leave()
    await bob.leave()
    await alice.say("end")
    await alice.hears("end")
    assert alice.count("leave", "bob") == 1
    assert bob.client.state == "closed"


async def test_S6_1_whoever_is_closed_talks_no_more(town: Town) -> None:
    await town.open()
    alice, bob = await town.person("alice"), await town.person("bob")
    await bob.leave()
    with pytest.raises(Exception, match="closed"):
        await bob.say("after all")
    await alice.say("end")
    await alice.hears("end")
    assert alice.texts == ["end"]
    assert alice.count("join", "bob") == 1


async def test_S6_2_after_it_the_session_is_unknown(town: Town) -> None:
    await town.open()
    raw = await town.raw()
    joined = await raw.join("bob")
    session = town.server.chat.session(joined["session"])
    await raw.leave()
    await until(lambda: not session.live)
    with pytest.raises(ChatError) as refusal:
        town.server.chat.session(joined["session"])
    assert refusal.value.code == "unknown_session"
    if town.variant.package != "socketio_chat":  # there the packet ends the connection too
        with pytest.raises(ChatError) as refusal:
            await raw.ask("sendMessage", {"text": "still here"})
        assert refusal.value.code == "unknown_session"


async def test_S6_3_whoever_falls_silent_is_announced_when_the_lease_ends(town: Town) -> None:
    """Not a moment before, by the clock of the test; and once."""
    await town.open(timeout_s=0.4)
    line = await town.line()
    alice, bob = await town.person("alice"), await town.person("bob", line)
    session = town.server.session(bob.joined)
    line.refuse()
    await until(lambda: session.cursor is None)
    town.clock.now_s += town.settings.lease_s - 0.01
    alice_session = town.server.session(alice.joined)
    alice_session.touch()
    town.server.chat.expire()
    assert session.live
    town.clock.now_s += 0.01
    alice_session.touch()
    town.server.chat.expire()
    assert not session.live
    await alice.notices("leave", "bob")
    town.clock.now_s += 0.01
    town.server.chat.expire()
    await alice.say("end")
    await alice.hears("end")
    assert alice.count("leave", "bob") == 1


@pytest.mark.usefixtures("quiet")
async def test_S6_3_by_the_real_time_too() -> None:
    """A client that is cut off without a goodbye, and nobody who moves a clock."""

    async def scenario(town: Town) -> None:
        await town.open(clock=False, lease_s=0.4, timeout_s=0.4)
        line = await town.line()
        alice = await town.person("alice")
        await town.person("bob", line)
        line.refuse()
        await alice.notices("leave", "bob")
        dora = await town.person("dora")
        assert "bob" not in dora.joined.present

    await everywhere(scenario)


async def test_S6_3_whoever_is_heard_of_stays(town: Town) -> None:
    """Silence in the room is not silence of a client: no lease runs while it is there."""
    await town.open()
    alice, bob = await town.person("alice"), await town.person("bob")
    sessions = [town.server.session(person.joined) for person in (alice, bob)]
    for _ in range(5):
        # Either it holds a connection, or it has asked since the clock moved.
        await until(
            lambda: all(one.cursor or one.touched_s == town.clock.now_s for one in sessions)
        )
        town.clock.now_s += town.settings.lease_s * 0.9
        town.server.chat.expire()
    await alice.say("end")
    for person in (alice, bob):
        await person.hears("end")
        assert "leave" not in [one.kind for one in person.seen]
