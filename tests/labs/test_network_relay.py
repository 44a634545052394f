"""The network of a relay: every byte arrives unchanged, in order, and not too soon."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from labs.errors import LabError
from labs.net import between as module
from labs.net.between import Span, between, seed_of
from labs.net.line import exact_loop
from labs.net.network import Network
from labs.net.shaper import HEAD_BYTES, SEGMENT_BYTES, NetworkShape, Nobody
from labs.wire.relay import HOST, End, Piece, relaying
from tests.labs.virtual import run

FAST = Network("fast", delay_ms=15, jitter_ms=2, up_bit_s=10**9, down_bit_s=10**9, loss=0.3)
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def far(talk: Talk, network: Network) -> AsyncIterator[tuple[NetworkShape, int]]:
    """A server behind a network; yields that and the port to reach it."""
    shape = NetworkShape(network, 1)
    async with near(talk) as port, relaying(HOST, port, Nobody(), shape=shape) as relay:
        yield shape, relay.port


@asynccontextmanager
async def near(talk: Talk) -> AsyncIterator[int]:
    """A server that talks so, and closes; yields its port."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_server(served, HOST, 0) as server:
        yield server.sockets[0].getsockname()[1]


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


async def test_bytes_arrive_unchanged_on_every_connection() -> None:
    chance = random.Random(1)
    sent = [chance.randbytes(chance.randrange(1, 60_000)) for _ in range(12)]
    async with far(echo, FAST) as (shape, port):
        assert await asyncio.gather(*(ask(port, data) for data in sent)) == sent
        for line in shape.lines.values():
            counts = line.queue.counts
            segments = counts.packets - len(sent)  # each direction of each ends once
            assert segments >= sum(-(-len(data) // SEGMENT_BYTES) for data in sent)
            assert counts.bytes == sum(map(len, sent)) + counts.packets * HEAD_BYTES
            assert (counts.lost, counts.overflowed, counts.waiting) == (0, 0, 0)


async def test_an_answer_takes_a_round_trip_and_opening_does_not_wait_for_it() -> None:
    loop = asyncio.get_running_loop()
    async with far(echo, FAST) as (shape, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        for _ in range(5):
            begun_s = loop.time()
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
            assert loop.time() - begun_s >= FAST.rtt_ms / 1e3
        assert shape.lines["up"].queue.counts.packets == 5
        writer.close()
        await writer.wait_closed()


async def test_a_stream_is_no_faster_than_the_link() -> None:
    slow = Network("slow", delay_ms=1, up_bit_s=10**9, down_bit_s=2_000_000)
    size = 100_000

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"d" * size)
        await writer.drain()

    loop = asyncio.get_running_loop()
    async with far(talk, slow) as (_, port):
        begun_s = loop.time()
        assert await ask(port, b"") == b"d" * size
        assert loop.time() - begun_s >= size * 8 / slow.down_bit_s


class Source:
    """A sender that notes when it was held up, and for how long."""

    def __init__(self) -> None:
        self.held_s: list[float] = []
        self.released_s: list[float] = []

    def hold(self) -> None:
        self.held_s.append(asyncio.get_running_loop().time())

    def release(self) -> None:
        self.released_s.append(asyncio.get_running_loop().time())


def test_a_stream_takes_just_what_the_link_needs_and_its_sender_is_held_as_long() -> None:
    slow = Network("slow", delay_ms=7, up_bit_s=10**9, down_bit_s=2_000_000, queue_ms=50)
    size = 100_000
    segments = -(-size // SEGMENT_BYTES)
    sending_s = (size + segments * HEAD_BYTES) * 8 / slow.down_bit_s

    async def main() -> None:
        loop, source = asyncio.get_running_loop(), Source()
        out = list[tuple[float, int]]()
        shape = NetworkShape(slow, 1)

        def arrive(part: Piece) -> None:
            out.append((loop.time(), len(cast(bytes, part))))

        send = shape("down", cast(End, source), arrive)
        send(b"d" * size)
        await asyncio.sleep(10)
        assert sum(length for _, length in out) == size
        assert out[-1][0] == pytest.approx(sending_s + 0.007, abs=1e-6)
        first_s = (SEGMENT_BYTES + HEAD_BYTES) * 8 / slow.down_bit_s
        assert out[0][0] == pytest.approx(first_s + 0.007, abs=1e-6)
        assert source.held_s == [0.0]
        assert source.released_s == [pytest.approx(sending_s - 0.05, abs=1e-6)]

    run(main())


def test_the_chance_of_a_run_is_that_of_its_seed_and_number() -> None:
    assert seed_of(7, 0) == 7
    chances = {(seed, run): seed_of(seed, run) for seed in range(5) for run in range(1, 20)}
    assert chances == {key: seed_of(*key) for key in chances}
    assert len(set(chances.values())) == len(chances)


async def test_messages_overlap_on_the_way() -> None:
    """A queue delays each by itself; a sleep in a pump would add up."""
    number, network = 40, Network("long", delay_ms=100, up_bit_s=10**9, down_bit_s=10**9)
    waiting = 0
    async with far(echo, network) as (shape, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reading = asyncio.create_task(reader.readexactly(number))
        for _ in range(number):
            writer.write(b"x")
            await asyncio.sleep(0.001)
            waiting = max(waiting, shape.lines["up"].queue.counts.waiting)
        assert await reading == b"x" * number
        assert waiting > 1
        writer.close()
        await writer.wait_closed()


async def test_a_full_queue_holds_up_its_sender_and_loses_nothing() -> None:
    slow = Network("slow", delay_ms=1, up_bit_s=40_000_000, down_bit_s=10**9, queue_ms=20)
    size, most = 4_000_000, 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        received = 0
        while data := await reader.read(65_536):
            received += len(data)
            line = shape.lines["up"]
            most = max(most, line.queue.counts.waiting)
        writer.write(str(received).encode())

    async with far(count, slow) as (shape, port):
        assert await ask(port, b"u" * size) == str(size).encode()
    # One read of asyncio is at most 256 KiB, and may come when the queue is almost full.
    assert most * SEGMENT_BYTES < size / 4


async def test_a_reset_comes_behind_the_bytes_before_it() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with far(talk, FAST) as (shape, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert shape.lines["down"].queue.counts.packets == 1
        writer.close()


@asynccontextmanager
async def relayed(monkeypatch: pytest.MonkeyPatch, network: Network) -> AsyncIterator[Span]:
    monkeypatch.setattr(module, "why_no_tun", lambda: "this test wants none")
    async with between(network, 1) as span:
        yield span


async def test_without_rights_it_is_a_relay_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with near(echo) as port, relayed(monkeypatch, FAST) as span:
        assert (span.mechanism, span.reason) == ("relay", "this test wants none")
        assert (span.server_prefix, span.client_prefix) == ([], [])
        assert span.server_host == HOST
        url = await span.front(f"ws://{HOST}:{port}/chat?a=b")
        assert url.startswith(f"ws://{HOST}:")
        assert url.endswith("/chat?a=b")
        own_port = int(url.split(":")[2].split("/")[0])
        assert own_port != port
        assert await ask(own_port, b"hello") == b"hello"
        passed = await span.counts()
        assert passed["up"].counts.bytes == passed["down"].counts.bytes == 5 + 2 * HEAD_BYTES


@pytest.mark.parametrize(
    ("where", "name", "value", "said"),
    [
        ("sys", "platform", "darwin", "need Linux"),
        ("os", "geteuid", lambda: 1_000, "need root"),
        ("labs.net.between", "TUN", Path("/nowhere/tun"), "no /nowhere/tun"),
        ("shutil", "which", lambda _: None, "install iproute2"),
    ],
)
def test_what_a_bridge_would_need_is_named(
    monkeypatch: pytest.MonkeyPatch, where: str, name: str, value: object, said: str
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("labs.net.between.TUN", Path("/"))
    monkeypatch.setattr("shutil.which", lambda _: "/sbin/ip")
    assert module.why_no_tun() == ""
    monkeypatch.setattr(f"{where}.{name}", value)
    assert said in module.why_no_tun()


async def test_a_bridge_that_fails_gives_its_reason_to_the_relay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @asynccontextmanager
    async def fails(network: Network, seed: int) -> AsyncIterator[Span]:
        raise LabError("ip netns add: Operation not permitted")
        yield

    monkeypatch.setattr(module, "why_no_tun", lambda: "")
    monkeypatch.setattr(module, "_bridged", fails)
    async with between(FAST, 1) as span:
        assert span.mechanism == "relay"
        assert "Operation not permitted" in span.reason


async def test_a_relay_measures_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network("n", delay_ms=10, up_bit_s=2_000_000, down_bit_s=4_000_000, loss=0.1)
    async with relayed(monkeypatch, network) as span:
        found = await span.verify()
        assert (await span.counts())["up"].counts.packets == 0
    assert (found.mechanism, found.reason) == ("relay", "this test wants none")
    assert found.rtt.samples >= 20
    assert network.rtt_ms <= found.rtt.least_ms <= found.rtt.median_ms <= found.rtt.p95_ms
    assert found.connect_ms > 0
    assert (found.loss_up, found.loss_down) == (None, None)
    assert found.up_bit_s > 0
    assert found.down_bit_s > 0
    assert any("Loss" in sentence for sentence in found.cannot_show)
    assert any("Handshakes" in sentence for sentence in found.cannot_show)
    assert {len(row) for row in found.rows()} == {3}


def test_the_exact_loop_wakes_for_timers_sockets_and_threads() -> None:
    async def main() -> bytes:
        async with near(echo) as port:
            await asyncio.sleep(0.0001)
            await asyncio.to_thread(int)
            return await ask(port, b"hello")

    with asyncio.Runner(loop_factory=exact_loop) as runner:
        assert runner.run(main()) == b"hello"
