"""A cable that can be pulled: a relay that falls silent in both directions, without an end.

Nothing passes any more, and no kernel confirms anything to either side: each is left with a
connection that is open as far as it can tell (half-open, RFC 9293 section 3.5.1). Linux only.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from labs.errors import LabError
from labs.wire.relay import HOST, Direction, End, Piece, Relay, WayOut, relaying
from labs.wire.tap import Tap

ATTACH_FILTER = 26  # SO_ATTACH_FILTER of socket(7)
RETURN = 0x06  # of BPF: accept so many bytes of a packet


class Cable:
    """The relay between clients and a server. `port` is where clients connect, `tap` saw all."""

    def __init__(self) -> None:
        self.tap = Tap()
        self.relay: Relay
        self._pulled = False

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.relay.port

    def pull(self) -> None:
        """From now on nothing passes, on connections there are and on those to come."""
        self._pulled = True
        for connection in self.relay.open:
            for end in (connection.client, connection.server):
                _deafen(end.transport.get_extra_info("socket"))

    def shape(self, direction: Direction, source: End, out: WayOut) -> WayOut:
        """The way out of one direction (`labs.wire.relay.Shape`): pieces, ends and resets."""

        def pass_on(piece: Piece) -> None:
            if not self._pulled:
                out(piece)

        return pass_on


@asynccontextmanager
async def cable(host: str, port: int) -> AsyncIterator[Cable]:
    """A cable to a server while inside. Raises `LabError` on other systems than Linux."""
    if sys.platform != "linux":
        raise LabError("half-open connections are made with a socket filter of Linux; use Linux")
    line = Cable()
    async with relaying(host, port, line.tap, listen=HOST, shape=line.shape) as line.relay:
        yield line


def _deafen(connection: socket.socket) -> None:
    """Let no packet reach a socket, so that its kernel confirms none: a filter that takes 0 B."""
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", RETURN, 0, 0, 0))
    program = struct.pack("HL", 1, ctypes.addressof(instruction))
    connection.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, program)
