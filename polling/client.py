"""HTTP polling, the client's side: ask, take what there is, sleep the rest of the interval."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from time import monotonic

import aiohttp
import msgspec

from labs.chat import Accepted, Join, Joined, Leave, Message, Talk
from labs.chat.messages import encode_command
from labs.errors import ChatError
from labs.http import BROKEN, checked
from labs.inbox import Backoff, Inbox, new_key
from labs.settings import Settings


class Client:
    """A chat client over HTTP polling; `labs.variants.Client` says what its members do."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.state = "closed"
        self._url = url.rstrip("/")
        self._settings = settings
        self._inbox = Inbox()
        self._joining = asyncio.Lock()
        self._joined: Joined | None = None
        self._forgotten = False
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self, name: str, since: int | str | None = None) -> Joined:
        """Join, then poll until closed."""
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s)
        self._http = aiohttp.ClientSession(timeout=timeout)
        self.state = "connecting"
        try:
            joined = await self._join(Join(name, since, room=self._settings.room))
        except BaseException as error:
            await self.close()
            if isinstance(error, BROKEN):
                raise ConnectionError(f"no chat answers at {self._url}: {error}") from error
            raise
        self._tasks.append(asyncio.create_task(self._follow()))
        return joined

    async def send(self, text: str, key: str | None = None) -> int:
        """POST it; when the outcome is unknown, POST it again with the same key."""
        key, backoff = key or new_key(), Backoff()
        while True:
            try:
                joined = await self._entered()
                body = await self._post("/sendMessage", Talk(text, key, joined.session))
                return msgspec.json.decode(body, type=Accepted).offset
            except (ChatError, *BROKEN) as error:
                self._note(error)
                await backoff.after(error)

    def messages(self) -> AsyncIterator[Message]:
        """What the polls bring."""
        return self._inbox.messages()

    async def close(self) -> None:
        """Leave, and stop polling."""
        # Whom the server has ended has nothing to leave: the session may be another's by now.
        leave = Leave(self._joined.session) if self._joined and self.state != "closed" else None
        self.state = "closed"
        for task in self._tasks:
            task.cancel()
        if leave:
            with suppress(ChatError, *BROKEN):
                await self._post("/disconnect", leave)
        await self._http.close()
        self._inbox.end()

    async def _follow(self) -> None:
        backoff, interval_s = Backoff(), self._settings.interval_s
        try:
            # All clients of one server must not ask in step.
            await asyncio.sleep(random.uniform(0, interval_s))
            while True:
                asked_s = monotonic()
                try:
                    await self._inbox.put(await self._ask(await self._entered()))
                    backoff.reset()
                    self.state = "open"
                except (ChatError, *BROKEN) as error:
                    self.state = "reconnecting"
                    self._note(error)
                    await backoff.after(error)
                await asyncio.sleep(asked_s + interval_s - monotonic())
        except ChatError as error:
            self.state = "closed"
            self._inbox.end(error)

    async def _ask(self, joined: Joined) -> list[Message]:
        query = {"session": joined.session, "since": self._inbox.position}
        async with self._http.get(self._url + "/updateMessage", params=query) as response:
            body = await checked(response)
        return msgspec.json.decode(body, type=list[Message]) if body else []

    async def _post(self, path: str, command: Join | Talk | Leave) -> bytes:
        body = encode_command(command, self._settings)
        headers = {"Content-Type": "application/json"}
        async with self._http.post(self._url + path, data=body, headers=headers) as response:
            return await checked(response)

    async def _join(self, command: Join) -> Joined:
        body = await self._post("/newUserConnect", command)
        self._joined = msgspec.json.decode(body, type=Joined)
        self._forgotten = False
        self._inbox.start(self._joined)
        self.state = "open"
        return self._joined

    async def _entered(self) -> Joined:
        """The join that holds: a new one, at our place, if the server has forgotten us."""
        async with self._joining:
            assert self._joined, "connect() comes first"
            self._inbox.check_open()
            if self._forgotten:
                old = self._joined
                await self._join(Join(old.name, self._inbox.position, old.session, old.room))
            return self._joined

    def _note(self, error: Exception) -> None:
        if isinstance(error, ChatError) and error.code == "unknown_session":
            self._forgotten = True
