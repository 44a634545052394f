"""The one place where a server reaches into python-engineio and python-socketio.

Both libraries do what Socket.IO asks for; what they keep inside is what a chat like this needs.
To deliver fast it must write a frame that is made once to many WebSockets (`Wire`). To answer
every mistake with a code it must see packets the libraries cannot parse (`Packet`,
`well_formed`), and know which events ask for an ack (`Server`). Korean should go over the wire
as UTF-8, not as six ASCII characters a letter (`Packet.json`). What a client needs of them
beside stands in `labs.engine_client`.
`tests/labs/test_engine.py` fails when a library's inside changes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from contextvars import ContextVar
from functools import partial
from typing import Any

import msgspec
import socketio
from aiohttp import web
from engineio import packet as engineio_packet
from engineio import payload as engineio_payload
from engineio.async_drivers import aiohttp as driver
from socketio import packet as socketio_packet

from labs.errors import ChatError
from labs.settings import Settings

SEPARATOR = "\x1e"
"""What stands between the packets of one HTTP body (Engine.IO protocol 4, "payload")."""

BROKEN = "4?"
"""A message packet no parser takes; `Packet` makes an event without a name of it."""

TOO_LARGE = "too large"
"""The event that a packet becomes which is over the limit."""

ROOT = "/"
"""The one namespace there is."""

RESERVED = ("connect", "connect_error", "disconnect")

asks_ack: ContextVar[bool] = ContextVar("asks_ack", default=False)
"""Whether the event in hand asks for an ack."""

_CLIENT = re.compile(r"[13]|4.|2probe\Z|5\Z")  # close, pong, message; for an upgrade: ping, upgrade
_EVENT = re.compile(r"42\d{0,99}")  # the type of an event packet, and the number of its ack


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
    packet_type: int

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
        if kind == socketio_packet.EVENT and self.namespace not in (None, ROOT):
            return self._broken()
        if kind in (socketio_packet.CONNECT_ERROR, socketio_packet.BINARY_EVENT):
            return self._broken()
        if kind not in range(socketio_packet.BINARY_ACK):
            return self._broken()
        return attachments

    def _broken(self) -> int:
        if self.packet_type not in (socketio_packet.EVENT, socketio_packet.BINARY_EVENT):
            self.id = None
        self.packet_type, self.namespace, self.data = socketio_packet.EVENT, None, [""]
        return 0


def well_formed(packet: str | bytes, limit_bytes: int) -> str:
    """An Engine.IO packet a client may send, or `BROKEN` or the event `TOO_LARGE` in its place."""
    if not isinstance(packet, str) or not _CLIENT.match(packet):
        return BROKEN
    try:
        size = len(packet.encode())
    except UnicodeEncodeError:
        return BROKEN
    if size <= limit_bytes:
        return packet
    head = _EVENT.match(packet)
    return f'{head[0] if head else "42"}["{TOO_LARGE}"]'


class _Mark(engineio_packet.Packet):  # type: ignore[misc]
    """The end of what was queued before the upgrade."""

    TEXT = ""  # no packet is

    def encode(self, b64: bool = False) -> str:
        return self.TEXT


class Wire(driver.WebSocket):  # type: ignore[misc]
    """Engine.IO's WebSocket, opened up: it tells when it may be written to directly.

    That is once the upgrade is over and everything queued before has been written: then the
    Engine.IO session has this as its `wire`, and `wired` is set.
    """

    def __init__(self, limit_bytes: int, handler: Any, server: Any) -> None:
        super().__init__(handler, server)
        self._limit_bytes = limit_bytes

    async def __call__(self, environ: dict[str, Any]) -> web.WebSocketResponse:
        """Open the WebSocket and hand it to Engine.IO until it ends."""
        self.request: web.Request = environ["aiohttp.request"]
        self.engine = _opened_up(self.handler.__self__)
        self.marked = self.ended = False
        self._sock = web.WebSocketResponse(
            max_msg_size=self.server.max_http_buffer_size, compress=False
        )
        await self._sock.prepare(self.request)
        try:
            await self.handler(self)
        finally:
            self.ended = True
            # The library would answer every poll at once for ever, had there been no probe.
            self.engine.upgrading = False
        return self._sock

    async def wait(self) -> str:
        """The next packet from the client; raises `OSError` at the end."""
        if self.engine.upgraded and not self.marked:
            self.marked = True
            self.engine.queue.put_nowait(_Mark())
        return well_formed(await super().wait(), self._limit_bytes)

    async def send(self, message: str) -> None:
        """Write a packet from the queue; the mark says that all before it have been written."""
        if message != _Mark.TEXT:
            await super().send(message)
            return
        self.engine.wire = self
        self.engine.wired.set()
        if self.engine.on_wire:
            self.engine.on_wire()

    @property
    def paused(self) -> bool:
        """Whether the client reads too slowly, or is no longer there."""
        return bool(self.ended or self._sock.closed or self.request.protocol.writing_paused)

    def write(self, data: bytes) -> None:
        """Write frames as they are."""
        if self.request.transport:
            self.request.transport.write(data)

    async def drain(self) -> None:
        """Wait until the client has read."""
        if self.ended or self._sock.closed or not self.request.transport:
            raise ConnectionError("this connection has ended")
        await self.request.writer.drain()


class _Body:
    """An HTTP body as Engine.IO reads it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self, _: int) -> bytes:
        """All of it."""
        return self._data


async def _translate(limit_bytes: int, request: web.Request) -> dict[str, Any]:
    environ: dict[str, Any] = driver.translate_request(request)
    if request.method == "POST":
        # What is not UTF-8 is one packet's mistake, not its neighbours'.
        packets = (await request.read()).decode(errors="surrogateescape").split(SEPARATOR)
        body = SEPARATOR.join(well_formed(one, limit_bytes) for one in packets).encode()
        environ |= {"wsgi.input": _Body(body), "CONTENT_LENGTH": str(len(body))}
    return environ


class Server(socketio.AsyncServer):  # type: ignore[misc]
    """A Socket.IO server whose handlers can tell whether an ack is wanted."""

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        if namespace in (None, ROOT):
            await super()._handle_connect(eio_sid, namespace, data)
            return
        error = ChatError("bad_request", f"no namespace is called {namespace!r}; use {ROOT}")
        kind = socketio_packet.CONNECT_ERROR
        await self._send_packet(eio_sid, Packet(kind, error.as_dict(), namespace))

    async def _handle_event_internal(
        self, server: Any, sid: str, eio_sid: str, data: Any, namespace: str, id: int | None
    ) -> None:
        asks_ack.set(id is not None)
        await super()._handle_event_internal(server, sid, eio_sid, data, namespace, id)


def _ours(record: logging.LogRecord) -> bool:
    # What clients do wrong they are told; only what we do wrong belongs in the log.
    return record.exc_info is not None


def create(settings: Settings) -> Server:
    """A Socket.IO server for aiohttp that has everything above."""
    logger = logging.getLogger("socketio_chat")
    logger.addFilter(_ours)
    raise_packet_limit(settings)
    server = Server(
        async_mode="aiohttp",
        serializer=Packet,
        always_connect=True,
        async_handlers=False,
        cors_allowed_origins=[],  # the guard of labs.serving has looked already
        transports=list(settings.transports),
        allow_upgrades="websocket" in settings.transports,
        ping_interval=max(1, round(settings.heartbeat_s)),
        # Late pongs are looked for once every ping_timeout: a dead peer may have twice that.
        ping_timeout=settings.timeout_s / 2,
        max_http_buffer_size=settings.hard_bytes,
        http_compression=False,  # labs.serving sees to that
        logger=logger,
        engineio_logger=logger,
    )
    limit_bytes = settings.body_bytes
    server.eio._async = driver._async | {
        "websocket": partial(Wire, limit_bytes),
        "translate_request": partial(_translate, limit_bytes),
    }
    return server


def raise_packet_limit(settings: Settings) -> None:
    """Let one HTTP body hold as many packets as its bytes allow; the library stops at 16."""
    engineio_payload.Payload.max_decode_packets = settings.hard_bytes


def session_of(server: socketio.AsyncServer, sid: str) -> Any:
    """The Engine.IO session under a Socket.IO one, with `wire` None until it has one."""
    return _opened_up(server.eio.sockets[server.manager.eio_sid_from_sid(sid, ROOT)])


def _opened_up(engine: Any) -> Any:
    if not hasattr(engine, "wired"):
        engine.wire = engine.on_wire = None
        engine.wired = asyncio.Event()
    return engine


def enqueue(engine: Any, message: str) -> None:
    """Give a message to Engine.IO, to send when its transport can."""
    engine.queue.put_nowait(engineio_packet.Packet(engineio_packet.MESSAGE, message))


def release(engine: Any) -> None:
    """Answer the poll that an ended session still holds; the library would let it wait."""
    if not engine.upgraded:
        engine.queue.put_nowait(engineio_packet.Packet(engineio_packet.NOOP))


def alive(server: socketio.AsyncServer, sid: str) -> bool:
    """Whether there is an Engine.IO session of this name that has not ended."""
    return sid in server.eio.sockets and not server.eio.sockets[sid].closed
