"""A relay on loopback that counts what passes, for any client, a real browser too.

    client  <-- down --  tap  <-- down --  server
            --  up  -->       --  up  -->

It knows nothing of the chat. Bytes are counted as they are read from their sender's socket:
what TCP carried as payload, HTTP heads included, TCP and IP headers not. Ends of stream and
resets are passed on like everything else.

As a process (`python -m labs.wire.tap HOST PORT`) it prints its port as a JSON line and then
answers every `{"mark": NAME}` on stdin with what has passed since the last mark; with an
`until_s`, a moment of the monotonic clock, the phase ends there and not when the mark arrives.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic_ns

import msgspec

from labs.wire.control import commands, reply
from labs.wire.requests import RequestCounter

HOST = "127.0.0.1"
BACKLOG = 1_024


class Traffic(msgspec.Struct, frozen=True):
    """What passed: `connections` opened, `requests` and bytes `up`, bytes `down`."""

    connections: int = 0
    requests: int = 0
    up: int = 0
    down: int = 0

    @property
    def both(self) -> int:
        """Bytes in both directions."""
        return self.up + self.down

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.connections + other.connections,
            self.requests + other.requests,
            self.up + other.up,
            self.down + other.down,
        )


@dataclass(slots=True)
class Flow:
    """One connection's bytes in each direction, and the monotonic time it was opened."""

    opened_ns: int
    up: int = 0
    down: int = 0


class Tap:
    """What one relay counts: each connection's flow, and everything in order of time."""

    def __init__(self) -> None:
        self.flows: list[Flow] = []
        self._timeline: list[tuple[int, Traffic]] = []
        self._marked = 0

    def opened(self) -> Flow:
        """A client has connected; answers where to count its bytes."""
        flow = Flow(monotonic_ns())
        self.flows.append(flow)
        self._timeline.append((flow.opened_ns, Traffic(connections=1)))
        return flow

    def went_up(self, flow: Flow, size: int, requests: int) -> None:
        """A client has sent bytes, and with them so many request heads came to their end."""
        flow.up += size
        self._timeline.append((monotonic_ns(), Traffic(requests=requests, up=size)))

    def went_down(self, flow: Flow, size: int) -> None:
        """The server has sent bytes."""
        flow.down += size
        self._timeline.append((monotonic_ns(), Traffic(down=size)))

    def mark(self, until_ns: int | None = None) -> Traffic:
        """End a phase, now or at an earlier moment; answers what passed in it."""
        start, end = self._marked, len(self._timeline)
        while until_ns is not None and end > start and self._timeline[end - 1][0] > until_ns:
            end -= 1
        self._marked = end
        return sum((traffic for _, traffic in self._timeline[start:end]), Traffic())


class Connection:
    """A client's connection and ours to the server, tied together."""

    def __init__(self, tap: Tap, host: str, port: int) -> None:
        self.tap = tap
        self.flow = tap.opened()
        self.requests = RequestCounter()
        self.client = End(self, upward=True)
        self.server = End(self, upward=False)
        self._address = host, port
        self._dialling: asyncio.Task[None] | None = None

    def dial(self) -> None:
        """The client is here: connect to the server, and let the bytes go when that stands."""
        self._dialling = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.server, *self._address)
        except OSError:
            self.client.reset()
            return
        if self.client.lost:
            self.server.reset()
        else:
            self.client.transport.resume_reading()


class End(asyncio.Protocol):
    """One of the two sockets of a connection; what it receives goes out at the other."""

    transport: asyncio.Transport

    def __init__(self, connection: Connection, *, upward: bool) -> None:
        self.made = False
        self.lost = False
        self._connection = connection
        self._upward = upward
        self._ended = False

    @property
    def other(self) -> End:
        """The end on the opposite side."""
        return self._connection.server if self._upward else self._connection.client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client waits, unread, until the server is reached."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.made = True
        if self._upward:
            transport.pause_reading()
            self._connection.dial()

    def data_received(self, data: bytes) -> None:
        """Pass it on first, count it then."""
        if not self.other.lost:
            self.other.transport.write(data)
        tied = self._connection
        if self._upward:
            before = tied.requests.count
            tied.requests.up(data)
            tied.tap.went_up(tied.flow, len(data), tied.requests.count - before)
        else:
            tied.requests.down(data)
            tied.tap.went_down(tied.flow, len(data))

    def eof_received(self) -> bool:
        """This side has said all it will; the other may still be talking."""
        self._ended = True
        if self.other._ended:
            self.other.transport.close()
            return False
        self.other.transport.write_eof()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """Both ends go, in the same manner."""
        self.lost = True
        if not self.other.made or self.other.lost:
            return
        if error:
            self.other.reset()
        else:
            self.other.transport.close()

    def pause_writing(self) -> None:
        """The receiver is slow, so the sender waits: the relay buffers next to nothing."""
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """The receiver has caught up."""
        if not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def reset(self) -> None:
        """End the connection with a TCP reset, not with an orderly close (RFC 9293 3.5.2)."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


@asynccontextmanager
async def tapping(host: str, port: int) -> AsyncIterator[tuple[Tap, int]]:
    """Relay to a server while inside; yields the counts and the port to connect to."""
    tap, connections = Tap(), list[Connection]()

    def arrived() -> End:
        connections.append(Connection(tap, host, port))
        return connections[-1].client

    server = await asyncio.get_running_loop().create_server(arrived, HOST, 0, backlog=BACKLOG)
    try:
        yield tap, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in connections:
            if not connection.client.lost:
                connection.client.transport.close()


async def main(host: str, port: int) -> None:
    """The relay as a process of its own."""
    async with tapping(host, port) as (tap, own_port):
        reply({"port": own_port})
        async for command in commands():
            until_s = command.get("until_s")
            traffic = tap.mark(None if until_s is None else round(until_s * 1e9))
            reply({"phase": command["mark"], "traffic": traffic})


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
