"""A chat server under test, and the line to it, which can go dead."""

from __future__ import annotations

import asyncio
import random
import socket
from contextlib import AsyncExitStack, suppress
from urllib.parse import urlsplit

from labs.settings import Settings
from labs.variants import load

SETTINGS = Settings(interval_s=0.1, heartbeat_s=1.0, hold_s=1.0, timeout_s=2.0, drain_s=1.0)
"""Short times, so that whoever waits for one does not wait long."""


class Site:
    """A server of one variant, that can stop and start again at the same `url`."""

    def __init__(self, name: str, settings: Settings = SETTINGS) -> None:
        self.variant = load(name)
        self.settings = self.variant.settings(settings)
        self.url = ""
        self._serving = AsyncExitStack()

    async def start(self) -> None:
        """Serve a new, empty chat."""
        port = urlsplit(self.url).port or _free_port()
        serve = self.variant.serve(self.variant.chat(self.settings), "127.0.0.1", port)
        self.url = await self._serving.enter_async_context(serve)

    async def stop(self) -> None:
        """Shut the server down."""
        await self._serving.aclose()


def _free_port() -> int:
    """One that no client is given while the site is down: those begin at 32,768 (Linux)."""
    while True:
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", random.randrange(20_000, 32_768)))
            return int(one.getsockname()[1])


class Line:
    """A relay to a site that can go dead without closing anything, as when a cable is pulled."""

    def __init__(self, site: Site) -> None:
        self.url = ""
        self._target = urlsplit(site.url)
        self._alive = asyncio.Event()
        self._alive.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """End every connection."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """From now on nothing comes through, either way."""
        self._alive.clear()

    def mend(self) -> None:
        """What was under way is lost with its connections; new ones work."""
        for task in self._tasks:
            task.cancel()
        self._alive.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        far_reader, far_writer = await asyncio.open_connection(
            self._target.hostname, self._target.port
        )
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, far_writer))
                both.create_task(self._pump(far_reader, writer))
        finally:
            self._tasks.discard(task)
            writer.close()
            far_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                await self._alive.wait()
                writer.write(data)
                await writer.drain()
            writer.write_eof()
