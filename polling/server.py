"""HTTP polling: the client asks every interval_s, the server answers at once.

Up:         POST /newUserConnect, POST /sendMessage, POST /disconnect
Down:       GET /updateMessage?session=...&since=..., 204 when there is nothing
Resume:     `since` in every request: the client holds the cursor
Heartbeat:  the polling itself; a session is gone lease_s after its last request
Spec:       RFC 6202 section 2 (short polling), RFC 9110
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from labs.chat import Batch, Chat, Join, Leave, Position, Session, Talk
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
        self._owed: set[Session] = set()
        self._settled = asyncio.Event()

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
        session = self.chat.find(request.query.get("session"))
        since = Position.parse(request.query.get("since", ""))
        session.touch()
        session.charge()
        batch = session.room.read(since)
        self._settle(session)
        if not batch.messages:
            self.chat.check_open()
            return web.Response(status=204, headers={"Cache-Control": "no-store"})
        return web.json_response(body=frame(batch), headers={"Cache-Control": "no-store"})

    async def farewell(self) -> None:
        """Stop, once everyone has asked for what is left, or has had the time to."""
        self.chat.close()
        self._owed = set(self.chat.present())
        if self._owed:
            settings = self.chat.settings
            with suppress(TimeoutError):
                async with asyncio.timeout(min(settings.drain_s, 2 * settings.interval_s)):
                    await self._settled.wait()

    def _settle(self, session: Session) -> None:
        self._owed.discard(session)
        if self.chat.closing and not self._owed:
            self._settled.set()


@asynccontextmanager
async def serve(chat: Chat, host: str, port: int) -> AsyncIterator[str]:
    """Serve the chat over HTTP polling; yields the URL."""
    server = Server(chat)
    routes = [
        web.post("/newUserConnect", server.new_user_connect),
        web.post("/sendMessage", server.send_message),
        web.post("/disconnect", server.disconnect),
        web.get("/updateMessage", server.update_message, allow_head=False),
    ]
    async with serving(chat, routes, Pages(__file__, chat.settings), host, port) as url:
        try:
            yield url
        finally:
            await server.farewell()
