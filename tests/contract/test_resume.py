"""SPEC.md section 5: coming back."""

import pytest

from labs.errors import ChatError
from tests.contract.line import Line
from tests.contract.town import Person, Town
from tests.contract.waiting import until


async def cut_off(town: Town, line: Line, person: Person) -> None:
    """Cut somebody's line and keep it cut, until the server has noticed."""
    line.refuse()
    session = town.server.session(person.joined)
    await until(lambda: session.cursor is None)


async def test_S5_1_after_a_cut_one_gets_exactly_what_one_missed(town: Town) -> None:
    await town.open()
    line = await town.line()
    alice, bob = await town.person("alice"), await town.person("bob", line)
    await alice.say("before")
    await bob.hears("before")
    line.refuse()
    missed = [f"missed {number}" for number in range(150)]
    for text in missed:
        await alice.say(text)
    line.refusing = False
    await alice.say("after")
    await bob.hears("after")
    assert bob.texts == ["before", *missed, "after"]
    await alice.hears("after")
    assert bob.seen == alice.seen[-len(bob.seen) :]


async def test_S5_1_also_when_cut_again_and_again(town: Town) -> None:
    await town.open()
    line = await town.line()
    alice, bob = await town.person("alice"), await town.person("bob", line)
    for number in range(30):
        await alice.say(f"{number}")
        if number % 10 == 5:
            line.cut()
    await bob.hears("29")
    assert bob.texts == [f"{number}" for number in range(30)]


async def test_S5_2_a_return_within_the_lease_announces_nothing(town: Town) -> None:
    await town.open(timeout_s=0.4)
    line = await town.line()
    alice, bob = await town.person("alice"), await town.person("bob", line)
    await cut_off(town, line, bob)
    town.clock.now_s += town.settings.lease_s * 0.9
    town.server.chat.expire()
    line.refusing = False
    await bob.say("back")
    town.clock.now_s += town.settings.lease_s * 0.9
    town.server.chat.expire()
    await alice.say("end")
    for person in (alice, bob):
        await person.hears("back", "end")
        assert (person.count("join", "bob"), person.count("leave", "bob")) == (1, 0)
    assert bob.texts == ["back", "end"]


async def test_S5_3_older_than_what_is_kept_is_a_gap(town: Town) -> None:
    await town.open(retention=20, timeout_s=0.4)
    line = await town.line()
    alice, bob = await town.person("alice"), await town.person("bob", line)
    await alice.say("before")
    await bob.hears("before")
    await cut_off(town, line, bob)
    for number in range(100):
        last = await alice.say(f"{number}")
    line.refusing = False
    await bob.hears("99")
    gaps = [one for one in bob.seen if one.kind == "gap"]
    assert [(one.offset, one.text) for one in gaps] == [(last - 20, bob.joined.epoch)]
    assert bob.texts == ["before", *(f"{number}" for number in range(80, 100))]


async def test_S5_3_of_another_epoch_is_a_gap(town: Town) -> None:
    """The server dies, and another begins with an empty log where it was."""
    await town.open()
    line = await town.line()
    alice, bob = await town.person("alice", line), await town.person("bob", line)
    for number in range(5):
        await alice.say(f"old {number}")
    for person in (alice, bob):
        await person.hears("old 4")
    await town.server.stop()
    await town.server.start()
    line.target = town.server.url
    offset = await alice.say("new")
    await bob.hears("new")
    epoch = (await (await town.raw()).join("witness"))["epoch"]
    for person in (alice, bob):
        await person.hears("new")
        assert person.texts == [*(f"old {number}" for number in range(5)), "new"]
        (gap,) = [one for one in person.seen if one.kind == "gap"]
        assert (gap.offset, gap.text) == (0, epoch)
        assert epoch != person.joined.epoch
        assert next(one.offset for one in person.seen if one.text == "new") == offset


@pytest.mark.parametrize("since", [10**6, "another:1", ":999999"])
async def test_S5_3_a_place_that_is_not_here_begins_with_a_gap(
    town: Town, since: int | str
) -> None:
    await town.open()
    alice = await town.person("alice")
    await alice.say("first")
    bob = await town.person("bob", since=since)
    await bob.hears("first")
    gap, join, *_ = bob.seen
    assert (gap.kind, gap.offset, gap.text) == ("gap", 0, alice.joined.epoch)
    assert (join.offset, join.name) == (1, "alice")


async def test_S5_3_never_an_empty_success(town: Town) -> None:
    """Even where nothing follows the gap there is one."""
    await town.open(retention=1)
    raw = await town.raw()
    joined = await raw.ask("newUserConnect", {"name": "raw", "since": "gone:5"})
    raw.listen("gone:5")
    await raw.until(lambda: bool(raw.seen))
    assert joined["since"] == "gone:5"
    assert [one["kind"] for one in raw.seen] == ["gap", "join"]


async def test_S5_4_a_session_that_is_gone_comes_back_by_its_token(town: Town) -> None:
    """It joins anew, is announced, and the key of before still holds."""
    await town.open(timeout_s=0.4)
    line = await town.line()
    alice, bob = await town.person("alice"), await town.person("bob", line)
    first = await bob.say("once", "key")
    await bob.hears("once")
    await cut_off(town, line, bob)
    town.clock.now_s += town.settings.lease_s
    town.server.session(alice.joined).touch()
    town.server.chat.expire()
    await alice.notices("leave", "bob")
    await alice.say("missed")
    line.refusing = False
    await alice.notices("join", "bob", times=2)
    assert await bob.say("once", "key") == first
    await alice.say("end")
    for person in (alice, bob):
        await person.hears("missed", "end")
        assert person.texts == ["once", "missed", "end"]
        assert (person.count("join", "bob"), person.count("leave", "bob")) == (2, 1)
    assert town.server.session(bob.joined).live


async def test_S5_4_under_the_same_token(town: Town) -> None:
    await town.open()
    raw = await town.raw()
    first = await raw.join("bob")
    offset = (await raw.ask("sendMessage", {"text": "once", "key": "key"}))["offset"]
    await raw.leave()
    again = await town.raw()
    second = await again.join("rob", session=first["session"])
    assert second["session"] == first["session"]
    assert second["present"] == ["rob"]
    assert await again.ask("sendMessage", {"text": "once", "key": "key"}) == {"offset": offset}


async def test_S5_5_a_newer_connection_takes_over(town: Town) -> None:
    await town.open()
    alice, bob = await town.person("alice"), await town.person("bob")
    session = town.server.session(bob.joined)
    await until(lambda: session.cursor is not None or town.variant.name == "polling")
    newer = await town.raw()
    await newer.join("bob", session=bob.joined.session, since=bob.joined.since)
    if town.variant.name != "polling":
        assert await bob.told() == "replaced"
        assert bob.client.state == "closed"
    await alice.say("to the newer")
    await newer.until(lambda: "to the newer" in [one["text"] for one in newer.seen])
    # A poll is over with its answer: polling has no connection that could be replaced.
    assert ("to the newer" in bob.texts) <= (town.variant.name == "polling")
    assert (alice.count("join", "bob"), alice.count("leave", "bob")) == (1, 0)


async def test_S5_5_also_from_one_whose_end_nobody_has_noticed(town: Town) -> None:
    """The line is dead, but to the server the old connection still stands."""
    await town.open(timeout_s=20.0)
    line = await town.line()
    alice, bob = await town.person("alice"), await town.person("bob", line)
    await alice.say("before")
    await bob.hears("before")
    line.freeze()
    newer = await town.raw()
    await newer.join("bob", session=bob.joined.session, since=bob.seen[-1].offset)
    await alice.say("after")
    await newer.until(lambda: bool(newer.seen))
    assert [one["text"] for one in newer.seen] == ["after"]


async def test_S5_5_the_older_takes_nothing_with_it(town: Town) -> None:
    """Who was replaced neither speaks for the session nor ends it by going."""
    await town.open()
    alice, bob = await town.person("alice"), await town.person("bob")
    session = town.server.session(bob.joined)
    await until(lambda: session.cursor is not None or town.variant.name == "polling")
    newer = await town.raw()
    await newer.join("bob", session=bob.joined.session)
    if town.variant.name != "polling":  # where nobody is replaced, see above
        assert await bob.told() == "replaced"
        with pytest.raises(ChatError) as refusal:
            await bob.say("still me")
        assert refusal.value.code == "replaced"
        await bob.leave()
    await newer.ask("sendMessage", {"text": "mine now"})
    await alice.hears("mine now")
    assert (alice.count("join", "bob"), alice.count("leave", "bob")) == (1, 0)
    assert not newer.ended
