"""The one place that reaches into python-engineio and python-socketio.

Both libraries do what Socket.IO asks for; three things they keep inside. A chat that delivers
fast must write a frame that is made once to many WebSockets (`Wire`). A chat that answers every
mistake with a code must see packets the libraries cannot parse (`Packet`, `well_formed`). And
Korean should go over the wire as UTF-8, not as six ASCII characters a letter (`Packet.json`).
`tests/labs/test_engine.py` fails when a library's inside changes.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import msgspec
import socketio
from aiohttp import web
from engineio import packet as engineio_packet
from engineio import payload as engineio_payload
from engineio.async_drivers import aiohttp as driver
from socketio import packet as socketio_packet

from labs.settings import Settings

SEPARATOR = "\x1e"
"""What stands between the packets of one HTTP body (Engine.IO protocol 4, "payload")."""

BROKEN = "4?"
"""A message packet no parser takes; `Packet` makes an event without a name of it."""

RESERVED = ("connect", "connect_error", "disconnect")


class Utf8Json:
    """JSON as browsers write it: UTF-8, not escaped."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        """A value as JSON."""
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str | bytes) -> Any:
        """JSON as a value; raises `ValueError`."""
        return json.loads(text)


class Packet(socketio_packet.Packet):  # type: ignore[misc]
    """A Socket.IO packet; what cannot be understood becomes an event whose name is empty."""

    json = Utf8Json

    def decode(self, encoded_packet: Any) -> int:
        """Parse a packet; never raises."""
        try:
            attachments = int(super().decode(encoded_packet) or 0)
        except (ValueError, IndexError, TypeError, RecursionError):
            return self._broken()
        kind, data = self.packet_type, self.data
        named = isinstance(data, list) and data and isinstance(data[0], str)
        if kind == socketio_packet.EVENT and (not named or data[0] in RESERVED):
            return self._broken()
        if kind in (socketio_packet.CONNECT_ERROR, socketio_packet.BINARY_EVENT):
            return self._broken()
        if kind not in range(socketio_packet.BINARY_ACK):
            return self._broken()
        return attachments

    def _broken(self) -> int:
        self.packet_type, self.namespace, self.data = socketio_packet.EVENT, None, [""]
        return 0


def well_formed(packet: str | bytes) -> str:
    """An Engine.IO packet a client may send, or `BROKEN` in its place."""
    return packet if isinstance(packet, str) and packet[:1] in tuple("123456") else BROKEN


class Wire(driver.WebSocket):  # type: ignore[misc]
    """Engine.IO's WebSocket, opened up: it tells when it may be written to directly.

    That is once the upgrade is over and everything queued before has been written: then the
    Engine.IO session has this as its `wire`.
    """

    async def __call__(self, environ: dict[str, Any]) -> web.WebSocketResponse:
        """Open the WebSocket and hand it to Engine.IO until it ends."""
        self.request: web.Request = environ["aiohttp.request"]
        self.engine = self.handler.__self__
        self.opened: asyncio.Task[None] | None = None
        self._sock = web.WebSocketResponse(
            max_msg_size=self.server.max_http_buffer_size, compress=False
        )
        await self._sock.prepare(self.request)
        try:
            await self.handler(self)
        finally:
            self.engine.wire = None
            if self.opened:
                self.opened.cancel()
        return self._sock

    async def wait(self) -> str:
        """The next packet from the client; raises `OSError` at the end."""
        if self.engine.upgraded and self.opened is None:
            self.opened = asyncio.create_task(self._open())
        return well_formed(await super().wait())

    async def _open(self) -> None:
        await self.engine.queue.join()
        self.engine.wire = self
        if self.engine.on_wire:
            self.engine.on_wire()

    @property
    def paused(self) -> bool:
        """Whether the client reads too slowly, or is no longer there."""
        return bool(self._sock.closed or self.request.protocol.writing_paused)

    def write(self, data: bytes) -> None:
        """Write frames as they are."""
        if self.request.transport:
            self.request.transport.write(data)

    async def drain(self) -> None:
        """Wait until the client has read."""
        if self._sock.closed or not self.request.transport:
            raise ConnectionError("this connection has ended")
        await self.request.writer.drain()


class _Body:
    """An HTTP body as Engine.IO reads it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self, _: int) -> bytes:
        """All of it."""
        return self._data


async def _translate(request: web.Request) -> dict[str, Any]:
    environ: dict[str, Any] = driver.translate_request(request)
    if request.method == "POST":
        text = (await request.read()).decode(errors="replace")
        body = SEPARATOR.join(well_formed(packet) for packet in text.split(SEPARATOR)).encode()
        environ |= {"wsgi.input": _Body(body), "CONTENT_LENGTH": str(len(body))}
    return environ


def create(settings: Settings) -> socketio.AsyncServer:
    """A Socket.IO server for aiohttp that has everything above."""
    logger = logging.getLogger("socketio_chat")
    # What clients do wrong they are told; only what we do wrong belongs in the log.
    logger.addFilter(lambda record: record.exc_info is not None)
    raise_packet_limit(settings)
    server = socketio.AsyncServer(
        async_mode="aiohttp",
        serializer=Packet,
        always_connect=True,
        async_handlers=False,
        cors_allowed_origins=[],  # the guard of labs.serving has looked already
        transports=list(settings.transports),
        ping_interval=max(1, round(settings.heartbeat_s)),
        # Late pongs are looked for once every ping_timeout: a dead peer may have twice that.
        ping_timeout=settings.timeout_s / 2,
        max_http_buffer_size=settings.hard_bytes,
        http_compression=False,
        logger=logger,
        engineio_logger=logger,
    )
    server.eio._async = driver._async | {"websocket": Wire, "translate_request": _translate}
    return server


def raise_packet_limit(settings: Settings) -> None:
    """Let one HTTP body hold as many packets as its bytes allow; the library stops at 16."""
    engineio_payload.Payload.max_decode_packets = settings.hard_bytes


def session_of(server: socketio.AsyncServer, sid: str) -> Any:
    """The Engine.IO session under a Socket.IO one, with `wire` None until it has one."""
    engine = server.eio.sockets[server.manager.eio_sid_from_sid(sid, "/")]
    if not hasattr(engine, "wire"):
        engine.wire = engine.on_wire = None
    return engine


def enqueue(engine: Any, message: str) -> None:
    """Give a message to Engine.IO, to send when its transport can."""
    engine.queue.put_nowait(engineio_packet.Packet(engineio_packet.MESSAGE, message))
