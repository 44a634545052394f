"""A relay that keeps what passes, for any client, a real browser too.

Every chunk is kept as it came, in memory, and looked into only when someone asks: to parse
while traffic flows would delay what follows. Bytes are those read from their sender's socket:
what TCP carried as payload, HTTP heads included, TCP and IP headers not. The cost of those
stands beside it, as the kernel counts it at the socket towards the client.

As a process (`python -m labs.wire.tap HOST PORT`) it prints its port as a JSON line, and answers
each line on stdin. Moments are seconds of the monotonic clock, null is now:

    {"account": [["join", 12.3], ["rest", null]]}
                  -> {"windows": {"join": TRAFFIC, "rest": TRAFFIC}, "segments": SEGMENTS}
    {"mark": "join", "until_s": 12.3}
                  -> {"phase": "join", "traffic": what passed since the last mark}
    {"record": "FILE", "title": "..."}
                  -> {"recorded": "FILE"}
    {"cut": true} -> {"cut": how many connections were open, and have been reset}

An answer of `error` says what went wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic_ns
from typing import Any

import msgspec

from labs.errors import LabError
from labs.loops import runner
from labs.wire import tcpinfo
from labs.wire.control import allow_files, commands, reply
from labs.wire.ledger import account
from labs.wire.recording import FORMAT, Event, Head, Recording, save
from labs.wire.relay import HOST, Direction, Relay, Shape, relaying, unshaped
from labs.wire.traffic import Segments, Traffic

KEPT_BYTES = 512 << 20
EVENT_BYTES = 136  # of memory for an event with its moment, besides the bytes that passed


class Tap:
    """The observer of a relay: it keeps what passes, up to `kept_bytes` of memory.

    Once more than that has passed, everything that asks for it raises `LabError`.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = self._left_bytes = kept_bytes
        self._events: list[Event] = []
        self._connections = 0
        self._clients: dict[int, socket.socket] = {}  # the open ones
        self._closed = Segments()  # what the others have cost
        self._uncounted: set[int] = set()  # ... but for these, of which the kernel says nothing
        self._marks: list[tuple[str, int]] = []

    def opened(self, client: socket.socket) -> int:
        """A client has connected; connections are numbered from 0 up."""
        number = self._connections
        self._connections += 1
        self._clients[number] = client
        self._keep(Event(monotonic_ns(), number, "opened"))
        return number

    def went(self, connection: int, direction: Direction, data: bytes, at_ns: int) -> None:
        """Bytes have passed."""
        self._keep(Event(at_ns, connection, direction, data))

    def ended(self, connection: int, direction: Direction, at_ns: int) -> None:
        """One direction has ended."""
        self._keep(Event(at_ns, connection, "up_end" if direction == "up" else "down_end"))

    def reset(self, connection: int, at_ns: int) -> None:
        """Both have, by a reset."""
        self._keep(Event(at_ns, connection, "reset"))

    def closing(self, connection: int) -> None:
        """The last moment at which the kernel can tell what a connection has cost."""
        client = self._clients.pop(connection)
        if info := tcpinfo.read(client):
            self._closed += tcpinfo.segments(info, client.family)
        else:
            self._uncounted.add(connection)

    def _keep(self, event: Event) -> None:
        self._left_bytes -= EVENT_BYTES + len(event.data)
        if self._left_bytes >= 0:
            self._events.append(event)
        else:
            self._events.clear()

    @property
    def events(self) -> Sequence[Event]:
        """Everything so far, in order of time; raises `LabError` if it was too much to keep."""
        if self._left_bytes < 0:
            raise LabError(
                f"more passed than the {self._kept_bytes >> 20:,} MiB a tap keeps; "
                "make the run shorter, or its load smaller"
            )
        return self._events

    def recording(self, title: str = "") -> Recording:
        """Everything so far, to be saved; raises `LabError` if it was too much to keep."""
        head = Head(FORMAT, datetime.now(UTC).isoformat(timespec="seconds"), title)
        return Recording(head, [*self.events])

    def segments(self) -> Segments:
        """What TCP itself has cost so far, on the way between the clients and the tap.

        Counted by the kernel (see `labs.wire.tcpinfo`), estimated for connections of which it
        tells nothing. On loopback a segment may hold 64 KiB.
        """
        total, uncounted = self._closed, set(self._uncounted)
        for number, client in self._clients.items():
            if info := tcpinfo.read(client):
                total += tcpinfo.segments(info, client.family)
            else:
                uncounted.add(number)
        return sum(self._estimates(uncounted), total)

    def _estimates(self, connections: set[int]) -> Iterator[Segments]:
        if not connections:
            return
        each: dict[int, list[Event]] = {connection: [] for connection in connections}
        for event in self.events:
            if event.connection in each:
                each[event.connection].append(event)
        yield from map(tcpinfo.estimate, each.values())

    def mark(self, until_ns: int | None = None) -> Traffic:
        """End a phase, now or at an earlier moment; answers what passed in it."""
        name, begun_ns = str(len(self._marks)), self._marks[-1][1] if self._marks else 0
        self._marks.append((name, max(begun_ns, until_ns or monotonic_ns())))
        return account(self.events, self._marks)[name]


@asynccontextmanager
async def tapping(
    host: str, port: int, *, listen: str = HOST, shape: Shape = unshaped
) -> AsyncIterator[tuple[Tap, int]]:
    """Relay to a server while inside; yields the tap and the port to connect to."""
    tap = Tap()
    async with relaying(host, port, tap, listen=listen, shape=shape) as relay:
        yield tap, relay.port


async def answer(command: dict[str, Any], tap: Tap, relay: Relay) -> dict[str, Any]:
    """Do what a parent asks for. What takes long is done in a thread: the relay goes on."""
    if "cut" in command:
        return {"cut": relay.cut()}
    if "mark" in command:
        traffic = tap.mark(_ns(command.get("until_s")))
        flat = {"up": traffic.up, "down": traffic.down, **msgspec.to_builtins(traffic)}
        return {"phase": command["mark"], "traffic": flat}
    if "record" in command:
        recording = tap.recording(command.get("title", ""))
        await asyncio.to_thread(save, recording, Path(command["record"]))
        return {"recorded": command["record"]}
    if "account" in command:
        ends_ns = [(name, _ns(until_s)) for name, until_s in command["account"]]
        events, segments = [*tap.events], tap.segments()
        windows = await asyncio.to_thread(account, events, ends_ns)
        return {"windows": windows, "segments": segments}
    raise LabError(f"the tap knows no command {sorted(command)}")


def _ns(moment_s: float | None) -> int | None:
    return None if moment_s is None else round(moment_s * 1e9)


async def main(host: str, port: int, listen: str) -> None:
    """The tap as a process of its own."""
    allow_files()
    tap = Tap()
    async with relaying(host, port, tap, listen=listen) as relay:
        reply({"port": relay.port})
        async for command in commands():
            try:
                reply(await answer(command, tap, relay))
            except (LabError, ValueError) as error:
                reply({"error": str(error)})


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m labs.wire.tap", description="A tap.")
    parser.add_argument("server", metavar="HOST", help="where the server is")
    parser.add_argument("port", metavar="PORT", type=int)
    parser.add_argument("--host", default=HOST, help="the address to listen at (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    told = parsed()
    with runner() as loop:
        loop.run(main(told.server, told.port, told.host))
