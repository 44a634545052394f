"""HTTP long polling: the client asks, the server answers when there is something to say.

Up:         POST /newUserConnect, POST /sendMessage, POST /disconnect
Down:       GET /updateMessage?session=...&since=..., held up to hold_s, then 204
Resume:     `since` in every request: the client holds the cursor
Heartbeat:  the end of each poll; a session is gone lease_s after its last one ended
Spec:       RFC 6202 section 2 (long polling), RFC 9110
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from aiohttp import web

from labs.chat import Batch, Chat, Join, Leave, Position, Talk
from labs.chat.messages import encode_batch
from labs.errors import ChatError
from labs.pages import Pages
from labs.serving import answer, read, serving


def frame(batch: Batch) -> bytes:
    """One HTTP response body."""
    return encode_batch(batch)


class Poll:
    """A request that waits: it takes one batch, which is its answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def full(self) -> bool:
        """A poll that has its answer takes no more."""
        return self.answer.done()

    def write(self, data: bytes) -> None:
        """Answer the poll."""
        self.answer.set_result(data)

    async def drain(self) -> None:
        """It never will: the next poll asks for the rest."""
        raise ConnectionError("this poll has its answer")

    def close(self, error: ChatError) -> None:
        """Answer the poll with an error."""
        if not self.answer.done():
            self.answer.set_exception(error)


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

    async def update_message(self, request: web.Request) -> web.Response:
        """A person asks what is new: whatever there is, as soon as there is something."""
        session = self.chat.session(request.query.get("session"))
        since = Position.parse(request.query.get("since", ""))
        poll = Poll()
        with session.room.follow(session, since, frame, poll, limit=None):
            try:
                async with asyncio.timeout(self.chat.settings.hold_s):
                    body = await poll.answer
            except TimeoutError:
                return web.Response(status=204, headers={"Cache-Control": "no-store"})
        return web.json_response(body=body, headers={"Cache-Control": "no-store"})


def serve(chat: Chat, host: str, port: int) -> AbstractAsyncContextManager[str]:
    """Serve the chat over HTTP long polling; yields the URL."""
    server = Server(chat)
    routes = [
        web.post("/newUserConnect", server.new_user_connect),
        web.post("/sendMessage", server.send_message),
        web.post("/disconnect", server.disconnect),
        web.get("/updateMessage", server.update_message, allow_head=False),
    ]
    return serving(chat, routes, Pages(__file__, chat.settings), host, port)
