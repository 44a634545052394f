"""The relay counts what passes, to the byte, and passes on every kind of end."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic_ns

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labs.wire.control import Child, ChildDiedError
from labs.wire.requests import RequestCounter
from labs.wire.tap import Tap, Traffic, tapping

HOST = "127.0.0.1"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def tapped(talk: Talk) -> AsyncIterator[tuple[Tap, int]]:
    """A server that talks so, behind a tap; yields the tap and its port."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(served, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    async with server, tapping(HOST, port) as (tap, own_port):
        yield tap, own_port


def up(tap: Tap) -> int:
    return sum(flow.up for flow in tap.flows)


def down(tap: Tap) -> int:
    return sum(flow.down for flow in tap.flows)


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


async def test_counts_known_bytes_in_each_direction() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1_000)
        writer.write(b"d" * 2_345)
        await writer.drain()

    async with tapped(talk) as (tap, port):
        assert len(await ask(port, b"u" * 1_000)) == 2_345
        assert (up(tap), down(tap), len(tap.flows)) == (1_000, 2_345, 1)


async def test_counts_many_connections_each_for_itself() -> None:
    sizes = [37 * number + 1 for number in range(60)]
    async with tapped(echo) as (tap, port):
        answers = await asyncio.gather(*(ask(port, b"x" * size) for size in sizes))
        assert [len(answer) for answer in answers] == sizes
        assert sorted(flow.up for flow in tap.flows) == sizes
        assert sorted(flow.down for flow in tap.flows) == sizes


async def test_a_slow_reader_gets_every_byte_and_holds_up_the_sender() -> None:
    size = 32_000_000
    held_up: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=0)
        writer.write(b"d" * size)
        sending = asyncio.create_task(writer.drain())
        await asyncio.wait({sending}, timeout=0.5)
        held_up.set_result(not sending.done())
        await sending

    async with tapped(talk) as (tap, port):
        reader, writer = await asyncio.open_connection(HOST, port, limit=1_024)
        assert await held_up, "the relay took in everything while nobody read"
        assert len(await reader.read()) == size
        assert down(tap) == size
        writer.close()
        await writer.wait_closed()


async def test_passes_on_the_clients_half_close() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        everything = await reader.read()
        writer.write(everything[::-1])
        await writer.drain()

    async with tapped(talk) as (_, port):
        assert await ask(port, b"abc") == b"cba"


async def test_passes_on_the_servers_half_close() -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"last words")
        writer.write_eof()
        heard.set_result(await reader.read())

    async with tapped(talk) as (tap, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        assert await reader.read() == b"last words"
        writer.write(b"still here")
        writer.close()
        assert await heard == b"still here"
        await writer.wait_closed()
        assert (up(tap), down(tap)) == (10, 10)


async def test_passes_on_the_clients_reset() -> None:
    ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        try:
            ended.set_result(await reader.read())
        except ConnectionResetError as error:
            ended.set_exception(error)

    async with tapped(talk) as (_, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        await reader.readexactly(5)
        reset(writer)
        with pytest.raises(ConnectionResetError):
            await ended


async def test_passes_on_the_servers_reset() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        reset(writer)

    async with tapped(talk) as (tap, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert up(tap) == 1


async def test_a_server_that_is_not_there_resets_the_client() -> None:
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        async with tapping(HOST, unused.getsockname()[1]) as (_, port):
            reader, writer = await asyncio.open_connection(HOST, port)
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()


async def test_a_mark_ends_a_phase() -> None:
    async with tapped(echo) as (tap, port):
        await ask(port, b"12345")
        assert tap.mark() == Traffic(connections=1, requests=0, up=5, down=5)
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
        assert tap.mark(between_ns) == Traffic(connections=1, up=5, down=5)
        assert tap.mark(between_ns) == Traffic()
        assert tap.mark() == Traffic(connections=1, up=7, down=7)


async def test_the_process_answers_marks_and_ends_with_its_stdin() -> None:
    server = await asyncio.start_server(lambda r, w: echo_and_close(r, w), HOST, 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        tap = await Child.start("the tap", "labs.wire.tap", HOST, str(port))
        own_port = (await tap.hear(20))["port"]
        await ask(own_port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        first = await tap.ask({"mark": "first"})
        second = await tap.ask({"mark": "second"})
        await tap.stop()
    assert first["phase"] == "first"
    assert first["traffic"] == {"connections": 1, "requests": 1, "up": 27, "down": 27}
    assert second["traffic"] == {"connections": 0, "requests": 0, "up": 0, "down": 0}
    assert not tap.log


async def test_a_child_that_dies_says_its_last_words() -> None:
    child = await Child.start("the tap", "labs.wire.tap", HOST, "no port")
    with pytest.raises(ChildDiedError, match="invalid literal for int") as caught:
        await child.hear(20)
    await child.stop()
    assert "status 1" in str(caught.value)


GET = b"GET /updateMessage?since=1 HTTP/1.1\r\nHost: a\r\n\r\n"
POST = (
    b"POST /sendMessage HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n"
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
)
CHUNKED = (
    b"POST /sendMessage HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1b\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n"
)
UPGRADE = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from((GET, POST, CHUNKED)), min_size=1, max_size=6),
    st.lists(st.integers(min_value=1, max_value=40), min_size=1, max_size=8),
)
def test_requests_are_counted_however_the_bytes_are_cut(
    requests: list[bytes], cuts: list[int]
) -> None:
    stream, counter, start, turn = b"".join(requests), RequestCounter(), 0, 0
    while start < len(stream):
        size = cuts[turn % len(cuts)]
        counter.up(stream[start : start + size])
        start, turn = start + size, turn + 1
    assert counter.count == len(requests)


def test_after_an_upgrade_there_are_frames_and_no_requests() -> None:
    counter = RequestCounter()
    counter.up(UPGRADE)
    counter.down(b"HTTP/1.1 ")
    counter.down(b"101 Switching Protocols\r\n\r\n")
    counter.up(GET)
    assert counter.count == 1


def test_after_a_refused_upgrade_requests_go_on() -> None:
    counter = RequestCounter()
    counter.up(UPGRADE)
    counter.down(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    counter.up(GET)
    counter.up(GET)
    assert counter.count == 3


def test_what_is_not_http_is_no_request() -> None:
    counter = RequestCounter()
    counter.up(b"\x16\x03\x01 this is something else\r\n\r\n")
    counter.up(GET)
    assert counter.count == 0


def reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def echo_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await echo(reader, writer)
    writer.close()
