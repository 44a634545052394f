"""A text as it goes over the wire with nothing of ours around it: a frame, and an event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from aiohttp import web
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from labs.bench.run import START_S
from labs.wire.control import Child, child
from labs.wire.traffic import Traffic

HOST = "127.0.0.1"


async def frames(text: str) -> Traffic:
    """A text message up a WebSocket and the same down again: what passed, handshake apart."""

    async def echo(socket: ServerConnection) -> None:
        async for said in socket:
            await socket.send(said)

    async with serve(echo, HOST, 0, compression=None, ping_interval=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with (
            _tapped(port) as (tap, through),
            connect(
                f"ws://{HOST}:{through}", compression=None, ping_interval=None, proxy=None
            ) as socket,
        ):
            await _passed(tap)
            await socket.send(text)
            await socket.recv()
            return await _passed(tap)


async def event(text: str) -> Traffic:
    """An event of one line down an event stream: what passed for it, heads included."""
    over = asyncio.Event()  # before that the body has no end, whose bytes are not the event's

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"data: {text}\n\n".encode())
        await over.wait()
        return response

    async with (
        _http(stream) as port,
        _tapped(port) as (tap, through),
        aiohttp.ClientSession() as session,
        session.get(f"http://{HOST}:{through}/") as response,
    ):
        await response.content.readuntil(b"\n\n")
        passed = await _passed(tap)
        over.set()
        return passed


@asynccontextmanager
async def _http(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _tapped(port: int) -> AsyncIterator[tuple[Child, int]]:
    async with child("the tap", "labs.wire.tap", HOST, str(port)) as tap:
        yield tap, (await tap.hear(START_S))["port"]


async def _passed(tap: Child) -> Traffic:
    return msgspec.convert((await tap.ask({"mark": "passed"}))["traffic"], Traffic)
