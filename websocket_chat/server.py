"""WebSocket: one connection, and both sides write to it whenever they like.

Up:         text frames {"event", "data", "id"?}: newUserConnect, sendMessage, disconnect
Down:       text frames {"event", "data", "id"?}: updateMessage, ack, error
Resume:     `since` in newUserConnect; from then on the server holds the cursor
Heartbeat:  a ping every heartbeat_s, answered within timeout_s, from both sides
Spec:       RFC 6455
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from http import HTTPStatus

import msgspec
from websockets.asyncio import server as websockets
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State

from labs.chat import Accepted, Batch, Chat, Cursor, Join, Joined, Leave, Position, Session, Talk
from labs.chat.messages import decode, encode, encode_batch
from labs.errors import ChatError
from labs.pages import Pages
from labs.serving import BACKLOG, Gate, leases, refusal_headers, url

# What a client says that leaves; a page that gives no code to close() says the last.
GONE = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD)


def frame(batch: Batch) -> bytes:
    """One unmasked text frame (RFC 6455 section 5.2)."""
    payload = b'{"event":"updateMessage","data":%b}' % encode_batch(batch)
    return Frame(Opcode.TEXT, payload).serialize(mask=False)


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

    def __init__(self, connection: websockets.ServerConnection) -> None:
        self._connection = connection
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
        ending = self._connection.close(error.wire.close, reason)
        self._closing = asyncio.get_running_loop().create_task(ending)


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
        since, socket = Position.parse(joined.since), Socket(self.connection)
        self._cursor = self._following.enter_context(
            self.session.room.follow(self.session, since, frame, socket)
        )

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
            lambda connection: Conversation(chat, connection).run(),
            host,
            port,
            process_request=before_upgrade,
            compression=None,
            max_size=settings.hard_bytes,
            ping_interval=settings.heartbeat_s,
            ping_timeout=settings.timeout_s,
            close_timeout=settings.drain_s,
            backlog=BACKLOG,
        ) as server,
    ):
        try:
            yield url(host, server.sockets[0].getsockname()[1])
        finally:
            chat.close()
            server.close(code=CloseCode.SERVICE_RESTART, reason="shutting_down: come back")


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
