"""Socket.IO: events with acks over Engine.IO, which polls first and then upgrades.

Up:         events newUserConnect, sendMessage, each with an ack; the packet disconnect
Down:       the event updateMessage, in Engine.IO packets; error
Resume:     `since` in newUserConnect; from then on the server holds the cursor
Heartbeat:  Engine.IO's ping every heartbeat_s, answered within timeout_s
Spec:       Socket.IO protocol 5 over Engine.IO protocol 4
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import msgspec
import socketio
from aiohttp import web
from websockets.frames import Frame, Opcode

from labs import engine
from labs.chat import Accepted, Batch, Chat, Cursor, Join, Joined, Message, Position, Session, Talk
from labs.chat.messages import SERVER_NAME, convert, encode, encode_batch
from labs.engine import SEPARATOR
from labs.errors import ChatError
from labs.pages import VENDOR, Pages, read
from labs.serving import serving

NO_TAGS = str.maketrans("<>", "＜＞")  # a page of the lesson may put a name into its HTML


def frame(batch: Batch) -> bytes:
    """One event in a packet, in a text frame: what an open WebSocket takes."""
    return _in_frames([packet(encode_batch(batch))])


def payload(batch: Batch) -> bytes:
    """The same packet for Engine.IO's queue, from where HTTP polling takes it."""
    return packet(encode_batch(batch))


def packet(data: bytes) -> bytes:
    """A Socket.IO event packet (type 2) in the root namespace."""
    return b'2["updateMessage",%b]' % data


def lesson_frame(batch: Batch) -> bytes:
    """A batch for a page of the original lesson: a packet a message."""
    return _in_frames(_lesson_packets(batch))


def lesson_payload(batch: Batch) -> bytes:
    """The same packets for Engine.IO's queue."""
    return SEPARATOR.encode().join(_lesson_packets(batch))


def _in_frames(packets: Iterable[bytes]) -> bytes:
    # An Engine.IO message packet is type 4.
    return b"".join(Frame(Opcode.TEXT, b"4" + one).serialize(mask=False) for one in packets)


def _lesson_packets(batch: Batch) -> list[bytes]:
    said = (_in_the_lesson(message) for message in batch.messages if message.kind != "gap")
    return [packet(encode(one)) for one in said]


def _in_the_lesson(message: Message) -> dict[str, str]:
    name = message.name.translate(NO_TAGS)
    if message.kind == "talk":
        return {"name": name, "message": message.text}
    verb = "접속했습니다" if message.kind == "join" else "퇴장했습니다"
    return {"name": SERVER_NAME, "message": f"{name}님이 {verb}."}


class Pipe:
    """A connection: Engine.IO's queue, then the WebSocket itself once the upgrade is over."""

    def __init__(self, sio: socketio.AsyncServer, sid: str, drain_s: float) -> None:
        self._sio, self._sid, self._drain_s = sio, sid, drain_s
        self.session = engine.session_of(sio, sid)
        self.ending: asyncio.Task[None] | None = None

    def full(self) -> bool:
        """Whether the client reads too slowly, or is no longer there."""
        if self.session.wire:
            return bool(self.session.wire.paused)
        # During the upgrade nothing is queued: it would be overtaken by what is written after it.
        return bool(self.session.closed or self.session.upgraded or not self.session.queue.empty())

    def write(self, data: bytes) -> None:
        """Send frames, or queue packets."""
        if self.session.wire:
            self.session.wire.write(data)
            return
        for message in filter(None, data.decode().split(SEPARATOR)):
            engine.enqueue(self.session, message)

    async def drain(self) -> None:
        """Wait until the client has read."""
        if self.ending or self.session.closed:
            raise ConnectionError("this connection has ended")
        if self.session.wire:
            await self.session.wire.drain()
        elif self.session.upgraded:
            await self.session.wired.wait()
        else:
            await self.session.queue.join()

    async def settle(self) -> None:
        """Wait until what is queued by now cannot be overtaken."""
        if self.session.upgraded:
            await self.session.wired.wait()
            await self.session.queue.join()

    def close(self, error: ChatError) -> None:
        """Send an error event and end the connection."""
        if self.ending is None:
            self.ending = asyncio.get_running_loop().create_task(self._end(error))

    async def _end(self, error: ChatError) -> None:
        wire = self.session.wire
        await self._sio.emit("error", error.as_dict(), to=self._sid)
        try:
            async with asyncio.timeout(self._drain_s):
                # The official client overlooks an event that comes in one payload with the end.
                await self.session.queue.join()
                if wire:
                    await wire.close()
        except TimeoutError:
            if wire and wire.request.transport:
                wire.request.transport.abort()
        if wire is None:
            reason = self._sio.reason.SERVER_DISCONNECT
            await self.session.close(wait=False, reason=reason)


class Conversation:
    """What is said on one connection."""

    def __init__(self, chat: Chat, pipe: Pipe) -> None:
        self.chat = chat
        self.pipe = pipe
        self.session: Session | None = None
        self.lesson = True  # unless it joins with an object
        self._cursor: Cursor | None = None
        self._following = ExitStack()
        self._beginning: asyncio.Task[None] | None = None

    def new_user_connect(self, data: object) -> Joined:
        """A person comes in, comes back, or takes another name."""
        bare = not isinstance(data, dict)
        join = self._convert({"name": data} if bare else data, Join)
        if self.session and join.session is None:
            join.session = self.session.token
        session, joined = self.chat.join(join)
        if session is not self.session or join.since is not None:
            self._following.close()
        if self.session and self.session is not session and self.session.cursor is None:
            self.session.room.leave(self.session)
        if self.session is None:
            self.lesson = bare
        self.session = session
        self._beginning = asyncio.get_running_loop().create_task(self._follow(joined))
        return joined

    def send_message(self, data: object) -> Accepted:
        """A person says something."""
        if isinstance(data, dict) and "text" not in data and "message" in data:
            data = {"text": data["message"]}
        talk = self._convert(data, Talk)
        session = self.chat.session(self.session.token if self.session else None)
        return session.room.talk(session, talk)

    def disconnect(self, left: bool) -> None:
        """A person goes, or the connection is lost: then a page of the lesson has gone too."""
        self._following.close()
        if self._beginning:
            self._beginning.cancel()
        # A session whose cursor stands elsewhere by now is another connection's to end.
        if self.session and self.session.cursor is None and (left or self.lesson):
            self.session.room.leave(self.session)

    async def _follow(self, joined: Joined) -> None:
        # The ack is in Engine.IO's queue by now; no batch may overtake it.
        await self.pipe.settle()
        if self.session is None or (self._cursor and self.session.cursor is self._cursor):
            return
        queued, direct = (lesson_payload, lesson_frame) if self.lesson else (payload, frame)
        cursor = self._cursor = self._following.enter_context(
            self.session.room.follow(self.session, Position.parse(joined.since), queued, self.pipe)
        )

        def upgraded() -> None:
            cursor.frame = direct

        self.pipe.session.on_wire = upgraded
        if self.pipe.session.wire:
            upgraded()

    def _convert(self, data: object, wanted: type[Any]) -> Any:
        return convert(data, wanted, self.chat.settings.body_bytes)


class Server:
    """The events of the chat, and the requests of Engine.IO."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.sio = engine.create(chat.settings)
        self._conversations: dict[str, Conversation] = {}
        self._silent: dict[str, asyncio.TimerHandle] = {}
        self.sio.on("connect", self._connect)
        self.sio.on("newUserConnect", self._new_user_connect)
        self.sio.on("sendMessage", self._send_message)
        self.sio.on(engine.TOO_LARGE, self._too_large)
        self.sio.on("*", self._unknown)
        self.sio.on("disconnect", self._disconnect)

    async def _connect(self, sid: str, _environ: object, _auth: object = None) -> None:
        pipe = Pipe(self.sio, sid, self.chat.settings.drain_s / 2)
        self._conversations[sid] = Conversation(self.chat, pipe)

    async def _new_user_connect(self, sid: str, data: object = None, *_: object) -> object:
        try:
            return msgspec.to_builtins(self._conversations[sid].new_user_connect(data))
        except ChatError as error:
            return await self._refuse(sid, error)

    async def _send_message(self, sid: str, data: object = None, *_: object) -> object:
        try:
            return msgspec.to_builtins(self._conversations[sid].send_message(data))
        except ChatError as error:
            return await self._refuse(sid, error)

    async def _unknown(self, event: str, sid: str, *_: object) -> object:
        return await self._refuse(
            sid, ChatError("bad_request", f"no event is called {event[:40]!r}")
        )

    async def _too_large(self, sid: str, *_: object) -> object:
        limit = f"{self.chat.settings.body_bytes:,}"
        return await self._refuse(
            sid, ChatError("too_large", f"the limit of a packet is {limit} bytes, send less")
        )

    async def _disconnect(self, sid: str, reason: str) -> None:
        conversation = self._conversations.pop(sid, None)
        if conversation is None:
            return
        # Only Socket.IO's packet is a farewell. Engine.IO's, which also follows a lost pong, has
        # the same reason, but closes the session first.
        session = conversation.pipe.session
        said = reason == self.sio.reason.CLIENT_DISCONNECT and not session.closing
        conversation.disconnect(left=said)
        engine.release(session)

    async def _refuse(self, sid: str, error: ChatError) -> dict[str, dict[str, str]]:
        if not engine.asks_ack.get():
            await self.sio.emit("error", error.as_dict(), to=sid)
        return {"error": error.as_dict()}

    async def requests(self, request: web.Request) -> web.StreamResponse:
        """Everything Engine.IO asks, over either transport."""
        transport, sid = request.query.get("transport", "polling"), request.query.get("sid", "")
        if transport not in self.chat.settings.transports:
            allowed = " and ".join(self.chat.settings.transports)
            raise ChatError("bad_request", f"the transport here is {allowed}, not {transport[:20]}")
        if sid and not engine.alive(self.sio, sid):
            raise ChatError("unknown_session", "no such connection here; open a new one")
        if request.method == "POST" or transport != "polling":
            return await self._handle(request)
        self._hear(sid)
        try:
            return await self._handle(request)
        finally:
            self._hear(sid)
            if engine.alive(self.sio, sid):
                wait_s = self.chat.settings.timeout_s
                loop = asyncio.get_running_loop()
                self._silent[sid] = loop.call_later(wait_s, self._lose, sid)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        response: web.StreamResponse = await self.sio.handle_request(request)
        if isinstance(response, web.Response) and response.status == 400:
            raise ChatError("bad_request", f"not understood: {response.text}")
        return response

    def _hear(self, sid: str) -> None:
        if silent := self._silent.pop(sid, None):
            silent.cancel()

    def _lose(self, sid: str) -> None:
        # Engine.IO itself would wait for a pong; who does not poll cannot send one.
        del self._silent[sid]
        session = self.sio.eio.sockets.get(sid)
        if session and not session.upgraded and not session.upgrading:
            reason = self.sio.reason.PING_TIMEOUT
            ending = session.close(wait=False, abort=True, reason=reason)
            self._losing = asyncio.get_running_loop().create_task(ending)

    async def client(self, _: web.Request) -> web.StreamResponse:
        """The official client, where the lesson's page looks for it."""
        try:
            asset = read(VENDOR / "socket.io.js")
        except OSError:
            raise ChatError(
                "bad_request",
                "the official client is missing: install the project again with npm in reach, "
                "or put socket.io.min.js of the npm package socket.io-client at "
                "labs/web/vendor/socket.io.js",
            ) from None
        return web.Response(body=asset.body, headers=asset.headers)

    async def elsewhere(self, request: web.Request) -> web.StreamResponse:
        """Engine.IO asked for on another path."""
        if "EIO" not in request.query:
            raise web.HTTPNotFound
        path = self.chat.settings.path
        raise ChatError("bad_request", f"Socket.IO is at {path} here; give the client that path")

    async def close(self) -> None:
        """Tell everyone to return, those who have not joined too."""
        stopping = ChatError("shutting_down", "the server is stopping; come back in a moment")
        pipes = [conversation.pipe for conversation in self._conversations.values()]
        for pipe in pipes:
            pipe.close(stopping)
        await asyncio.gather(*(pipe.ending for pipe in pipes if pipe.ending))
        await self.sio.shutdown()


@asynccontextmanager
async def serve(chat: Chat, host: str, port: int) -> AsyncIterator[str]:
    """Serve the chat over Socket.IO; yields the URL."""
    server, path = Server(chat), chat.settings.path.rstrip("/")
    drain_s = chat.settings.drain_s / 2  # the first half is for everyone to be told
    routes = [
        web.get(f"{path}/socket.io.js", server.client),
        web.get(f"{path}/", server.requests, allow_head=False),
        web.post(f"{path}/", server.requests),
        web.get("/{elsewhere:.+}/", server.elsewhere),
    ]
    pages = Pages(__file__, chat.settings)
    async with serving(chat, routes, pages, host, port, drain_s) as url:
        try:
            yield url
        finally:
            chat.close()
            await server.close()
