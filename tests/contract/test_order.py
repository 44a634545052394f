"""SPEC.md section 1: messages and order."""

import asyncio

import pytest

import labs.inbox
from labs.chat import Talk
from tests.contract.town import Town
from tests.contract.waiting import until

SENDERS, EACH = 8, 25
PUSHED = ("streaming", "websocket_chat", "socketio_chat")


async def talk(town: Town) -> list[str]:
    """Many people talk at once; answers what they have said."""
    people = [await town.person(f"p{number}") for number in range(SENDERS)]
    texts = [[f"{p.name} {number}" for number in range(EACH)] for p in people]

    async def all_of(one: int) -> None:
        for text in texts[one]:
            await people[one].say(text)

    await asyncio.gather(*(all_of(one) for one in range(SENDERS)))
    return [text for mine in texts for text in mine]


async def test_S1_1_each_sees_every_offset_once_in_order(town: Town) -> None:
    await town.open()
    said = await talk(town)
    for person in town.people:
        await person.hears(*said)
        offsets = [message.offset for message in person.seen]
        assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))


@pytest.mark.parametrize("coalesce_ms", [None, 20.0])
async def test_S1_1_whether_messages_are_coalesced_or_not(
    town: Town, coalesce_ms: float | None
) -> None:
    await town.open(coalesce_ms=coalesce_ms)
    said = await talk(town)
    for person in town.people:
        await person.hears(*said)


@pytest.mark.parametrize(("coalesce_ms", "frames"), [(0.0, 1), (20.0, 1), (None, 30)])
async def test_S10_a_batch_is_what_was_said_in_one_window_or_else_one_message(
    town: Town, coalesce_ms: float | None, frames: int
) -> None:
    """Only what is pushed comes message by message: a poll is answered with all there is."""
    await town.open(coalesce_ms=coalesce_ms, retention=50)
    raw = await town.raw()
    token = (await raw.join("raw"))["session"]
    session = town.server.chat.session(token)
    await raw.until(lambda: len(raw.seen) == 1)
    await until(lambda: session.cursor is not None or town.variant.name == "polling")
    for number in range(30):
        session.room.talk(session, Talk(f"{number}"))
    await raw.until(lambda: len(raw.seen) == 31)
    assert [one["text"] for one in raw.seen[1:]] == [f"{number}" for number in range(30)]
    if town.variant.package in PUSHED and town.variant.name != "socketio-polling":
        assert len(raw.batches) == 1 + frames


async def test_S1_1_with_coalescing_off_one_catches_up_too(town: Town) -> None:
    await town.open(coalesce_ms=None)
    alice = await town.person("alice")
    for number in range(250):
        last = await alice.say(f"{number}")
    late = await town.person("late", since=0)
    await late.at(last + 1)
    assert late.seen[0].offset == 1


async def test_S1_1_also_for_a_reader_far_behind(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More messages than a client reads ahead wait for a reader who takes his time."""
    monkeypatch.setattr(labs.inbox, "AHEAD_MESSAGES", 50)
    await town.open()
    alice = await town.person("alice")
    late = town.stranger("late")
    await late.join(reading=False)
    town.people.append(late)
    for number in range(300):
        alice_offset = await alice.say(f"{number}")
    late.read()
    await late.at(alice_offset)
    assert late.texts == [f"{number}" for number in range(300)]


async def test_S1_2_all_see_the_same_messages_in_the_same_order(town: Town) -> None:
    await town.open()
    said = await talk(town)
    for person in town.people:
        await person.hears(*said)
    last = town.people[-1].seen
    for person in town.people:
        assert person.seen[-len(last) :] == last


async def test_S1_2_each_senders_own_order_is_kept(town: Town) -> None:
    await town.open()
    said = await talk(town)
    listener = town.people[0]
    await listener.hears(*said)
    for number in range(SENDERS):
        mine = [text for text in listener.texts if text.startswith(f"p{number} ")]
        assert mine == [f"p{number} {each}" for each in range(EACH)]


async def test_S1_3_rooms_are_independent(town: Town) -> None:
    await town.open()
    here = [await town.person(name) for name in ("alice", "bob")]
    there = [await town.person(name, room="elsewhere") for name in ("alice", "carol")]
    for number in range(10):
        await here[0].say(f"here {number}")
        await there[0].say(f"there {number}")
    for people, place in ((here, "here"), (there, "there")):
        for person in people:
            await person.hears(f"{place} 9")
            assert person.texts == [f"{place} {number}" for number in range(10)]
    assert {p.joined.room for p in there} == {"elsewhere"}


async def test_S1_4_a_room_keeps_its_last_messages(town: Town) -> None:
    await town.open(retention=10)
    alice = await town.person("alice")
    for number in range(30):
        last = await alice.say(f"{number}")
    reader = await town.person("reader", since=0)
    await reader.at(last + 1)
    gap, *kept = reader.seen
    assert (gap.kind, gap.offset) == ("gap", last + 1 - 10)
    assert [message.offset for message in kept] == list(range(last - 8, last + 2))
