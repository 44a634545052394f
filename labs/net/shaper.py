"""A relay with a network in it: every byte passes, later and no faster than the network allows.

As a process (`python -m labs.net.shaper`) it reads a network and a seed as one JSON line from stdin
and replies `{"up": true}`; `{"host": ..., "port": ...}` of a server it answers with the `port` at
which that is reached through the network, every other command as the TUN bridge does. It ends with
its stdin, and needs no rights.

What it delays is a byte stream. Nothing can be lost from that, and the kernels on either side of
the relay answer for it: opening a connection takes no round trip. A full queue holds up its sender
in place of dropping, and that only after what has been read.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack

import msgspec

from labs.net.line import Line, Order, answer, exact_loop
from labs.net.network import Network
from labs.net.queue import MS, DeadlineQueue
from labs.wire.control import allow_files, commands, reply
from labs.wire.relay import Direction, End, Piece, Sign, WayOut, relaying

SEGMENT_BYTES = 1_448  # of 1,500 on Ethernet, after the heads
HEAD_BYTES = 52  # IPv4 and TCP with timestamps (RFC 791, RFC 9293, RFC 7323)

Parcel = tuple[WayOut, Piece]


class NetworkShape:
    """A `Shape` of the relay: all its connections share one link, which has two directions."""

    def __init__(self, network: Network, seed: int) -> None:
        self.lines: dict[Direction, Line[Parcel]] = {
            "up": self._line(network, "up", seed),
            "down": self._line(network, "down", seed),
        }
        self._queue_ns = round(network.queue_ms * MS)

    @staticmethod
    def _line(network: Network, direction: Direction, seed: int) -> Line[Parcel]:
        return Line(DeadlineQueue(network, direction, seed, lossless=True), _arrive)

    def __call__(self, direction: Direction, source: End, out: WayOut) -> WayOut:
        """Put the link of this direction before a way out."""
        line = self.lines[direction]

        def send(piece: Piece) -> None:
            for size, part in _segments(piece):
                line.put(size, (out, part))
            self._hold_up(line, source)

        return send

    def _hold_up(self, line: Line[Parcel], source: End) -> None:
        """Read no more from a sender whose bytes would wait too long for the link."""
        excess_ns = line.queue.backlog_ns(line.now_ns()) - self._queue_ns
        if excess_ns > 0:
            source.hold()
            asyncio.get_running_loop().call_later(excess_ns / 1e9, source.release)


def _arrive(parcel: Parcel) -> None:
    out, piece = parcel
    out(piece)


def _segments(piece: Piece) -> Iterator[tuple[int, Piece]]:
    """What TCP would make of it: segments, and their sizes with their heads."""
    if isinstance(piece, Sign):
        yield HEAD_BYTES, piece
        return
    for start in range(0, len(piece), SEGMENT_BYTES):
        part = piece[start : start + SEGMENT_BYTES]
        yield len(part) + HEAD_BYTES, part


class Nobody:
    """An observer whom nothing interests."""

    def opened(self, client: socket.socket) -> int:
        """All connections are one to it."""
        return 0

    def went(self, connection: int, direction: Direction, data: bytes, at_ns: int) -> None:
        """Never mind."""

    def ended(self, connection: int, direction: Direction, at_ns: int) -> None:
        """Never mind."""

    def reset(self, connection: int, at_ns: int) -> None:
        """Never mind."""

    def closing(self, connection: int) -> None:
        """Never mind."""


async def main() -> None:
    """Relay through one network, to any number of servers, until stdin ends."""
    allow_files()
    told = commands()
    order = msgspec.convert(await anext(told), Order)
    shape = NetworkShape(order.network, order.seed)
    async with AsyncExitStack() as relays:
        reply({"up": True})
        async for command in told:
            if "port" not in command:
                reply(await answer(command, shape.lines))
                continue
            address = command["host"], command["port"]
            relay = relaying(*address, Nobody(), shape=shape)
            reply({"port": (await relays.enter_async_context(relay)).port})


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=exact_loop) as runner:
        runner.run(main())
