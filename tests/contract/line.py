"""A TCP line between clients and a server: it can be cut, frozen, held, refused."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
from contextlib import suppress
from urllib.parse import urlsplit

SO_ATTACH_FILTER = 26  # socket(7), Linux
CHUNK_BYTES = 65_536
NARROW_BYTES = 16_384  # a buffer so small that whoever does not read is noticed soon


class Call:
    """One connection over the line: two pairs of streams, and a gate in each direction."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.near, self.far = near, far
        self.up, self.down = asyncio.Event(), asyncio.Event()
        self.up.set()
        self.down.set()

    def abort(self) -> None:
        """End it without a word to either side."""
        self.near.transport.abort()
        self.far.transport.abort()


class Line:
    """A relay at `url` that leads to the server at `target`, wherever that is by now.

    `down` is everything the server has said over it, `calls` how often it was dialled.
    `narrow` keeps the kernel from swallowing what a client does not read.
    """

    def __init__(self, target: str, narrow: bool = False) -> None:
        self.target = target
        self.url = ""
        self.down = bytearray()
        self.calls = 0
        self.refusing = False
        self._narrow = narrow
        self._holding = False
        self._open: set[Call] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._dialled, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """End every connection, and take no more."""
        self._server.close()
        self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def ports(self) -> set[int]:
        """The ports from which it calls the server at present."""
        return {call.far.get_extra_info("sockname")[1] for call in self._open}

    def cut(self) -> None:
        """End every connection there is, abruptly."""
        for call in self._open:
            call.abort()

    def refuse(self) -> None:
        """End every connection, and every new one as soon as it is made."""
        self.refusing = True
        self.cut()

    def freeze(self) -> None:
        """Let nothing through any more on the connections there are; new ones work."""
        self._holding = False
        for call in self._open:
            call.up.clear()
            call.down.clear()

    def die(self) -> None:
        """Be a wire that was pulled: the kernel too confirms nothing to the server any more."""
        self.refusing = True
        self.freeze()
        for call in self._open:
            _deafen(call.far.get_extra_info("socket"))

    def hold(self) -> None:
        """Let nothing down, on the connections there are and on those to come."""
        self._holding = True
        for call in self._open:
            call.down.clear()

    def release(self) -> None:
        """Let down what was held."""
        self._holding = False
        for call in self._open:
            call.down.set()

    def _dialled(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        task = asyncio.create_task(self._take(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.refusing:
            # When the server is not there, the client learns it by the reset.
            with suppress(OSError):
                await self._relay(reader, writer)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await self._dial()
        call = Call(writer, far_writer)
        if self._holding:
            call.down.clear()
        self._open.add(call)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, far_writer, call.up))
                both.create_task(self._pump(far_reader, writer, call.down, self.down))
        finally:
            self._open.discard(call)
            call.abort()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        target = urlsplit(self.target)
        raw = socket.socket()
        raw.setblocking(False)
        if self._narrow:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW_BYTES)
        try:
            await asyncio.get_running_loop().sock_connect(raw, (target.hostname, target.port))
        except BaseException:
            raw.close()
            raise
        limit = NARROW_BYTES if self._narrow else CHUNK_BYTES
        return await asyncio.open_connection(sock=raw, limit=limit)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        gate: asyncio.Event,
        record: bytearray | None = None,
    ) -> None:
        with suppress(ConnectionError):
            while True:
                await gate.wait()
                data = await reader.read(CHUNK_BYTES)
                await gate.wait()
                if not data:
                    break
                if record is not None:
                    record += data
                writer.write(data)
                await writer.drain()
        # Either side's end ends both, once what was said before has gone through.
        writer.close()


def _deafen(connection: socket.socket) -> None:
    """Let no packet reach a socket: a filter of one instruction that accepts 0 bytes (Linux)."""
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HL", 1, ctypes.addressof(instruction))
    connection.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
