"""The tap keeps what passes, to the byte, and says what it was when asked."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labs.errors import LabError
from labs.wire import tcpinfo
from labs.wire.control import Child, ChildDiedError
from labs.wire.ledger import account
from labs.wire.recording import Event, load, save
from labs.wire.tap import EVENT_BYTES, Tap, tapping
from labs.wire.traffic import Segments, Traffic
from tests.need import need

HOST = "127.0.0.1"
GET = b"GET /updateMessage?since=1 HTTP/1.1\r\nHost: a\r\n\r\n"
POST = (
    b"POST /sendMessage HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n"
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
)
CHUNKED = (
    b"POST /sendMessage HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1b\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n"
)
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
PAGE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
    b"HTTP/1.1 304 Not Modified\r\n\r\n",
    EMPTY,
)

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(talk: Talk) -> AsyncIterator[int]:
    """A server that talks so; yields its port."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(one, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def tapped(talk: Talk) -> AsyncIterator[tuple[Tap, int]]:
    """A server that talks so, behind a tap; yields the tap and its port."""
    async with served(talk) as port, tapping(HOST, port) as (tap, own_port):
        yield tap, own_port


@asynccontextmanager
async def process(talk: Talk) -> AsyncIterator[tuple[Child, int]]:
    """The same with a tap that is a process."""
    async with served(talk) as port:
        tap = await Child.start("the tap", "labs.wire.tap", HOST, str(port))
        try:
            yield tap, (await tap.hear(20))["port"]
        finally:
            await tap.stop()
        assert not tap.log


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def ask(port: int, data: bytes) -> bytes:
    """Send, end the sending side, and read what comes until the other side ends too."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def sizes(tap: Tap, kind: str) -> dict[int, int]:
    """The bytes of one direction, connection by connection."""
    found: dict[int, int] = {}
    for event in tap.events:
        if event.kind == kind:
            found[event.connection] = found.get(event.connection, 0) + len(event.data)
    return found


async def test_keeps_known_bytes_of_each_direction() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1_000)
        writer.write(b"d" * 2_345)
        await writer.drain()

    async with tapped(talk) as (tap, port):
        assert len(await ask(port, b"u" * 1_000)) == 2_345
        assert (sizes(tap, "up"), sizes(tap, "down")) == ({0: 1_000}, {0: 2_345})
        kinds = [event.kind for event in tap.events]
        assert kinds[0] == "opened"
        assert kinds[-1] == "down_end"
        assert "up_end" in kinds
        assert [event.at_ns for event in tap.events] == sorted(e.at_ns for e in tap.events)


async def test_keeps_many_connections_each_for_itself() -> None:
    wanted = [37 * number + 1 for number in range(60)]
    async with tapped(echo) as (tap, port):
        answers = await asyncio.gather(*(ask(port, b"x" * size) for size in wanted))
        assert [len(answer) for answer in answers] == wanted
        assert sorted(sizes(tap, "up").values()) == wanted
        assert sizes(tap, "up") == sizes(tap, "down")
        assert account(tap.events, [("all", None)])["all"].both == 2 * sum(wanted)


async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for answer in PAGE:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
    await reader.read()


async def test_a_browsers_connection_carries_many_requests() -> None:
    heads = [
        b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" % path
        for path in (b"/", b"/web/chat.js", b"/updateMessage?session=s&since=e:1")
    ]
    async with tapped(page) as (tap, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        moments = []
        for head, answer in zip(heads, PAGE, strict=True):
            writer.write(head)
            await reader.readexactly(len(answer))
            moments.append(monotonic_ns())
        writer.close()
        await writer.wait_closed()
        ends = [*zip("123", moments, strict=True), ("rest", None)]
        windows = account(tap.events, ends)
        assert [windows[name].connections for name in windows] == [1, 0, 0, 0]
        assert [windows[name].requests for name in windows] == [1, 1, 1, 0]
        assert [windows[name].up for name in windows] == [*map(len, heads), 0]
        assert [windows[name].down for name in windows] == [*map(len, PAGE), 0]
        assert windows["1"].of("down", "content", "page") == len(b"<html>")


async def test_a_mark_ends_a_phase() -> None:
    async with tapped(echo) as (tap, port):
        await ask(port, b"12345")
        first = tap.mark()
        assert (first.connections, first.requests, first.up, first.down) == (1, 0, 5, 5)
        assert tap.mark() == Traffic()
        await ask(port, b"1234567")
        assert tap.mark().both == 14


async def test_a_phase_may_have_ended_before_its_mark() -> None:
    async with tapped(echo) as (tap, port):
        begun_ns = monotonic_ns()
        await ask(port, b"12345")
        between_ns = monotonic_ns()
        await ask(port, b"1234567")
        assert tap.mark(begun_ns) == Traffic()
        assert tap.mark(between_ns).both == 10
        assert tap.mark(between_ns) == Traffic()
        assert tap.mark(begun_ns) == Traffic()
        assert tap.mark().both == 14


async def test_what_the_kernel_counted_is_what_was_kept() -> None:
    need(sys.platform == "linux", "run on Linux: other kernels have no TCP_INFO")
    async with tapped(echo) as (tap, port):
        assert tap.segments() == Segments()
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"x" * 100)
        await reader.readexactly(100)
        while_open = tap.segments()
        writer.close()
        await writer.wait_closed()
        await ask(port, b"y" * 100)
        after = tap.segments()
    assert while_open.up >= 3
    assert while_open.down >= 2
    assert after.up > while_open.up
    assert not after.estimated


async def test_without_the_kernel_segments_are_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcpinfo, "read", lambda sock: None)
    async with tapped(echo) as (tap, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"x" * 100)
        await reader.readexactly(100)
        assert tap.segments() == tcpinfo.estimate(tap.events)
        writer.close()
        await writer.wait_closed()
        await ask(port, b"y")
        assert tap.segments().estimated
        assert tap.segments().up > tcpinfo.estimate([]).up * 2


async def test_too_much_is_an_error_and_not_a_smaller_figure() -> None:
    tap = Tap(kept_bytes=3 * EVENT_BYTES + 100)
    for _ in range(3):
        tap.went(0, "up", b"x" * 33, 1)
    assert len(tap.events) == 3
    tap.ended(0, "up", 2)
    for look in (lambda: tap.events, tap.mark, tap.recording):
        with pytest.raises(LabError, match="make the run shorter"):
            look()


async def test_a_recording_reads_back_as_it_was(tmp_path: Path) -> None:
    async with tapped(echo) as (tap, port):
        await ask(port, bytes(range(256)))
        recording = tap.recording("all bytes")
    save(recording, tmp_path / "file")
    again = load(tmp_path / "file")
    assert again == recording
    assert again.head.title == "all bytes"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from((GET, POST, CHUNKED)), min_size=1, max_size=6),
    st.lists(st.integers(min_value=1, max_value=40), min_size=1, max_size=8),
)
def test_requests_are_counted_however_the_bytes_are_cut(
    requests: list[bytes], cuts: list[int]
) -> None:
    tap, stream, start, turn = Tap(), b"".join(requests), 0, 0
    while start < len(stream):
        size = cuts[turn % len(cuts)]
        tap.went(0, "up", stream[start : start + size], turn)
        start, turn = start + size, turn + 1
    tap.went(0, "down", EMPTY * len(requests), turn)
    found = account(tap.events, [("all", None)])["all"]
    assert found.requests == len(requests)
    assert (found.up, found.down) == (len(stream), len(EMPTY) * len(requests))


async def test_the_process_answers_marks_and_ends_with_its_stdin() -> None:
    async with process(echo) as (tap, port):
        await ask(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        first = await tap.ask({"mark": "first"})
        second = await tap.ask({"mark": "second"})
    assert first["phase"] == "first"
    traffic = first["traffic"]
    assert traffic.pop("cells")
    assert traffic == {"connections": 1, "requests": 1, "up": 27, "down": 27}
    assert second["traffic"]["up"] == second["traffic"]["down"] == 0


async def test_the_process_accounts_for_windows_and_segments() -> None:
    async with process(echo) as (tap, port):
        await ask(port, b"12345")
        moment_s = monotonic()
        await ask(port, b"1234567")
        answer = await tap.ask({"account": [["one", moment_s], ["two", None]]})
        wrong = tap.ask({"account": [["late", moment_s], ["early", 0.0]]})
        with pytest.raises(LabError, match="order of time"):
            await wrong
    assert list(answer["windows"]) == ["one", "two"]
    assert [total(answer["windows"][name]) for name in ("one", "two")] == [10, 14]
    assert [answer["windows"][name]["connections"] for name in ("one", "two")] == [1, 1]
    assert answer["segments"]["up"] >= 8


def total(window: dict[str, Any]) -> int:
    return int(sum(window["cells"].values()))


async def test_the_process_writes_what_it_kept(tmp_path: Path) -> None:
    async with process(echo) as (tap, port):
        await ask(port, b"abc")
        file = str(tmp_path / "recording")
        assert await tap.ask({"record": file, "title": "three"}) == {"recorded": file}
        with pytest.raises(LabError, match="No such file"):
            await tap.ask({"record": str(tmp_path / "none" / "file")})
    recording = load(tmp_path / "recording")
    assert recording.head.title == "three"
    assert [event.data for event in recording.events if event.kind == "down"] == [b"abc"]
    assert isinstance(recording.events[0], Event)


async def test_the_process_cuts_what_is_open() -> None:
    async with process(echo) as (tap, port):
        both = [await asyncio.open_connection(HOST, port) for _ in range(2)]
        for reader, writer in both:
            writer.write(b"x")
            await reader.readexactly(1)
        assert await tap.ask({"cut": True}) == {"cut": 2}
        for reader, writer in both:
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
        assert await tap.ask({"cut": True}) == {"cut": 0}
        assert await ask(port, b"again") == b"again"


async def test_the_process_refuses_what_it_does_not_know() -> None:
    async with process(echo) as (tap, _):
        with pytest.raises(LabError, match="knows no command"):
            await tap.ask({"count": True})
        assert (await tap.ask({"mark": "all"}))["traffic"]["connections"] == 0


async def test_a_child_that_dies_says_its_last_words() -> None:
    child = await Child.start("the tap", "labs.wire.tap", HOST, "no port")
    with pytest.raises(ChildDiedError, match="invalid int value: 'no port'") as caught:
        await child.hear(20)
    await child.stop()
    assert "status 2" in str(caught.value)
