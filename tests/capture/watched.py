"""A tap that also tells what the kernel counted of each connection, in a process of its own.

    python -m tests.capture.watched HOST PORT LISTEN

answers what `labs.wire.tap` does, and besides `{"look": [ADDRESS, PORT]}` with everything at one
moment, at which it also sends a marker, a UDP datagram, to that address; null if something was
on its way just then. `{"closed": true}` it answers once no connection is open any more.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from time import monotonic
from typing import Any

import msgspec

from labs.loops import runner
from labs.wire import tcpinfo
from labs.wire.control import commands, reply
from labs.wire.relay import relaying
from labs.wire.tap import Tap, answer
from labs.wire.tcpinfo import TcpInfo
from labs.wire.traffic import Segments


class Known(msgspec.Struct):
    """One connection: the bytes that the tap has kept, its ends, and the kernel's counts."""

    info: TcpInfo
    up: int = 0
    down: int = 0
    ends: list[str] = []


class Look(msgspec.Struct):
    """Everything at one moment, `at_s` of the monotonic clock."""

    at_s: float
    connections: list[Known]
    segments: Segments


class Watched(Tap):
    """The tap, with an eye on the kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[int, TcpInfo] = {}  # of the closed connections
        self.changed = asyncio.Event()

    def closing(self, connection: int) -> None:
        if info := tcpinfo.read(self._clients[connection]):
            self.last[connection] = info
        super().closing(connection)
        self.changed.set()

    async def closed(self) -> None:
        """Wait until no connection is open."""
        while self._clients:
            self.changed.clear()
            await self.changed.wait()

    def idle(self) -> bool:
        """Whether all that was sent has been acknowledged, and all that came has been read."""
        return all(info.unacked == 0 for info in self.open_infos().values()) and not any(
            map(unread, self._clients.values())
        )

    def open_infos(self) -> dict[int, TcpInfo]:
        found = {number: tcpinfo.read(client) for number, client in self._clients.items()}
        return {number: info for number, info in found.items() if info}

    def look(self) -> Look:
        infos = {**self.last, **self.open_infos()}
        known = {number: Known(info) for number, info in infos.items()}
        for event in self.events:
            one = known[event.connection]
            if event.kind == "up":
                one.up += len(event.data)
            elif event.kind == "down":
                one.down += len(event.data)
            elif event.kind != "opened":
                one.ends.append(event.kind)
        return Look(monotonic(), [*known.values()], self.segments())


def unread(sock: socket.socket) -> int:
    """Bytes that have come and wait in the kernel."""
    waiting = fcntl.ioctl(sock.fileno(), termios.FIONREAD, b"\0" * 4)
    return int(struct.unpack("i", waiting)[0])


def looked(tap: Watched, marker: tuple[str, int]) -> Look | None:
    """A look, if nothing has moved around the sending of the marker."""
    if not tap.idle():
        return None
    before = tap.look()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.sendto(b"marker", marker)
    after = tap.look()
    return after if tap.idle() and before.segments == after.segments else None


async def did(command: dict[str, Any], tap: Watched) -> dict[str, Any] | None:
    if "look" in command:
        address, port = command["look"]
        return {"look": looked(tap, (address, port))}
    if "closed" in command:
        await tap.closed()
        return {"closed": True}
    return None


async def main(host: str, port: int, listen: str) -> None:
    tap = Watched()
    async with relaying(host, port, tap, listen=listen) as relay:
        reply({"port": relay.port})
        async for command in commands():
            reply(await did(command, tap) or await answer(command, tap, relay))


if __name__ == "__main__":
    with runner() as loop:
        loop.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
