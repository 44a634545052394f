"""The TUN bridge: carries IP packets between two namespaces, through a network's queues.

    server's namespace -- TUN -- down --> queue --> TUN -- client's namespace
                       -- TUN <-- queue <-- up -- TUN --

As a process (`python -m labs.net.bridge`, by root, on Linux) it reads a network and a seed as one
JSON line from stdin, replies `{"up": true, ...}` with the names of the namespaces once they
stand, answers `{"counts": true}` with the packets of each direction, and `{"restart": SEED}` by
beginning chance and counts anew. The namespaces are removed when its stdin ends, as it does when
its parent dies.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from labs.errors import LabError
from labs.net.line import Line, Order, answer, exact_loop
from labs.net.namespaces import CLIENT, SERVER, bridged, name
from labs.net.queue import DeadlineQueue
from labs.wire.control import commands, reply

PACKET_BYTES = 65_536  # more than any packet has
BATCH = 64  # packets read at a time, before the other direction has its turn
IPV4 = 4


class Bridge:
    """Both directions between two TUN files, on the running loop."""

    def __init__(self, order: Order, server: int, client: int) -> None:
        self.lines = {
            "up": self._line(order, "up", client, server),
            "down": self._line(order, "down", server, client),
        }

    def _line(self, order: Order, direction: str, source: int, target: int) -> Line[bytes]:
        queue = DeadlineQueue[bytes](order.network, direction, order.seed)
        line = Line(queue, partial(os.write, target))
        asyncio.get_running_loop().add_reader(source, self._read, source, line)
        return line

    @staticmethod
    def _read(source: int, line: Line[bytes]) -> None:
        for _ in range(BATCH):
            try:
                packet = os.read(source, PACKET_BYTES)
            except BlockingIOError:
                return
            if packet[0] >> 4 == IPV4:
                line.put(len(packet), packet)


async def carry(server: int, client: int) -> None:
    """Bridge two TUN files until stdin ends."""
    asyncio.get_running_loop().set_exception_handler(_give_up)
    told = commands()
    order = msgspec.convert(await anext(told), Order)
    bridge = Bridge(order, server, client)
    names = {role: name(role, os.getpid()) for role in ("server", "client")}
    reply({"up": True, "addresses": {"server": SERVER, "client": CLIENT}, "names": names})
    gc.freeze()
    async for command in told:
        reply(await answer(command, bridge.lines))


def _give_up(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A packet could not be carried: end, for the rest would not be the network asked for."""
    loop.default_exception_handler(context)
    signal.raise_signal(signal.SIGTERM)


def _hurry() -> None:
    """Let nobody come before us: a network does not wait for the programs that use it."""
    # A container may forbid it; then packets are late, which the counts tell.
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def main() -> int:
    """The bridge as a process of its own; answers its exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with bridged() as (server, client), asyncio.Runner(loop_factory=exact_loop) as runner:
            _hurry()
            runner.run(carry(server, client))
    except LabError as error:
        reply({"error": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
