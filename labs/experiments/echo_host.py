"""A plain server of `websockets` in a process of its own: `python -m labs.experiments.echo_host`.

Reads how it shall compress (`none`, `alone` or `kept`) as one JSON line from stdin, prints
`{"port": ...}`, says back whatever it hears, and ends when stdin does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

from labs.wire.control import commands, reply
from labs.wire.relay import HOST

Mode = Literal["none", "alone", "kept"]
"""Not compressed; each message by itself; the library's default, with what went before."""

WINDOW_BITS, MEMORY_LEVEL = 12, 5
"""The library's own choice (`enable_server_permessage_deflate`)."""

Handler = Callable[[ServerConnection], Any]


def compressing(mode: Mode) -> dict[str, Any]:
    """The arguments of `serve` for a mode."""
    if mode == "none":
        return {"compression": None}
    if mode == "kept":
        return {"compression": "deflate"}
    settings = {"memLevel": MEMORY_LEVEL}
    offer = ServerPerMessageDeflateFactory(True, True, WINDOW_BITS, WINDOW_BITS, settings)
    return {"compression": None, "extensions": [offer]}


def serving(handler: Handler, mode: Mode) -> AbstractAsyncContextManager[Server]:
    """A server on a free port, to be entered."""
    return serve(handler, HOST, 0, ping_interval=None, **compressing(mode))


def port_of(server: Server) -> int:
    """Where it listens."""
    number: int = next(iter(server.sockets)).getsockname()[1]
    return number


async def echo(connection: ServerConnection) -> None:
    """Say back what is heard."""
    async for message in connection:
        await connection.send(message)


async def main() -> None:
    """Serve until the parent is gone."""
    told = commands()
    mode: Mode = (await anext(told))["mode"]
    async with serving(echo, mode) as server:
        reply({"port": port_of(server)})
        async for _ in told:
            continue


if __name__ == "__main__":
    asyncio.run(main())
