"""The relay passes on every byte and every kind of end, and tells its observer all of it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labs.wire.relay import (
    HOST,
    Direction,
    End,
    Piece,
    Relay,
    Shape,
    WayOut,
    relaying,
    unshaped,
)
from tests.need import need


@dataclass
class Witness:
    """An observer that remembers what it was told, of all connections together."""

    passed: dict[str, bytes] = field(default_factory=lambda: {"up": b"", "down": b""})
    said: list[str] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)
    opened_count: int = 0

    def opened(self, client: socket.socket) -> int:
        self.opened_count += 1
        return self.opened_count - 1

    def went(self, connection: int, direction: Direction, data: bytes, at_ns: int) -> None:
        self.passed[direction] += data
        self.moments.append(at_ns)

    def ended(self, connection: int, direction: Direction, at_ns: int) -> None:
        self.said.append(f"{direction}_end")
        self.moments.append(at_ns)

    def reset(self, connection: int, at_ns: int) -> None:
        self.said.append("reset")
        self.moments.append(at_ns)

    def closing(self, connection: int) -> None:
        self.said.append("closing")


class Peer(asyncio.Protocol):
    """A client or a server that does what a test says, and remembers what it got."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.received = bytearray()
        self.sent = b""
        self.here = self.ended = self.lost = False
        self.error: Exception | None = None
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.here = True
        self._changed.set()

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._changed.set()

    def eof_received(self) -> bool:
        self.ended = True
        self._changed.set()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.lost, self.error = True, error
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def say(self, data: bytes) -> None:
        self.sent += data
        self.transport.write(data)

    def reset(self) -> None:
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


@dataclass
class Scene:
    """A client and a server with a relay between them."""

    client: Peer
    server: Peer
    relay: Relay
    witness: Witness

    def pair(self, who: str) -> tuple[Peer, Peer]:
        """This side, and the other."""
        both = self.client, self.server
        return both if who == "client" else (both[1], both[0])

    async def settle(self) -> None:
        """Until everything sent has arrived."""
        for one, other in ((self.client, self.server), (self.server, self.client)):
            await one.until(lambda one=one, other=other: len(one.received) == len(other.sent))  # type: ignore[misc]

    def told(self, *what: str) -> bool:
        return self.witness.said == [*what]


@asynccontextmanager
async def scene(shape: Shape = unshaped) -> AsyncIterator[Scene]:
    loop, witness = asyncio.get_running_loop(), Witness()
    client, server = Peer(), Peer()
    listening = await loop.create_server(lambda: server, HOST, 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening, relaying(HOST, port, witness, shape=shape) as relay:
        await loop.create_connection(lambda: client, HOST, relay.port)
        await server.until(lambda: server.here)
        yield Scene(client, server, relay, witness)
        for peer in (client, server):
            peer.transport.abort()
            await peer.until(lambda peer=peer: peer.lost)  # type: ignore[misc]


def queued(direction: Direction, source: End, out: WayOut) -> WayOut:
    """A shape that lets each piece wait for two turns of the loop."""
    loop = asyncio.get_running_loop()
    return lambda piece: void(loop.call_soon(loop.call_soon, out, piece))


def void(_: object) -> None:
    return None


Step = tuple[Literal["client", "server"], bytes | Literal["end", "reset"]]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(("client", "server")),
        st.one_of(st.binary(min_size=1, max_size=200), st.sampled_from(("end", "reset"))),
    ),
    max_size=12,
)


async def play(steps: list[Step], shape: Shape) -> None:
    """Do the steps, as far as they are possible, and compare both sides and the observer."""
    async with scene(shape) as here:
        ended: list[str] = []
        for who, what in steps:
            one, other = here.pair(who)
            direction = "up" if who == "client" else "down"
            if f"{direction}_end" in ended:
                continue
            if isinstance(what, bytes):
                one.say(what)
            elif what == "end":
                one.transport.write_eof()
                ended.append(f"{direction}_end")
                await other.until(lambda other=other: other.ended)  # type: ignore[misc]
            else:
                await here.settle()
                one.reset()
                await other.until(lambda other=other: other.lost)  # type: ignore[misc]
                assert isinstance(other.error, ConnectionResetError)
                ended.append("reset")
                break
        await here.settle()
        witness = here.witness
        assert here.server.received == here.client.sent == witness.passed["up"]
        assert here.client.received == here.server.sent == witness.passed["down"]
        assert [word for word in witness.said if word != "closing"] == ended
        assert witness.moments == sorted(witness.moments)
        assert here.server.ended == ("up_end" in ended)
        assert here.client.ended == ("down_end" in ended)


def run(loop: str, work: Coroutine[Any, Any, None]) -> None:
    """Run it to its end on this kind of event loop."""
    import_module(loop).run(work)


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    need(find_spec(request.param), "pip install uvloop, which there is for all but Windows")
    return str(request.param)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS, shape=st.sampled_from((unshaped, queued)))
def test_whatever_happens_at_one_side_happens_at_the_other(
    loop: str, steps: list[Step], shape: Shape
) -> None:
    run(loop, play(steps, shape))


def test_what_comes_before_the_server_is_reached_waits_for_it(loop: str) -> None:
    async def hasty() -> None:
        server = Peer()
        listening = await asyncio.get_running_loop().create_server(lambda: server, HOST, 0)
        port = listening.sockets[0].getsockname()[1]
        async with listening, relaying(HOST, port, Witness()) as relay:
            # All of this happens before the relay has accepted the connection.
            with socket.create_connection((HOST, relay.port)) as client:
                client.sendall(b"first words")
                client.shutdown(socket.SHUT_WR)
                await server.until(lambda: server.ended)
                assert server.received == b"first words"
                server.transport.close()
                await server.until(lambda: server.lost)

    run(loop, hasty())


async def test_a_connection_closes_once_both_directions_have_ended() -> None:
    async with scene() as here:
        here.client.say(b"question")
        here.client.transport.write_eof()
        await here.server.until(lambda: here.server.ended)
        here.server.say(b"answer")
        here.server.transport.close()
        await here.client.until(lambda: here.client.ended)
        assert here.client.received == b"answer"
        assert here.told("up_end", "down_end", "closing")
        assert not here.relay.open


async def test_a_cut_resets_every_connection_on_both_sides() -> None:
    async with scene() as here:
        here.client.say(b"hello")
        await here.settle()
        assert here.relay.cut() == 1
        for peer in (here.client, here.server):
            await peer.until(lambda peer=peer: peer.lost)  # type: ignore[misc]
            assert isinstance(peer.error, ConnectionResetError)
        assert here.told("reset", "closing")
        assert here.relay.cut() == 0
        assert not here.relay.open


async def test_after_a_cut_new_connections_are_served() -> None:
    async with scene() as here:
        here.relay.cut()
        await here.client.until(lambda: here.client.lost)
        await here.server.until(lambda: here.server.lost)
        again, here.server.here = Peer(), False
        await asyncio.get_running_loop().create_connection(lambda: again, HOST, here.relay.port)
        await here.server.until(lambda: here.server.here)
        again.say(b"again")
        await here.server.until(lambda: here.server.received == b"again")
        again.transport.abort()
        assert here.witness.opened_count == 2


async def test_a_server_that_is_not_there_resets_the_client() -> None:
    client, witness = Peer(), Witness()
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        async with relaying(HOST, unused.getsockname()[1], witness) as relay:
            await asyncio.get_running_loop().create_connection(lambda: client, HOST, relay.port)
            await client.until(lambda: client.lost)
    assert isinstance(client.error, ConnectionResetError)
    assert witness.said == ["reset", "closing"]


def chained(*each: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        for one in each:
            one()

    return call


async def test_a_slow_reader_gets_every_byte_and_holds_up_the_sender(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size, held = 32_000_000, asyncio.Event()

    def watched(direction: Direction, source: End, out: WayOut) -> WayOut:
        if direction == "down":
            monkeypatch.setattr(source, "hold", chained(source.hold, held.set))
        return out

    async with scene(watched) as here:
        here.client.transport.pause_reading()
        here.server.say(b"d" * size)
        await held.wait()
        assert len(here.witness.passed["down"]) < size, "the relay took in everything"
        here.client.transport.resume_reading()
        await here.settle()
        assert len(here.witness.passed["down"]) == size


async def test_a_shape_may_hold_back_the_sender() -> None:
    sources: dict[str, End] = {}
    taken = asyncio.Queue[Piece]()

    def keep(direction: Direction, source: End, out: WayOut) -> WayOut:
        sources[direction] = source

        def take(piece: Piece) -> None:
            taken.put_nowait(piece)
            source.hold()

        return take if direction == "up" else out

    async with scene(keep) as here:
        here.client.say(b"first")
        assert await taken.get() == b"first"
        here.client.say(b"second")
        here.server.say(b"free")
        await here.client.until(lambda: here.client.received == b"free")
        assert taken.empty()
        assert here.server.received == b""
        sources["up"].release()
        assert await taken.get() == b"second"


@pytest.mark.parametrize("who", ["client", "server"])
async def test_a_reset_reaches_a_side_that_has_already_ended(who: str) -> None:
    async with scene() as here:
        one, other = (here.client, here.server) if who == "client" else (here.server, here.client)
        other.transport.write_eof()
        await one.until(lambda: one.ended)
        one.reset()
        await other.until(lambda: other.lost)
        assert isinstance(other.error, ConnectionResetError)
