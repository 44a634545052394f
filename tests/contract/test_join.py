"""SPEC.md sections 2 and 7: joining, renaming, and who is present."""

import asyncio

import pytest

from labs.errors import ChatError
from tests.contract.town import Person, Town


async def refused(person: Person) -> str:
    with pytest.raises(ChatError) as refusal:
        await person.join()
    return refusal.value.code


async def test_S2_the_answer_says_who_and_where_one_is(town: Town) -> None:
    await town.open()
    alice = await town.person("alice", room="salon")
    bob = await town.person("  bob ", room="salon")
    joined = bob.joined
    assert (joined.name, joined.room, joined.present) == ("bob", "salon", ["alice", "bob"])
    assert joined.session != alice.joined.session
    assert len(joined.session) >= 16
    assert (joined.epoch, joined.head) == (alice.joined.epoch, 2)
    assert joined.since == f"{joined.epoch}:1"
    assert joined.lease_s == town.settings.lease_s
    assert joined.quiet_s == town.variant.quiet_s(town.settings)


async def test_S2_1_a_join_is_announced_to_everyone_the_joiner_too(town: Town) -> None:
    await town.open()
    alice = await town.person("alice")
    bob = await town.person("bob")
    for person in (alice, bob):
        await person.notices("join", "bob")
        assert person.count("join", "bob") == 1
        assert person.seen[-1].text == ""


async def test_S2_2_without_since_one_starts_at_ones_own_join(town: Town) -> None:
    await town.open()
    alice = await town.person("alice")
    await alice.say("before")
    bob = await town.person("bob")
    await alice.say("after")
    await bob.hears("after")
    assert [(one.kind, one.name) for one in bob.seen] == [("join", "bob"), ("talk", "alice")]


async def test_S2_3_with_since_one_starts_after_that_position(town: Town) -> None:
    await town.open()
    alice = await town.person("alice")
    offsets = [await alice.say(f"{number}") for number in range(10)]
    bare = await town.person("bare", since=offsets[4])
    full = await town.person("full", since=f"{alice.joined.epoch}:{offsets[4]}")
    zero = await town.person("zero", since=0)
    await alice.say("end")
    for person, first in ((bare, offsets[5]), (full, offsets[5]), (zero, 1)):
        await person.hears("end")
        assert person.seen[0].offset == first


async def test_S2_4_nothing_falls_between_the_answer_and_the_first_batch(town: Town) -> None:
    """What is said after the answer, and before a client reads, comes in the first batch."""
    await town.open()
    alice = await town.person("alice")
    raw = await town.raw()
    joined = await raw.ask("newUserConnect", {"name": "raw"})
    offsets = [await alice.say(f"{number}") for number in range(5)]
    raw.listen(joined["since"])
    await raw.until(lambda: len(raw.seen) == 6)
    assert [one["offset"] for one in raw.seen] == [offsets[0] - 1, *offsets]


async def test_S2_4_nor_while_others_talk_without_a_pause(town: Town) -> None:
    await town.open()
    alice = await town.person("alice")
    talking = asyncio.create_task(talk_on(alice))
    newcomers = [await town.person(f"n{number}") for number in range(5)]
    talking.cancel()
    last = await alice.say("end")
    for person in newcomers:
        await person.hears("end")
        first = person.seen[0]
        assert (first.kind, first.name) == ("join", person.name)
        assert len(person.seen) == last - first.offset + 1


async def talk_on(person: Person) -> None:
    number = 0
    while True:
        await person.say(f"{number}")
        number += 1


async def test_S2_5_a_second_join_with_another_name_renames(town: Town) -> None:
    await town.open()
    alice = await town.person("alice")
    raw = await town.raw()
    first = await raw.join("bob")
    second = await raw.ask("newUserConnect", {"name": "rob", "session": first["session"]})
    await alice.notices("join", "rob")
    assert second["session"] == first["session"]
    assert second["present"] == ["alice", "rob"]
    renamed = alice.seen[-1]
    assert (renamed.kind, renamed.name, renamed.text) == ("join", "rob", "bob")
    await raw.until(lambda: "rob" in [one["name"] for one in raw.seen])
    await raw.ask("sendMessage", {"text": "still here"})
    await alice.hears("still here")
    assert alice.seen[-1].name == "rob"
    assert alice.count("leave", "bob") == 0


async def test_S2_5_with_the_same_name_it_announces_nothing(town: Town) -> None:
    await town.open()
    alice = await town.person("alice")
    raw = await town.raw()
    first = await raw.join("bob")
    again = await raw.ask("newUserConnect", {"name": "bob", "session": first["session"]})
    await alice.say("end")
    await alice.hears("end")
    assert again["session"] == first["session"]
    assert alice.count("join", "bob") == 1


async def test_S7_1_present_are_those_with_a_lease_in_order_of_arrival(town: Town) -> None:
    await town.open()
    people = [await town.person(name) for name in ("carol", "alice", "bob")]
    assert people[-1].joined.present == ["carol", "alice", "bob"]
    await people[1].leave()
    await people[0].notices("leave", "alice")
    dora = await town.person("dora")
    assert dora.joined.present == ["carol", "bob", "dora"]


async def test_S7_2_two_live_sessions_cannot_bear_one_name(town: Town) -> None:
    await town.open()
    alice = await town.person("alice")
    assert await refused(town.stranger("alice")) == "name_taken"
    assert await refused(town.stranger(" alice\t")) == "name_taken"
    decomposed, composed = "ame\u0301lie", "am\u00e9lie"
    await town.person(composed)
    assert await refused(town.stranger(decomposed)) == "name_taken"
    await town.person("alice", room="elsewhere")
    await alice.say("end")
    await alice.hears("end")
    assert alice.count("join", "alice") == 1


async def test_S7_2_nor_take_one_by_renaming(town: Town) -> None:
    await town.open()
    await town.person("alice")
    raw = await town.raw()
    joined = await raw.join("bob")
    with pytest.raises(ChatError) as refusal:
        await raw.ask("newUserConnect", {"name": "alice", "session": joined["session"]})
    assert refusal.value.code == "name_taken"
    await raw.ask("sendMessage", {"text": "as before"})
    await raw.until(lambda: "as before" in [one["text"] for one in raw.seen])
    assert raw.seen[-1]["name"] == "bob"


async def test_S7_3_a_name_is_free_when_its_bearer_has_left(town: Town) -> None:
    await town.open()
    alice = await town.person("alice")
    bob = await town.person("bob")
    await bob.leave()
    await alice.notices("leave", "bob")
    second = await town.person("bob")
    assert second.joined.session != bob.joined.session
    assert second.joined.present == ["alice", "bob"]


async def test_S7_3_or_has_taken_another(town: Town) -> None:
    await town.open()
    raw = await town.raw()
    joined = await raw.join("bob")
    await raw.ask("newUserConnect", {"name": "rob", "session": joined["session"]})
    bob = await town.person("bob")
    assert bob.joined.present == ["rob", "bob"]
