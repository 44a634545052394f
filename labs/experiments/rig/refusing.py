"""A proxy through which HTTP passes and WebSockets do not, as there are in offices and hotels.

A WebSocket begins as a request to change the protocol of the connection (RFC 6455 section 4.1),
with the fields `Upgrade` and `Connection`. Both speak of one hop only, and a proxy that does not
know the protocol has two ways with them:

    refuse      it answers the request itself: 403 (RFC 9110 section 15.5.4)
    strip       it takes both fields out and forwards the rest, as RFC 9110 section 7.6.1 asks of
                it; the server sees an ordinary GET
    let         it forwards the request, and then whatever comes: a proxy that does not mind

Everything else is forwarded as the bytes that it is. Of each request the head is read, and a body
is as long as its `Content-Length` says; one without (`Transfer-Encoding`) is answered 411.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

HOST = "127.0.0.1"
PIECE_BYTES = 65_536
HEAD_END = b"\r\n\r\n"

Manner = Literal["refuse", "strip", "let"]

_ASKS = re.compile(rb"\r\nupgrade:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE)
_HOP = re.compile(rb"\r\n(?:upgrade|connection):[^\r\n]*(?=\r\n)", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r\n", re.IGNORECASE)
_CODED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)


class Proxy:
    """One that runs: `requests` it has forwarded, by method, and `upgrades` it was asked for."""

    def __init__(self, host: str, port: int, manner: Manner) -> None:
        self.url = ""
        self.requests = Counter[str]()
        self.upgrades = 0
        self._server, self._manner = (host, port), manner
        self._open: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client has connected."""
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def close(self) -> None:
        """End every connection."""
        for task in [*self._open]:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        try:
            there, onward = await asyncio.open_connection(*self._server)
            back = asyncio.create_task(_copy(there, writer))
            try:
                if await self._forward(reader, onward, writer):
                    await back
            finally:
                back.cancel()
                onward.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # one side is gone, or no HTTP: so is the connection, which is all there is to do
        finally:
            writer.close()

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        onward: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Requests one after the other; False as soon as one is refused."""
        while head := await _head(reader):
            if _CODED.search(head):
                _answer(writer, "411 Length Required")
                return False
            if asks := bool(_ASKS.search(head)):
                self.upgrades += 1
            if asks and self._manner == "refuse":
                _answer(writer, "403 Forbidden")
                return False
            self.requests[head.partition(b" ")[0].decode("ascii", "replace")] += 1
            onward.write(_HOP.sub(b"", head) if asks and self._manner == "strip" else head)
            if asks and self._manner == "let":
                await _copy(reader, onward)
                return True
            if length := _LENGTH.search(head):
                onward.write(await reader.readexactly(int(length[1])))
            await onward.drain()
        onward.write_eof()
        return True


async def _head(reader: asyncio.StreamReader) -> bytes:
    """The next request's head; empty at the end."""
    try:
        return await reader.readuntil(HEAD_END)
    except asyncio.IncompleteReadError as cut:
        if cut.partial:
            raise
        return b""


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All that comes, then the end."""
    with suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()


def _answer(writer: asyncio.StreamWriter, status: str) -> None:
    body = f"{status}: this proxy lets no such request through\n"
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n{body}".encode())


@asynccontextmanager
async def refusing(host: str, port: int, manner: Manner) -> AsyncIterator[Proxy]:
    """A proxy to one server while inside. Raises `OSError` if it cannot listen."""
    proxy = Proxy(host, port, manner)
    server = await asyncio.start_server(proxy.accept, HOST, 0)
    proxy.url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
