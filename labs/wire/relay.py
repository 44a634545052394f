"""A TCP relay: bytes, ends of stream and resets go from either side to the other.

    client  <-- down --  relay  <-- down --  server
            --  up  -->         --  up  -->

It counts nothing and knows no protocol; whoever wants to know what passes is its `Observer`.
What leaves at an end goes through one function, its *way out*, which writes at once unless a
`Shape` has put something before it, a queue say.
"""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic_ns
from typing import Literal, Protocol, TypeAlias, cast

HOST = "127.0.0.1"
BACKLOG = 1_024
LINGER_NOT = struct.pack("ii", 1, 0)  # a close that discards and resets (RFC 9293 3.10.5)

Direction = Literal["up", "down"]


class Sign(enum.Enum):
    """What may pass besides bytes: the end of one direction, or of everything at once."""

    END = enum.auto()
    RESET = enum.auto()


Piece: TypeAlias = bytes | Sign
WayOut: TypeAlias = Callable[[Piece], None]


class Observer(Protocol):
    """Whoever is told what passes, each time after it was passed on.

    `at_ns` is when it came, before it was passed on: whatever follows from it, at the other
    side, is later on the same monotonic clock.
    """

    def opened(self, client: socket.socket) -> int:
        """A client has connected, to this socket of ours; answers the connection's number."""

    def went(self, connection: int, direction: Direction, data: bytes, at_ns: int) -> None:
        """Bytes were read from their sender's socket."""

    def ended(self, connection: int, direction: Direction, at_ns: int) -> None:
        """Nothing more will come in this direction."""

    def reset(self, connection: int, at_ns: int) -> None:
        """The connection was reset; nothing more will come in either direction."""

    def closing(self, connection: int) -> None:
        """The socket to the client will be closed as soon as this returns."""


class Shape(Protocol):
    """What may stand before the ways out of a connection: a network, say."""

    def __call__(self, direction: Direction, source: End, out: WayOut) -> WayOut:
        """The function that takes each piece read at `source`, and calls `out` with it in time.

        It is asked for once for each direction of each connection. The order of pieces must
        be kept; `source.hold()` and `source.release()` stop and start the reading of more.
        """


def unshaped(direction: Direction, source: End, out: WayOut) -> WayOut:
    """The shape of no network at all: everything goes out at once."""
    return out


class End(asyncio.Protocol):
    """One of the two sockets of a connection; what it receives goes out at the other."""

    transport: asyncio.Transport

    def __init__(self, connection: Connection, direction: Direction) -> None:
        self.made = False
        self._connection = connection
        self._direction = direction
        self._ended = False  # its peer will send no more
        self._told = False  # ... and was told that we shall not
        self._holds = 0
        self._early: list[Piece] = []  # what is to go out before there is a socket

    def join(self, other: End, shape: Shape) -> None:
        """Let what is received here go out at the other end."""
        self._other = other
        self._pass_on = shape(self._direction, self, other.put_out)

    @property
    def open(self) -> bool:
        """Whether it has a socket that takes bytes."""
        return self.made and not self.transport.is_closing()

    def put_out(self, piece: Piece) -> None:
        """The way out for everything that leaves at this end."""
        if not self.made:
            self._early.append(piece)
        elif not self.open:
            return
        elif isinstance(piece, bytes):
            self.transport.write(piece)
        elif piece is Sign.RESET:
            self.reset()
        else:
            self._told = True
            with suppress(OSError):  # the peer has gone, and the system knows it before asyncio
                self.transport.write_eof()
            if self._ended:
                self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """There is a socket now."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not descend from it
        self.made = True
        self._connection.made(self)
        for piece in self._early:
            self.put_out(piece)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        """Pass it on first, note it then."""
        at_ns = monotonic_ns()
        self._pass_on(data)
        self._connection.went(self._direction, data, at_ns)

    def eof_received(self) -> bool:
        """This side has said all it will; the other may still be talking."""
        at_ns = monotonic_ns()
        self._ended = True
        self._pass_on(Sign.END)
        self._connection.ended(self._direction, at_ns)
        return not self._told

    def connection_lost(self, error: Exception | None) -> None:
        """An orderly end has been passed on already, as the ends of both directions."""
        at_ns = monotonic_ns()
        if error:
            self._pass_on(Sign.RESET)
        self._connection.lost(self, error, at_ns)

    def pause_writing(self) -> None:
        """The receiver is slow, so the sender waits: the relay buffers next to nothing."""
        self._other.hold()

    def resume_writing(self) -> None:
        """The receiver has caught up."""
        self._other.release()

    def hold_from_the_start(self) -> None:
        """Hold, when the socket has just been made."""
        self.hold()
        # uvloop begins to read when `connection_made` returns, whatever was said in it.
        asyncio.get_running_loop().call_soon(self._pause)

    def hold(self) -> None:
        """Read no more here until `release` was called as often."""
        self._holds += 1
        self._pause()

    def release(self) -> None:
        """Take back one `hold`."""
        self._holds -= 1
        # To read again after an end of stream would be to hear of that end again.
        if not self._holds and self.open and not self._ended:
            self.transport.resume_reading()

    def _pause(self) -> None:
        if self._holds and self.open:
            self.transport.pause_reading()

    def reset(self) -> None:
        """End with a TCP reset, not with an orderly close (RFC 9293 3.5.2)."""
        if self.open:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            self.transport.abort()


class Connection:
    """A client's connection and ours to the server, tied together."""

    def __init__(self, relay: Relay) -> None:
        self.client = End(self, "up")
        self.server = End(self, "down")
        self.client.join(self.server, relay.shape)
        self.server.join(self.client, relay.shape)
        self._relay = relay
        self._observer = relay.observer
        self._over = False

    def made(self, end: End) -> None:
        """A client waits, unread, until the server is reached."""
        if end is self.client:
            self._number = self._observer.opened(end.transport.get_extra_info("socket"))
            self._relay.open.add(self)
            end.hold_from_the_start()
            self._dialling = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self.server, *self._relay.server)
        except OSError:
            self.reset()
            return
        if self.client.open:
            self.client.release()
        else:
            self.server.reset()

    def went(self, direction: Direction, data: bytes, at_ns: int) -> None:
        """Bytes have passed. After a reset they pass no more, though one end may still send."""
        if not self._over:
            self._observer.went(self._number, direction, data, at_ns)

    def ended(self, direction: Direction, at_ns: int) -> None:
        """One direction has ended."""
        if not self._over:
            self._observer.ended(self._number, direction, at_ns)

    def lost(self, end: End, error: Exception | None, at_ns: int) -> None:
        """One of the two sockets is about to be closed, in order or because of an error."""
        if end is self.client:
            self._observer.closing(self._number)
        if error:
            self._note_reset(at_ns)
        if not self.client.open and not self.server.open:
            self._relay.open.discard(self)

    def reset(self) -> None:
        """Reset it on both sides, at once."""
        at_ns = monotonic_ns()
        self.client.reset()
        self.server.reset()
        self._note_reset(at_ns)

    def close(self) -> None:
        """Close both sides in order, after what has been passed on."""
        self._dialling.cancel()
        for end in (self.client, self.server):
            if end.open:
                end.transport.close()

    def _note_reset(self, at_ns: int) -> None:
        if not self._over:
            self._over = True
            self._observer.reset(self._number, at_ns)


class Relay:
    """A relay that runs: where it listens, and its open connections.

    `server` is the host and port of the server behind it.
    """

    def __init__(self, server: tuple[str, int], observer: Observer, shape: Shape) -> None:
        self.port = 0
        self.server = server
        self.observer = observer
        self.shape = shape
        self.open: set[Connection] = set()

    def cut(self) -> int:
        """Reset every open connection on both sides; answers how many there were."""
        cut = [connection for connection in self.open if connection.client.open]
        for connection in cut:
            connection.reset()
        return len(cut)


@asynccontextmanager
async def relaying(
    host: str, port: int, observer: Observer, *, listen: str = HOST, shape: Shape = unshaped
) -> AsyncIterator[Relay]:
    """Relay between the address `listen` and a server while inside; yields the relay.

    Raises `OSError` if it cannot listen there.
    """
    relay = Relay((host, port), observer, shape)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(relay).client, listen, 0, backlog=BACKLOG
    )
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        for connection in [*relay.open]:
            connection.close()
