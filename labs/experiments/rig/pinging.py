"""The servers of two libraries, with nothing but their pings: who notices a dead peer, and when."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import engineio
import msgspec
import socketio
from aiohttp import web
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from labs.wire.relay import HOST

LOOK_S = 0.01


class Defaults(msgspec.Struct, frozen=True):
    """What a library does unless told otherwise, in seconds."""

    interval_s: float
    timeout_s: float
    close_s: float = 0.0


def defaults(library: str) -> Defaults:
    """What is installed: read from `websockets.serve` and from a Socket.IO server."""
    if library == "websockets":
        known = inspect.signature(serve).parameters
        return Defaults(
            *(known[name].default for name in ("ping_interval", "ping_timeout", "close_timeout"))
        )
    server = socketio.AsyncServer(async_mode="aiohttp").eio
    return Defaults(server.ping_interval, server.ping_timeout)


class Peers:
    """The server's connections in order of opening: when each was given up, and heard of."""

    def __init__(self) -> None:
        self.open: list[Callable[[], bool]] = []
        self.closed_s: dict[int, float] = {}
        self.told_s: dict[int, float] = {}

    def joined(self, is_open: Callable[[], bool]) -> int:
        """One more; answers its place."""
        self.open.append(is_open)
        return len(self.open) - 1

    def told(self, place: int) -> None:
        """The program has heard of its end."""
        self.told_s[place] = time.monotonic()
        self.closed_s.setdefault(place, self.told_s[place])

    async def all_gone(self) -> None:
        """Until the program has heard of every end."""
        while len(self.told_s) < len(self.open):
            for place, is_open in enumerate(self.open):
                if not is_open():
                    self.closed_s.setdefault(place, time.monotonic())
            await asyncio.sleep(LOOK_S)  # a library gives a peer up without an event


@asynccontextmanager
async def websockets_server(short: Defaults, peers: Peers) -> AsyncIterator[int]:
    """A server of `websockets` with these times; yields its port."""

    async def handle(connection: ServerConnection) -> None:
        place = peers.joined(lambda: connection.state is State.OPEN)
        await connection.wait_closed()
        peers.told(place)

    async with serve(
        handle,
        HOST,
        0,
        ping_interval=short.interval_s,
        ping_timeout=short.timeout_s,
        close_timeout=short.close_s,
    ) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@asynccontextmanager
async def engine_server(short: Defaults, peers: Peers) -> AsyncIterator[int]:
    """A server of python-engineio, which is Socket.IO's; yields its port."""
    server = engineio.AsyncServer(
        async_mode="aiohttp", ping_interval=short.interval_s, ping_timeout=short.timeout_s
    )
    places: dict[str, int] = {}

    async def connected(sid: str, _: object) -> None:
        places[sid] = peers.joined(
            lambda: sid not in server.sockets or not server.sockets[sid].closed
        )

    async def disconnected(sid: str, _: object) -> None:
        peers.told(places[sid])

    server.on("connect", connected)
    server.on("disconnect", disconnected)
    app = web.Application()
    server.attach(app)
    runner = web.AppRunner(app, shutdown_timeout=short.timeout_s)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    try:
        yield site.port
    finally:
        await server.shutdown()
        await runner.cleanup()


@asynccontextmanager
async def answering(port: int) -> AsyncIterator[None]:
    """A client that answers pings of either kind, says nothing, and goes without a word."""
    url = f"ws://{HOST}:{port}/engine.io/?EIO=4&transport=websocket"
    connection = await connect(url, compression=None, ping_interval=None, proxy=None)
    answering = asyncio.create_task(_answer(connection))
    try:
        yield
    finally:
        answering.cancel()
        connection.transport.abort()
        await connection.wait_closed()


async def _answer(connection: ClientConnection) -> None:
    try:
        async for packet in connection:
            if packet == "2":
                await connection.send("3")
    except ConnectionClosed:
        return
