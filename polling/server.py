"""HTTP polling: the client asks every interval_s, the server answers at once.

Up:         POST /newUserConnect, POST /sendMessage, POST /disconnect
Down:       GET /updateMessage?session=...&since=..., 204 when there is nothing
Resume:     `since` in every request: the client holds the cursor
Heartbeat:  the polling itself; a session is gone lease_s after its last request
Spec:       RFC 6202 section 2 (short polling), RFC 9110
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from aiohttp import web

from labs.chat import Batch, Chat, Join, Leave, Position, Talk
from labs.chat.messages import encode_batch
from labs.pages import Pages
from labs.serving import answer, read, serving


def frame(batch: Batch) -> bytes:
    """One HTTP response body."""
    return encode_batch(batch)


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
        """A person asks what is new: whatever there is, now."""
        session = self.chat.session(request.query.get("session"))
        since = Position.parse(request.query.get("since", ""))
        session.touch()
        session.charge()
        batch = session.room.read(since)
        if not batch.messages:
            return web.Response(status=204, headers={"Cache-Control": "no-store"})
        return web.json_response(body=frame(batch), headers={"Cache-Control": "no-store"})


def serve(chat: Chat, host: str, port: int) -> AbstractAsyncContextManager[str]:
    """Serve the chat over HTTP polling; yields the URL."""
    server = Server(chat)
    routes = [
        web.post("/newUserConnect", server.new_user_connect),
        web.post("/sendMessage", server.send_message),
        web.post("/disconnect", server.disconnect),
        web.get("/updateMessage", server.update_message, allow_head=False),
    ]
    return serving(chat, routes, Pages(__file__, chat.settings), host, port)
