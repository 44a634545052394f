"""From a chat and its routes to a running server: what every variant needs and none teaches.

Who may come in (origin, connections an address), how an error becomes an HTTP answer, leases
that end on time, and a shutdown that tells everyone to return.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar
from weakref import WeakSet

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from labs.chat import Chat
from labs.chat.messages import decode, encode
from labs.errors import ChatError
from labs.pages import Pages
from labs.settings import Settings

T = TypeVar("T")
BACKLOG = 1_024  # connections the kernel may hold for us when everyone comes back at once


class Gate:
    """Who may come in: pages of our own origin (RFC 6454), so many connections an address."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: defaultdict[str, WeakSet[asyncio.BaseTransport]] = defaultdict(WeakSet)

    def admit(
        self, origins: Sequence[str], host: str | None, transport: asyncio.BaseTransport | None
    ) -> None:
        """Raises `forbidden_origin` or `rate_limited`.

        A client that is no browser sends no `Origin` and is let in: the check protects
        people from foreign pages, not the server from programs.
        """
        for origin in origins:
            own = host and origin.partition("://")[2] == host
            if not own and origin not in self._settings.allow_origins:
                raise ChatError(
                    "forbidden_origin",
                    f"pages of {origin[:100]!r} may not use this chat; open its own",
                )
        if transport is not None:
            self._count(transport)

    def _count(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        address = self._open[peer[0] if isinstance(peer, tuple) else ""]
        address.add(transport)
        if len(address) <= self._settings.connections:
            return
        for one in [one for one in address if one.is_closing()]:
            address.discard(one)
        if len(address) > self._settings.connections:
            address.discard(transport)
            raise ChatError("rate_limited", "too many connections from your address; close some")


async def read(request: web.Request, wanted: type[T], chat: Chat) -> T:
    """The body of a request as a command, whatever content type a beacon gave it."""
    return decode(await request.read(), wanted, chat.settings.body_bytes)


def answer(value: object) -> web.Response:
    """A command's answer as JSON."""
    return web.json_response(body=encode(value), headers={"Cache-Control": "no-store"})


def refusal(error: ChatError) -> web.Response:
    """An error as an HTTP response (SPEC.md section 9)."""
    return web.json_response(
        body=encode(error.as_dict()), status=error.wire.status, headers=refusal_headers(error)
    )


def refusal_headers(error: ChatError) -> dict[str, str]:
    """What goes with an error over HTTP: not to be kept, and when to come back."""
    headers = {"Cache-Control": "no-store"}
    if error.wire.status in (429, 503):
        headers["Retry-After"] = str(max(1, round(error.retry_after_s or 1)))
    return headers


@asynccontextmanager
async def leases(chat: Chat) -> AsyncIterator[None]:
    """While inside, leases end on time: at most a tenth of `lease_s` late."""
    loop, late_s = asyncio.get_running_loop(), chat.settings.lease_s / 10
    timer: asyncio.Handle

    def expire() -> None:
        nonlocal timer
        timer = loop.call_later(max(chat.expire(), late_s), expire)

    expire()
    try:
        yield
    finally:
        timer.cancel()


def url(host: str, port: int) -> str:
    """Where a server is."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@asynccontextmanager
async def serving(
    chat: Chat,
    routes: Iterable[web.AbstractRouteDef],
    pages: Pages,
    host: str,
    port: int,
    drain_s: float | None = None,
) -> AsyncIterator[str]:
    """Serve routes and pages with aiohttp until the context ends; yields the URL.

    `drain_s` is how much of the setting of that name is left at the end, all unless given.
    Raises `OSError` when the port cannot be had.
    """
    drain_s = chat.settings.drain_s if drain_s is None else drain_s
    app = web.Application(
        middlewares=[_guard(Gate(chat.settings), chat.settings.compress)],
        client_max_size=chat.settings.hard_bytes,
    )
    app.add_routes([*routes, web.get("/{path:.*}", _files(pages))])

    async def farewell(_: web.Application) -> None:
        chat.close()

    app.on_shutdown.append(farewell)
    # Without handler_cancellation a held request outlives the client that made it.
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_logger(),
        handler_cancellation=True,
        shutdown_timeout=drain_s / 2,  # it waits that long twice
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=BACKLOG)
        await site.start()
        async with leases(chat):
            yield url(host, site.port)
    finally:
        await runner.cleanup()


def _logger() -> logging.Logger:
    logger = logging.getLogger(__name__)
    logger.addFilter(_ours)
    return logger


def _ours(record: logging.LogRecord) -> bool:
    # What is no HTTP is answered; only what we do wrong belongs in the log.
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _guard(gate: Gate, compress: bool) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            gate.admit(request.headers.getall("Origin", []), request.host, request.transport)
            response = await handler(request)
            if compress and isinstance(response, web.Response) and response.body:
                response.enable_compression()
            return response
        except ChatError as error:
            return refusal(error)
        except web.HTTPRequestEntityTooLarge:
            limit = f"{request.app._client_max_size:,}"
            return refusal(ChatError("too_large", f"the limit is {limit} bytes, send less"))
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
            what = f"{request.method} {request.path[:80]!r}: {error.reason}"
            headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            body = encode(ChatError("bad_request", what).as_dict())
            return web.json_response(body=body, status=error.status, headers=headers)

    return guard


def _files(pages: Pages) -> Handler:
    async def file(request: web.Request) -> web.StreamResponse:
        asset = pages.find(request.path)
        if asset is None:
            raise web.HTTPNotFound
        return web.Response(body=asset.body, headers=asset.headers)

    return file
