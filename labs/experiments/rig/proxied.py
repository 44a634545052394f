"""Event streams on their way through a proxy: who reads them, and a server without chunks."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from streaming.client import EventStream

HOST = "127.0.0.1"
UNCHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


@dataclass
class Listener:
    """Somebody who reads an event stream: what has come, in events and in chunks of the proxy.

    `news` is set whenever something has come.
    """

    news: asyncio.Event = field(default_factory=asyncio.Event)
    events: int = 0
    chunks: list[int] = field(default_factory=list)

    async def read(self, http: aiohttp.ClientSession, url: str) -> None:
        """Read until the stream ends."""
        stream, plain = EventStream(), zlib.decompressobj(zlib.MAX_WBITS | 32)
        size = 0
        async with http.get(url, headers={"Accept-Encoding": "gzip"}) as response:
            packed = "Content-Encoding" in response.headers
            async for data, whole in response.content.iter_chunks():
                found = stream.feed(plain.decompress(data) if packed else data)
                self.events += sum(each.name == "updateMessage" for each in found)
                self.news.set()
                size += len(data)
                if whole:
                    self.chunks.append(size)
                    size = 0


@asynccontextmanager
async def unchunked(http: aiohttp.ClientSession, url: str) -> AsyncIterator[str]:
    """A relay that passes event streams on without chunks: each ends with its connection.

    So do the servers that speak HTTP/1.0. Yields the relay's URL.
    """

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target = (await reader.readline()).split()[1].decode()
            writer.write(UNCHUNKED)
            async with http.get(url + target) as response:
                async for data in response.content.iter_any():
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.close()

    relay = await asyncio.start_server(pass_on, HOST, 0)
    async with relay:
        yield f"http://{HOST}:{relay.sockets[0].getsockname()[1]}"
