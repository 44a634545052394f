"""HTTP streaming: the client asks once, the server keeps the response open and adds to it.

Up:         POST /newUserConnect, POST /sendMessage, POST /disconnect
Down:       GET /updateMessage?session=...&since=..., an event stream without an end
Resume:     `Last-Event-ID`: each event's id is the position after it
Heartbeat:  a comment every heartbeat_s; a peer that confirms nothing is dropped by the kernel
Spec:       RFC 6202 section 3 (HTTP streaming), WHATWG HTML section 9.2 (server-sent events)
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import AbstractAsyncContextManager, suppress
from time import monotonic

from aiohttp import HttpVersion11, web

from labs.chat import Batch, Chat, Join, Leave, Position, Talk
from labs.chat.messages import encode, encode_batch
from labs.errors import ChatError
from labs.pages import Pages
from labs.serving import answer, read, serving
from labs.settings import Settings

RETRY_MS = 1_000  # what a browser waits before it asks again
HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would collect events until a buffer is full
}


def frame(batch: Batch) -> bytes:
    """One event of an event stream, as one chunk (RFC 9112 section 7.1)."""
    return chunk(event("updateMessage", encode_batch(batch), str(batch.end)))


def event(name: str, data: bytes, position: str = "") -> bytes:
    """An event whose data has no line breaks; JSON has none."""
    identity = f"id: {position}\n" if position else ""
    return b"event: %b\n%bdata: %b\n\n" % (name.encode(), identity.encode(), data)


def chunk(data: bytes) -> bytes:
    """Data as it stands in a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Stream:
    """A response that goes on: what is written reaches the client at once.

    Chunks go to the transport as they are, so that each is made once for everybody.
    """

    def __init__(self, request: web.Request, settings: Settings) -> None:
        assert request.transport
        self._request, self._transport = request, request.transport
        self._left_bytes, self._end_s = settings.recycle_bytes, monotonic() + settings.recycle_s
        self._ended: asyncio.Future[ChatError | None] = asyncio.get_running_loop().create_future()
        _drop_unconfirmed(request.transport, settings.timeout_s)

    def full(self) -> bool:
        """Whether the client reads too slowly, or is no longer there."""
        gone = self._transport.is_closing() or self._ended.done()
        return gone or self._request.protocol.writing_paused

    def write(self, data: bytes) -> None:
        """Add a chunk to the response; the last one it has room for ends it."""
        self._transport.write(data)
        self._left_bytes -= len(data)
        if self._left_bytes <= 0 and not self._ended.done():
            self._ended.set_result(None)

    async def drain(self) -> None:
        """Wait until the client has read."""
        if self._ended.done():
            raise ConnectionError("this response has ended")
        await self._request.writer.drain()

    def close(self, error: ChatError) -> None:
        """End the response with an error event."""
        if not self._ended.done():
            self._ended.set_result(error)

    async def run(self, heartbeat_s: float) -> ChatError | None:
        """Keep the response alive until it ends; answers why, None if the client shall return."""
        while not self._ended.done() and monotonic() < self._end_s:
            wait_s = min(heartbeat_s, self._end_s - monotonic())
            await asyncio.wait({self._ended}, timeout=wait_s)
            if not self.full():
                self._transport.write(chunk(b":\n\n"))
        return self._ended.result() if self._ended.done() else None


def _drop_unconfirmed(transport: asyncio.Transport, after_s: float) -> None:
    # A stream is never answered, so only the kernel can tell that nobody confirms it any more.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        transport.get_extra_info("socket").setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(after_s * 1_000)
        )


class Server:
    """The four routes of the chat."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat

    async def new_user_connect(self, request: web.Request) -> web.Response:
        """A person comes in, or comes back."""
        _, joined = self.chat.join(await read(request, Join, self.chat))
        return answer(joined)

    async def send_message(self, request: web.Request) -> web.Response:
        """A person says something."""
        talk = await read(request, Talk, self.chat)
        session = self.chat.session(talk.session)
        return answer(session.room.talk(session, talk))

    async def disconnect(self, request: web.Request) -> web.Response:
        """A person goes."""
        leave = await read(request, Leave, self.chat)
        session = self.chat.session(leave.session)
        session.room.leave(session)
        return web.Response(status=204)

    async def update_message(self, request: web.Request) -> web.StreamResponse:
        """A person asks once: whatever comes, as it comes, until the stream is recycled."""
        if request.version < HttpVersion11:
            raise ChatError(
                "bad_request", "ask with HTTP/1.1 for an event stream (nginx: proxy_http_version)"
            )
        session = self.chat.session(request.query.get("session"))
        since = Position.parse(
            request.headers.get("Last-Event-ID") or request.query.get("since", "")
        )
        settings = self.chat.settings
        response = web.StreamResponse(headers=HEADERS)
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"retry: %d\n\n" % RETRY_MS)
        stream = Stream(request, settings)
        with session.room.follow(session, since, frame, stream):
            error = await stream.run(settings.heartbeat_s)
        await self._farewell(response, error)
        return response

    async def _farewell(self, response: web.StreamResponse, error: ChatError | None) -> None:
        # Whoever does not read does not read this either: then the kernel ends the connection.
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(self.chat.settings.drain_s):
                if error:
                    await response.write(event("error", encode(error.as_dict())))
                await response.write_eof()


def serve(chat: Chat, host: str, port: int) -> AbstractAsyncContextManager[str]:
    """Serve the chat over HTTP streaming; yields the URL."""
    server = Server(chat)
    routes = [
        web.post("/newUserConnect", server.new_user_connect),
        web.post("/sendMessage", server.send_message),
        web.post("/disconnect", server.disconnect),
        web.get("/updateMessage", server.update_message, allow_head=False),
    ]
    return serving(chat, routes, Pages(__file__, chat.settings), host, port)
