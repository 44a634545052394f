"""WebSocket: one connection, and both sides write to it whenever they like.

Up:         text frames {"event", "data", "id"?}: newUserConnect, sendMessage, disconnect
Down:       text frames {"event", "data", "id"?}: updateMessage, ack, error
Resume:     `since` in newUserConnect; from then on the server holds the cursor
Heartbeat:  a ping every heartbeat_s, answered within timeout_s, from both sides
Spec:       RFC 6455
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from http import HTTPStatus

import msgspec
from websockets.asyncio import server as websockets
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import (
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State

from labs.chat import Accepted, Batch, Chat, Cursor, Join, Joined, Leave, Position, Session, Talk
from labs.chat.messages import decode, encode, encode_batch
from labs.errors import ChatError
from labs.pages import Pages
from labs.serving import BACKLOG, Gate, leases, refusal_headers, url

WINDOW_BITS = 15
# Both sides forget each message's context: a frame made once can then go to everyone.
DEFLATE = PerMessageDeflate(True, True, WINDOW_BITS, WINDOW_BITS)
OFFER = ServerPerMessageDeflateFactory(True, True)

# What a client says that leaves; a page that gives no code to close() says the last.
GONE = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD)


def frame(batch: Batch) -> bytes:
    """One unmasked text frame (RFC 6455 section 5.2)."""
    return _text(batch).serialize(mask=False)


def deflated(batch: Batch) -> bytes:
    """The same frame, compressed by itself (RFC 7692 section 7.2.1): it still fits everybody."""
    return _text(batch).serialize(mask=False, extensions=[DEFLATE])


def _text(batch: Batch) -> Frame:
    return Frame(Opcode.TEXT, b'{"event":"updateMessage","data":%b}' % encode_batch(batch))


class Up(msgspec.Struct):
    """A frame from a client; with an `id` it asks for an ack."""

    event: str
    data: msgspec.Raw = msgspec.Raw(b"{}")
    id: int | None = None


class Down(msgspec.Struct, omit_defaults=True):
    """A frame to one client: the `ack` or the `error` that answers it."""

    event: str
    data: object
    id: int | None = None


class Numbered(msgspec.Struct):
    """As much of a frame as its answer needs, where there is no more to be had."""

    id: int | None = None


class Socket:
    """An open connection: frames go to the transport as they are, made once for everybody."""

    def __init__(self, connection: websockets.ServerConnection, drain_s: float) -> None:
        self._connection, self._drain_s = connection, drain_s
        self._closing: asyncio.Task[None] | None = None

    def full(self) -> bool:
        """Whether the client reads too slowly, or is no longer there."""
        return self._connection.paused or self._connection.state is not State.OPEN

    def write(self, data: bytes) -> None:
        """Send a frame."""
        self._connection.transport.write(data)

    async def drain(self) -> None:
        """Wait until the client has read."""
        if self._connection.state is not State.OPEN:
            raise ConnectionError("this connection has ended")
        await self._connection.drain()

    def close(self, error: ChatError) -> None:
        """Close the connection; the reason is led by the code."""
        reason = f"{error.code}: {error.message}".encode()[:120].decode(errors="ignore")
        ending = end(self._connection, error.wire.close, reason, self._drain_s)
        self._closing = asyncio.get_running_loop().create_task(ending)


async def end(
    connection: websockets.ServerConnection, code: int, reason: str, within_s: float
) -> None:
    """Close a connection; who does not read that within so many seconds is cut off."""
    closing = asyncio.create_task(connection.close(code, reason))
    # The library's close_timeout begins when the frame is on its way, which it may never be.
    _, waiting = await asyncio.wait({closing}, timeout=within_s)
    if waiting:
        connection.transport.abort()
    await closing


class Conversation:
    """What is said on one connection."""

    def __init__(self, chat: Chat, connection: websockets.ServerConnection) -> None:
        self.chat = chat
        self.connection = connection
        self.session: Session | None = None
        self._cursor: Cursor | None = None
        self._following = ExitStack()

    async def run(self) -> None:
        """Take frames until the connection ends; who closes it properly has left."""
        try:
            while True:
                await self._receive(await self.connection.recv())
        except ConnectionClosed as closed:
            if closed.rcvd and closed.rcvd_then_sent and closed.rcvd.code in GONE:
                self._leave()
        finally:
            self._following.close()

    async def _receive(self, raw: str | bytes) -> None:
        up = Up("")
        try:
            if isinstance(raw, bytes):
                raise ChatError("bad_request", "a binary frame; send JSON in a text frame")
            up = decode(raw.encode(), Up, self.chat.settings.body_bytes)
            reply = Down("ack", self._handle(up), up.id)
        except ChatError as error:
            reply = Down("error", error.as_dict(), up.id if up.event else _number(raw))
        if reply.event == "error" or up.id is not None:
            await self.connection.send(encode(reply).decode())
        if isinstance(reply.data, Joined):
            self._follow(reply.data)

    def _handle(self, up: Up) -> Joined | Accepted | dict[str, str]:
        limit_bytes = self.chat.settings.body_bytes
        if up.event == "newUserConnect":
            return self.new_user_connect(decode(up.data, Join, limit_bytes))
        if up.event == "sendMessage":
            return self.send_message(decode(up.data, Talk, limit_bytes))
        if up.event == "disconnect":
            return self.disconnect(decode(up.data, Leave, limit_bytes))
        raise ChatError("bad_request", f"no event is called {up.event[:40]!r}")

    def new_user_connect(self, join: Join) -> Joined:
        """A person comes in, comes back, or takes another name."""
        if self.session and join.session is None:
            join.session = self.session.token
        session, joined = self.chat.join(join)
        if session is not self.session or join.since is not None:
            self._following.close()
        if self.session and self.session is not session and self.session.cursor is None:
            self.session.room.leave(self.session)
        self.session = session
        return joined

    def send_message(self, talk: Talk) -> Accepted:
        """A person says something."""
        session = self.chat.session(self._token)
        return session.room.talk(session, talk)

    def disconnect(self, _: Leave) -> dict[str, str]:
        """A person goes."""
        self.chat.session(self._token)
        self._leave()
        return {}

    @property
    def _token(self) -> str | None:
        return self.session.token if self.session else None

    def _follow(self, joined: Joined) -> None:
        if self.session is None or (self._cursor and self.session.cursor is self._cursor):
            return
        drain_s = self.chat.settings.drain_s
        since, socket = Position.parse(joined.since), Socket(self.connection, drain_s)
        self._cursor = self._following.enter_context(
            self.session.room.follow(self.session, since, self._frame, socket)
        )

    @property
    def _frame(self) -> Callable[[Batch], bytes]:
        # A client that asked for a smaller window may be sent frames that are not compressed.
        extensions = self.connection.protocol.extensions
        fit = any(getattr(one, "local_max_window_bits", 0) == WINDOW_BITS for one in extensions)
        return deflated if fit else frame

    def _leave(self) -> None:
        self._following.close()
        # A session whose cursor stands elsewhere by now is another connection's to end.
        if self.session and self.session.cursor is None:
            self.session.room.leave(self.session)


def _number(raw: str | bytes) -> int | None:
    try:
        return msgspec.json.decode(raw, type=Numbered).id
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


@asynccontextmanager
async def serve(chat: Chat, host: str, port: int) -> AsyncIterator[str]:
    """Serve the chat over WebSocket, and its page on the same port; yields the URL."""
    settings = chat.settings
    gate, pages = Gate(settings), Pages(__file__, settings)
    connections: set[websockets.ServerConnection] = set()

    async def converse(connection: websockets.ServerConnection) -> None:
        connections.add(connection)
        try:
            await Conversation(chat, connection).run()
        finally:
            connections.discard(connection)

    def before_upgrade(
        connection: websockets.ServerConnection, request: Request
    ) -> Response | None:
        headers = request.headers
        try:
            host = ", ".join(headers.get_all("Host"))
            gate.admit(headers.get_all("Origin"), host, connection.transport)
        except ChatError as error:
            return _response(error.wire.status, encode(error.as_dict()), refusal_headers(error))
        return None if "Upgrade" in headers else _page(pages, request)

    async with (
        leases(chat),
        websockets.serve(
            converse,
            host,
            port,
            process_request=before_upgrade,
            compression=None,
            extensions=[OFFER] if settings.compress else None,
            max_size=settings.hard_bytes,
            ping_interval=settings.heartbeat_s,
            # A dead peer is given up after both, one after the other.
            ping_timeout=settings.timeout_s / 2,
            close_timeout=settings.timeout_s / 2,
            backlog=BACKLOG,
        ) as server,
    ):
        try:
            yield url(host, server.sockets[0].getsockname()[1])
        finally:
            chat.close()
            server.close(close_connections=False)
            restart = CloseCode.SERVICE_RESTART, "shutting_down: come back", settings.drain_s
            await asyncio.gather(*(end(connection, *restart) for connection in connections))


def _page(pages: Pages, request: Request) -> Response:
    asset = pages.find(request.path.partition("?")[0])
    allowed = request.method in ("GET", "HEAD")
    if asset and allowed:
        return _response(200, asset.body, asset.headers, head=request.method == "HEAD")
    status = 404 if allowed else 405
    what = f"{request.method} {request.path[:80]!r}: {HTTPStatus(status).phrase}"
    body = encode(ChatError("bad_request", what).as_dict())
    return _response(status, body, {} if allowed else {"Allow": "GET, HEAD"})


def _response(status: int, body: bytes, headers: dict[str, str], head: bool = False) -> Response:
    every = {
        "Content-Type": "application/json; charset=utf-8",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    phrase = HTTPStatus(status).phrase
    return Response(status, phrase, Headers({**every, **headers}), b"" if head else body)
