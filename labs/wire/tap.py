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
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic_ns

import msgspec

from labs.wire.control import commands, reply
from labs.wire.relay import Direction, relaying
from labs.wire.requests import RequestCounter


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
        self._requests: list[RequestCounter] = []
        self._marked = 0

    def opened(self, client: socket.socket) -> int:
        """A client has connected; answers the number of the connection."""
        self.flows.append(Flow(monotonic_ns()))
        self._requests.append(RequestCounter())
        self._timeline.append((self.flows[-1].opened_ns, Traffic(connections=1)))
        return len(self.flows) - 1

    def went(self, connection: int, direction: Direction, data: bytes, at_ns: int) -> None:
        """Bytes have passed, and with them perhaps the last of some request heads."""
        flow, counter, size = self.flows[connection], self._requests[connection], len(data)
        if direction == "up":
            before = counter.count
            counter.up(data)
            flow.up += size
            passed = Traffic(requests=counter.count - before, up=size)
        else:
            counter.down(data)
            flow.down += size
            passed = Traffic(down=size)
        self._timeline.append((at_ns, passed))

    def ended(self, connection: int, direction: Direction, at_ns: int) -> None:
        """Ends are not counted."""

    def reset(self, connection: int, at_ns: int) -> None:
        """Nor are resets."""

    def closing(self, connection: int) -> None:
        """Nor is the end of a connection."""

    def mark(self, until_ns: int | None = None) -> Traffic:
        """End a phase, now or at an earlier moment; answers what passed in it."""
        start, end = self._marked, len(self._timeline)
        while until_ns is not None and end > start and self._timeline[end - 1][0] > until_ns:
            end -= 1
        self._marked = end
        return sum((traffic for _, traffic in self._timeline[start:end]), Traffic())


@asynccontextmanager
async def tapping(host: str, port: int) -> AsyncIterator[tuple[Tap, int]]:
    """Relay to a server while inside; yields the counts and the port to connect to."""
    tap = Tap()
    async with relaying(host, port, tap) as relay:
        yield tap, relay.port


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
