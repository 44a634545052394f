"""HTTP streaming, the client's side: ask once, read the event stream as it comes."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import NamedTuple

import aiohttp
import msgspec

from labs.chat import Accepted, Join, Joined, Leave, Message, Talk
from labs.chat.messages import encode_command
from labs.errors import ChatError
from labs.http import BROKEN, checked, refused
from labs.inbox import Backoff, Inbox, new_key
from labs.settings import Settings


class Event(NamedTuple):
    """One event of a stream: its `event:` (`message` if it has none), its data, its id."""

    name: str
    data: str
    identity: str


class EventStream:
    """A parser of event streams, fed with bytes however they were cut (WHATWG HTML 9.2.6).

    `retry_ms` is what the server asked a client to wait before it returns.
    """

    def __init__(self) -> None:
        self.retry_ms = 200
        self._text = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line = ""
        self._skip_lf = False
        self._identity = ""
        self._forget()

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that these bytes complete."""
        for line in self._lines(self._text.decode(data)):
            if line:
                self._field(line)
            else:
                yield from self._dispatch()

    def _lines(self, text: str) -> Iterator[str]:
        # CR, LF and CR LF end a line; the two halves of CR LF may come apart.
        if self._skip_lf and text:
            text, self._skip_lf = text.removeprefix("\n"), False
        self._skip_lf = self._skip_lf or text.endswith("\r")
        *lines, self._line = (
            (self._line + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        )
        yield from lines

    def _field(self, line: str) -> None:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self._identity = value
        elif field == "retry" and value.isascii() and value.isdecimal():
            self.retry_ms = int(value)

    def _dispatch(self) -> Iterator[Event]:
        if self._data:
            yield Event(self._name or "message", "\n".join(self._data), self._identity)
        self._forget()

    def _forget(self) -> None:
        self._name = ""
        self._data: list[str] = []


class Client:
    """A chat client over an event stream; `labs.variants.Client` says what its members do."""

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
        """Join, then read the stream until closed."""
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
        """What the events bring."""
        return self._inbox.messages()

    async def close(self) -> None:
        """Leave, and end the stream."""
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
        backoff = Backoff()
        try:
            while True:
                try:
                    await self._ask(await self._entered(), backoff)
                except (ChatError, *BROKEN) as error:
                    self.state = "reconnecting"
                    self._note(error)
                    await backoff.after(error)
        except ChatError as error:
            self.state = "closed"
            self._inbox.end(error)

    async def _ask(self, joined: Joined, backoff: Backoff) -> None:
        query, place = {"session": joined.session}, {"Last-Event-ID": self._inbox.position}
        silence = aiohttp.ClientTimeout(sock_read=joined.quiet_s + self._settings.timeout_s)
        async with self._http.get(
            self._url + "/updateMessage", params=query, headers=place, timeout=silence
        ) as response:
            if not response.ok:
                await checked(response)
            self.state = "open"
            backoff.reset()
            stream = EventStream()
            async for data in response.content.iter_any():
                for event in stream.feed(data):
                    await self._take(event)
                backoff.first_s = stream.retry_ms / 1_000
        raise ConnectionResetError("the stream has ended; ask for the rest")

    async def _take(self, event: Event) -> None:
        if event.name == "updateMessage":
            await self._inbox.put(msgspec.json.decode(event.data, type=list[Message]))
        elif event.name == "error":
            raise refused(event.data)

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
