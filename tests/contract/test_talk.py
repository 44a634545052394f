"""SPEC.md sections 3 and 4: talking, and talking again when nobody knows how it went."""

import asyncio

import pytest

from tests.contract.town import Town, everywhere


async def test_S3_1_the_answer_is_the_offset_that_comes_down(town: Town) -> None:
    await town.open()
    alice = await town.person("alice")
    bob = await town.person("bob")
    offsets = {f"{number}": await alice.say(f"{number}") for number in range(10)}
    await bob.hears(*offsets)
    assert {one.text: one.offset for one in bob.seen if one.kind == "talk"} == offsets


async def test_S3_1_at_the_answer_the_message_is_in_the_log(town: Town) -> None:
    await town.open()
    alice = await town.person("alice")
    offset = await alice.say("kept")
    last = town.server.said(alice.joined)[-1]
    assert (last.offset, last.kind, last.text) == (offset, "talk", "kept")


async def test_S3_2_the_sender_sees_it_come_down_like_everyone_else(town: Town) -> None:
    await town.open()
    alice = await town.person("alice")
    bob = await town.person("bob")
    offset = await alice.say("안녕 <b>하세요</b> 🙂\n둘째 줄\t끝")
    for person in (alice, bob):
        await person.at(offset)
    assert alice.seen[-1] == bob.seen[-1]
    assert alice.seen[-1].text == "안녕 <b>하세요</b> 🙂\n둘째 줄\t끝"


async def test_S3_3_the_name_is_the_sessions_whatever_the_command_said(town: Town) -> None:
    await town.open()
    alice = await town.person("alice")
    raw = await town.raw()
    await raw.join("bob")
    await raw.ask("sendMessage", {"text": "it was alice", "name": "alice", "offset": 77})
    await alice.hears("it was alice")
    assert alice.seen[-1].name == "bob"


async def test_S4_1_a_key_seen_before_answers_the_same_and_adds_nothing(town: Town) -> None:
    await town.open()
    alice = await town.person("alice")
    first = await alice.say("once", "key")
    await alice.say("between")
    assert await alice.say("once", "key") == first
    assert await alice.say("another text", "key") == first
    await alice.say("end", "k" * 64)
    await alice.hears("end")
    assert alice.texts == ["once", "between", "end"]


async def test_S4_1_for_as_long_as_the_message_is_kept(town: Town) -> None:
    await town.open(retention=20)
    alice = await town.person("alice")
    first = await alice.say("once", "key")
    for number in range(19):
        await alice.say(f"{number}", f"other {number}")
    assert await alice.say("once", "key") == first


async def test_S4_1_two_tries_at_once_are_one_message(town: Town) -> None:
    await town.open()
    alice = await town.person("alice")
    offsets = await asyncio.gather(*(alice.say("once", "key") for _ in range(10)))
    await alice.say("end")
    await alice.hears("end")
    assert len(set(offsets)) == 1
    assert alice.texts == ["once", "end"]


async def test_S4_2_a_retry_after_a_lost_answer_is_in_the_log_once(town: Town) -> None:
    """The server has taken the message, the line breaks before its answer is through."""
    await town.open()
    line = await town.line()
    witness = await town.person("witness")
    alice = await town.person("alice", line)
    line.hold()
    sending = asyncio.create_task(alice.say("once"))
    await witness.hears("once")
    assert not sending.done()
    line.cut()
    line.release()
    offset = await sending
    await alice.say("end")
    for person in (alice, witness):
        await person.hears("end")
        assert person.texts == ["once", "end"]
    heard = next(one for one in witness.seen if one.text == "once")
    assert offset == heard.offset
    assert witness.count("leave", "alice") == 0


@pytest.mark.usefixtures("quiet")
async def test_S4_2_also_when_the_answer_never_comes() -> None:
    """A timeout is indefinite: the line is still there, and dead."""

    async def scenario(town: Town) -> None:
        await town.open(heartbeat_s=0.5)
        line = await town.line()
        witness = await town.person("witness")
        alice = await town.person("alice", line, timeout_s=2.0)
        line.hold()
        sending = asyncio.create_task(alice.say("once"))
        await witness.hears("once")
        line.freeze()
        offset = await sending
        await alice.say("end")
        await witness.hears("end")
        assert witness.texts == ["once", "end"]
        assert offset == next(one for one in witness.seen if one.text == "once").offset

    await everywhere(scenario)


async def test_S4_3_the_same_key_from_two_sessions_is_two_keys(town: Town) -> None:
    await town.open()
    alice = await town.person("alice")
    bob = await town.person("bob")
    offsets = [await alice.say("from alice", "key"), await bob.say("from bob", "key")]
    assert offsets[0] != offsets[1]
    await alice.hears("from alice", "from bob")
