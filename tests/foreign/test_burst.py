"""S1.1, S3.1: more packets in one HTTP body than python-engineio takes by itself lose nothing."""

from __future__ import annotations

import asyncio
import json

import pytest
from engineio.payload import Payload

from labs.chat import Talk
from tests.contract.town import Server
from tests.foreign.conftest import JS, Arrive, Run, Serve
from tests.hostile.raw import EngineIO

BURST = 200
SAID = [f"burst {number}" for number in range(BURST)]


def say_at_once(server: Server, session: str) -> None:
    """Add the whole burst to the log within one tick."""
    speaker = server.chat.session(session)
    for text in SAID:
        speaker.room.talk(speaker, Talk(text))


def test_the_library_would_lose_some() -> None:
    """The burst is worth its name: the limit that python-engineio comes with is far below."""
    assert BURST > 10 * 16
    assert Payload.__dict__["max_decode_packets"] >= 16


@pytest.mark.parametrize("transports", JS)
async def test_S3_1_a_burst_up(serve: Serve, run: Run, arrive: Arrive, transports: str) -> None:
    """S3.1, S1.2: 200 emits at once when connected, which is before the upgrade, if any."""
    server = await serve()
    bob = await arrive(server, "bob")
    alice = await run("rich.mjs", server.url, JS[transports], "alice", BURST)
    acks = await alice.shows("said")
    first = acks[0]["offset"]
    assert acks == [{"offset": first + number} for number in range(BURST)]
    await bob.hears(SAID[-1])
    assert bob.texts == SAID
    await alice.shows_one("message", lambda one: one["text"] == SAID[-1])
    assert [one["text"] for one in alice.all("message") if one["kind"] == "talk"] == SAID
    assert alice.all("disconnect") == []


@pytest.mark.parametrize("transports", JS)
async def test_S1_1_a_burst_down(serve: Serve, run: Run, arrive: Arrive, transports: str) -> None:
    """S1.1, S10.6: a page of the lesson gets a packet a message, 200 of them in one HTTP answer."""
    server = await serve()
    bob = await arrive(server, "bob")
    page = await run("lesson.mjs", server.url, JS[transports], "alice")
    await page.shows("info")
    say_at_once(server, bob.joined.session)
    await page.shows("chat", f"bob: {SAID[-1]}")
    assert page.all("chat") == [f"bob: {text}" for text in SAID]


async def test_S3_1_a_burst_in_one_post(serve: Serve) -> None:
    """S3.1: 201 packets in one body by hand, 200 acks and the messages back."""
    server = await serve("socketio-polling")
    join = '420["newUserConnect",{"name":"alice"}]'
    talks = [
        f'42{number}["sendMessage",{{"text":"{text}"}}]' for number, text in enumerate(SAID, 1)
    ]
    acks: dict[int, dict[str, int]] = {}
    heard: list[str] = []
    async with EngineIO(server.url, ("polling",)) as client:
        await client.connect()
        await client.send(join, *talks)
        while len(heard) < BURST or len(acks) < BURST + 1:
            packet = await client.receive()
            if packet.startswith("43"):
                number, _, answer = packet[2:].partition("[")
                acks[int(number)] = json.loads("[" + answer)[0]
            elif packet.startswith('42["updateMessage"'):
                heard += [one["text"] for one in json.loads(packet[2:])[1] if one["text"]]
    assert [acks[number]["offset"] for number in range(1, BURST + 1)] == [*range(2, BURST + 2)]
    assert heard == SAID


@pytest.mark.parametrize("name", ["socketio", "socketio-websocket", "socketio-polling"])
async def test_S3_1_a_burst_from_our_client(serve: Serve, arrive: Arrive, name: str) -> None:
    """S3.1: our own client takes 200 acks at once, too."""
    server = await serve(name)
    alice = await arrive(server, "alice")
    offsets = await asyncio.gather(*(alice.client.send(text) for text in SAID))
    assert sorted(offsets) == [*range(2, BURST + 2)]
    await alice.at(BURST + 1)
    assert [alice.seen[offset - 1].text for offset in offsets] == SAID
