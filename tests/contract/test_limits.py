"""SPEC.md section 8: limits, each with its code, and nobody else disturbed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from labs.errors import ChatError
from tests.contract.raw import Raw
from tests.contract.town import Town, everywhere
from tests.contract.waiting import until

BAD_NAMES = [
    "",
    " \t\u3000",
    "n" * 33,
    "\U0001f642" * 33,
    "a\x00b",
    "a\nb",
    "a\x7fb",
    "a\u0085b",
    "a\u2028b",
    "a\u202eb",
    "a\u2066b",
    "SERVER",
    "sErVeR",
    " server ",
]
GOOD_NAMES = ["n" * 32, "\U0001f642" * 32, "김하늘", "<b>bold</b>", "SERVER2", "e\u0301" * 32]
BAD_TEXTS = ["", "x" * 2_001, "가" * 2_001, "a\x00b", "a\x1bb", "a\rb", "a\x7fb", "a\u0085b"]
GOOD_TEXTS = ["x", " ", "x" * 2_000, "\U0001f642" * 2_000, "가" * 2_000, "a\n\tb", "\u202eabc"]


@asynccontextmanager
async def undisturbed(town: Town) -> AsyncIterator[Raw]:
    """A client that makes a mistake inside: it and everybody else can go on afterwards."""
    alice = await town.person("alice")
    culprit = await town.raw()
    await culprit.join("culprit")
    before = alice.client.state
    yield culprit
    await culprit.ask("sendMessage", {"text": "sorry"})
    await alice.say("end")
    await alice.hears("sorry", "end")
    await culprit.until(lambda: "end" in [one["text"] for one in culprit.seen])
    assert alice.client.state == before == "open"
    assert "leave" not in [one.kind for one in alice.seen]


async def code_of(culprit: Raw, event: str, data: object) -> str:
    with pytest.raises(ChatError) as refusal:
        await culprit.ask(event, data)
    assert refusal.value.message
    return refusal.value.code


async def test_S8_1_names(town: Town) -> None:
    await town.open()
    async with undisturbed(town) as culprit:
        for name in BAD_NAMES:
            command = {"name": name}
            assert await code_of(culprit, "newUserConnect", command) == "bad_name", repr(name)
    for name in GOOD_NAMES:
        await (await town.raw()).join(name)


async def test_S8_1_also_for_a_room(town: Town) -> None:
    await town.open()
    async with undisturbed(town) as culprit:
        for room in BAD_NAMES[1:]:
            command = {"name": "culprit", "room": room}
            assert await code_of(culprit, "newUserConnect", command) == "bad_name", repr(room)


async def test_S8_2_texts(town: Town) -> None:
    await town.open()
    async with undisturbed(town) as culprit:
        for text in BAD_TEXTS:
            command = {"text": text}
            assert await code_of(culprit, "sendMessage", command) == "bad_text", repr(text)
        for text in GOOD_TEXTS:
            await culprit.ask("sendMessage", {"text": text})
    said = [one["text"] for one in culprit.seen if one["kind"] == "talk"]
    assert said[: len(GOOD_TEXTS)] == GOOD_TEXTS


async def test_S8_2_a_client_hears_of_it_and_goes_on(town: Town) -> None:
    await town.open()
    alice = await town.person("alice")
    for text in BAD_TEXTS:
        with pytest.raises(ChatError) as refusal:
            await alice.say(text)
        assert refusal.value.code == "bad_text"
        assert alice.client.state == "open"
    await alice.say("good")
    await alice.hears("good")


async def test_S8_3_a_body_frame_or_packet(town: Town) -> None:
    await town.open()
    limit = town.settings.body_bytes
    async with undisturbed(town) as culprit:
        large = {"text": "x" * limit}
        assert await code_of(culprit, "sendMessage", large) == "too_large"
        assert await code_of(culprit, "newUserConnect", {"name": "n" * limit}) == "too_large"
        allowed = {"text": "x" * (limit - 300)}
        assert await code_of(culprit, "sendMessage", allowed) == "bad_text"


async def test_S8_3_a_client_hears_of_it_and_goes_on(town: Town) -> None:
    """Whether the server tells it or, past 1 MiB, there is nobody left to ask."""
    await town.open()
    alice = await town.person("alice")
    for size in (town.settings.body_bytes, 2 * town.settings.hard_bytes):
        with pytest.raises(ChatError) as refusal:
            await alice.say("x" * size)
        assert refusal.value.code == "too_large"
    await alice.say("good")
    await alice.hears("good")


async def test_S8_4_requests_of_a_session(town: Town) -> None:
    """By a clock that stands still the allowance is exact: a join, then nine messages."""
    await town.open(rate_burst=10, rate_per_s=2.0)
    bystander = await town.raw()
    await bystander.ask("newUserConnect", {"name": "bystander"})
    culprit = await town.raw()
    await culprit.ask("newUserConnect", {"name": "culprit"})
    for number in range(9):
        await culprit.ask("sendMessage", {"text": f"{number}"})
    assert await code_of(culprit, "sendMessage", {"text": "more"}) == "rate_limited"
    await bystander.ask("sendMessage", {"text": "not me"})
    town.clock.now_s += 1.0
    for number in range(2):
        await culprit.ask("sendMessage", {"text": f"{number}"})
    assert await code_of(culprit, "sendMessage", {"text": "more"}) == "rate_limited"
    assert await code_of(culprit, "newUserConnect", mine(culprit, town)) == "rate_limited"


def mine(culprit: Raw, town: Town) -> dict[str, str]:
    """A join that is the culprit's own, whether a connection says so or a token."""
    token = getattr(culprit, "token", None)
    return {"name": "culprit"} | ({"session": token} if token else {})


@pytest.mark.usefixtures("quiet")
async def test_S8_4_a_client_waits_and_goes_on() -> None:
    async def scenario(town: Town) -> None:
        await town.open(clock=False, rate_burst=12, rate_per_s=25.0, lease_s=10.0, interval_s=0.2)
        alice, bob = await town.person("alice"), await town.person("bob")
        for number in range(16):
            await alice.say(f"{number}")
        await bob.hears("15")
        assert bob.texts == [f"{number}" for number in range(16)]

    await everywhere(scenario)


async def test_S8_5_sessions_a_room(town: Town) -> None:
    await town.open(sessions=2)
    alice, bob = await town.person("alice"), await town.person("bob")
    carol = town.stranger("carol")
    with pytest.raises(ChatError) as refusal:
        await carol.join()
    assert refusal.value.code == "room_full"
    await town.person("carol", room="elsewhere")
    await bob.leave()
    await alice.notices("leave", "bob")
    await town.person("dora")
    await alice.notices("join", "dora")


async def test_S8_6_rooms_and_an_empty_one_makes_way(town: Town) -> None:
    await town.open(rooms=2)
    alice = await town.person("alice", room="first")
    bob = await town.person("bob", room="second")
    bobs = town.server.session(bob.joined)
    with pytest.raises(ChatError) as refusal:
        await town.stranger("carol", room="third").join()
    assert refusal.value.code == "room_full"
    await bob.leave()
    await until(lambda: not bobs.live)
    await town.person("carol", room="third")
    await alice.say("undisturbed")
    await alice.hears("undisturbed")


async def test_S8_7_connections_an_address(town: Town) -> None:
    """Whoever is in stays in; whoever goes makes room."""
    await town.open(connections=6)
    inside = [await town.person("p0")]
    code = ""
    while not code:
        assert len(inside) < 7, "nobody is refused"
        newcomer = town.stranger(f"p{len(inside)}")
        try:
            await newcomer.join()
            inside.append(newcomer)
            town.people.append(newcomer)
        except ChatError as refusal:
            code = refusal.code
    assert code == "rate_limited"
