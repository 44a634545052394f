"""A small HTTP proxy before several workers: which of them gets a request is a rule.

round-robin   each request the next one
sid           a request that names a session the worker that opened it, others the next one
address       all requests of a client's address the same one
"""

from __future__ import annotations

import asyncio
import itertools
import re
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple

import aiohttp
from aiohttp import web

from labs.wire.relay import HOST

Rule = Literal["round-robin", "sid", "address"]
HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade"}
"""Fields of one connection, which are not passed on (RFC 9110 section 7.6.1), and its lengths."""
SID = re.compile(r'^0\{"sid":"([^"]+)"')


class Passed(NamedTuple):
    """One request: the worker that got it, the status it answered, whether it named a session."""

    worker: int
    status: int
    named: bool


class Balancer:
    """The proxy; `passed` is every request so far, in the order of their answers."""

    def __init__(self, workers: Sequence[str], rule: Rule) -> None:
        self.passed: list[Passed] = []
        self._workers, self._rule = workers, rule
        self._turns = itertools.cycle(range(len(workers)))
        self._opened: dict[str, int] = {}  # by sid: where

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on, and its answer back."""
        sid = request.query.get("sid", "")
        worker = self._choose(sid, request.remote or "")
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in HOP
        }
        async with aiohttp.ClientSession(auto_decompress=False) as http:
            url = self._workers[worker] + request.path_qs
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._upgrade(request, http, url, Passed(worker, 101, bool(sid)))
            body = await request.read()
            async with http.request(request.method, url, headers=headers, data=body) as answer:
                told = await answer.read()
                self.passed.append(Passed(worker, answer.status, bool(sid)))
                if opened := SID.match(told.decode(errors="replace")):
                    self._opened[opened[1]] = worker
                kind = {"Content-Type": answer.headers.get("Content-Type", "text/plain")}
                return web.Response(status=answer.status, body=told, headers=kind)

    async def _upgrade(
        self, request: web.Request, http: aiohttp.ClientSession, url: str, passed: Passed
    ) -> web.StreamResponse:
        try:
            far = await http.ws_connect(url)
        except aiohttp.WSServerHandshakeError as refused:
            self.passed.append(passed._replace(status=refused.status))
            return web.Response(status=refused.status)
        self.passed.append(passed)
        near = web.WebSocketResponse(compress=False)
        async with far:
            await near.prepare(request)
            await _bridge(far, near)
        return near

    def _choose(self, sid: str, address: str) -> int:
        if self._rule == "address":
            return zlib.crc32(address.encode()) % len(self._workers)
        if self._rule == "sid" and sid in self._opened:
            return self._opened[sid]
        return next(self._turns)


async def _bridge(far: aiohttp.ClientWebSocketResponse, near: web.WebSocketResponse) -> None:
    async def up() -> None:
        async for message in near:
            await far.send_str(message.data)
        await far.close()

    sending = asyncio.create_task(up())
    try:
        async for message in far:
            await near.send_str(message.data)
    finally:
        sending.cancel()
        await near.close()


@asynccontextmanager
async def balancing(workers: Sequence[str], rule: Rule) -> AsyncIterator[tuple[Balancer, str]]:
    """Proxy to the workers, given by URL, while inside; yields the proxy and its URL."""
    balancer = Balancer(workers, rule)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", balancer.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    try:
        yield balancer, f"http://{HOST}:{site.port}"
    finally:
        await runner.cleanup()
