"""What only the event stream does: it ends now and then, and keeps itself alive."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

import streaming.server
from labs.inbox import Backoff
from labs.variants import load
from tests.contract.town import Town, founded
from tests.contract.waiting import patience, until

STREAM = "/updateMessage"


@pytest.fixture
async def town(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    monkeypatch.setattr(streaming.server, "RETRY_MS", 10)
    monkeypatch.setattr(Backoff.__init__, "__defaults__", (0.02, 0.1))
    async with founded(load("streaming")) as town:
        yield town


async def talk(town: Town, messages: int) -> None:
    """Alice talks, Bob and Carol listen; nobody misses anything, nobody is announced twice."""
    people = [await town.person(name) for name in ("alice", "bob", "carol")]
    texts = [f"{number}" for number in range(messages)]
    for text in texts:
        await people[0].say(text)
    for person in people:
        await person.hears(*texts)
        assert person.texts == texts
        assert (person.count("join", person.name), person.count("leave", person.name)) == (1, 0)


async def test_S5_1_a_stream_recycled_for_its_size_loses_nothing(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = counted(monkeypatch)
    await town.open(recycle_bytes=500)
    await talk(town, 100)
    assert len(streams) > 6


async def test_S5_1_also_with_coalescing_off(town: Town) -> None:
    await town.open(recycle_bytes=300, coalesce_ms=None)
    await talk(town, 100)


async def test_S5_1_a_stream_recycled_for_its_age_loses_nothing(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = counted(monkeypatch)
    await town.open(recycle_s=0.02)
    alice = await town.person("alice")
    number = 0
    while len(streams) < 8:
        await alice.say(f"{number}")
        number += 1
    await alice.hears(f"{number - 1}")
    assert alice.texts == [f"{each}" for each in range(number)]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every stream that is begun from now on."""
    streams: list[object] = []

    class Counted(streaming.server.Stream):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            streams.append(self)

    monkeypatch.setattr(streaming.server, "Stream", Counted)
    return streams


async def test_S10_3_a_recycled_stream_ends_properly_after_whole_events(town: Town) -> None:
    """A foreign client sees the end of a chunked body, and an id to return with."""
    await town.open(recycle_bytes=500)
    alice = await town.person("alice")
    last = 0
    for number in range(50):
        last = await alice.say(f"{number}")
    seen, place = list[int](), f"{alice.joined.epoch}:0"
    bob = (await (await town.raw()).ask("newUserConnect", {"name": "bob"}))["session"]
    async with aiohttp.ClientSession(town.server.url) as http, patience():
        while len(seen) < last + 1:
            headers = {"Last-Event-ID": place}
            async with http.get(STREAM, params={"session": bob}, headers=headers) as response:
                text = (await response.content.read()).decode()
            assert text.endswith("\n\n")
            for block in text.split("\n\n"):
                lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
                if "id" in lines:
                    place = lines["id"]
                    seen += [one["offset"] for one in json.loads(lines["data"])]
    assert seen == list(range(1, last + 2))


async def test_S10_7_the_kernel_is_told_when_to_give_up(town: Town) -> None:
    await town.open(heartbeat_s=3.0, timeout_s=4.0)
    alice = await town.person("alice")
    session = town.server.session(alice.joined)
    await until(lambda: session.cursor is not None)
    waits_ms = [
        one.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        for one in town.server.connections()
    ]
    assert 4_000 in waits_ms, "of a comment, which comes after at most heartbeat_s"


async def test_S10_7_a_stream_with_nothing_to_say_still_breathes(town: Town) -> None:
    await town.open(heartbeat_s=0.05)
    raw = await town.raw()
    joined = await raw.ask("newUserConnect", {"name": "raw"})
    query = {"session": joined["session"], "since": "1"}
    async with (
        aiohttp.ClientSession(town.server.url) as http,
        patience(),
        http.get(STREAM, params=query) as response,
    ):
        text = b""
        while text.count(b":\n\n") < 3:
            text += await response.content.readany()
    assert text.removeprefix(b"retry: 10\n\n").strip(b":\n") == b""


async def test_S9_1_asking_for_the_head_alone_begins_no_stream(town: Town) -> None:
    await town.open()
    alice = await town.person("alice")
    session = town.server.session(alice.joined)
    await until(lambda: session.cursor is not None)
    query = {"session": alice.joined.session, "since": "0"}
    async with (
        aiohttp.ClientSession(town.server.url) as http,
        patience(),
        http.head(STREAM, params=query) as response,
    ):
        assert response.status == 404
    await alice.say("undisturbed")
    await alice.hears("undisturbed")


async def test_S9_1_nor_does_asking_in_the_old_way(town: Town) -> None:
    """HTTP/1.0 knows no chunks."""
    await town.open()
    alice = await town.person("alice")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(town.server.url[-5:]))
    path = f"{STREAM}?session={alice.joined.session}&since=0"
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    async with patience():
        text = await reader.read()
    writer.close()
    assert text.startswith(b"HTTP/1.0 400 ")
    assert b'"bad_request"' in text


async def test_S9_4_a_client_that_reads_nothing_more_does_not_hold_up_the_end(town: Town) -> None:
    """The farewell is given up after `drain_s`."""
    await town.open(drain_s=0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(town.server.url[-5:]))
    raw = await town.raw()
    joined = await raw.ask("newUserConnect", {"name": "raw"})
    writer.write(f"GET {STREAM}?session={joined['session']}&since=0 HTTP/1.1\r\n\r\n".encode())
    await reader.readline()
    async with patience():
        await town.server.stop()
    assert town.server.connections() == []
    writer.transport.abort()
