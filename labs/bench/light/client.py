"""What all light clients have: a place in the log, a name for each failure, and a watch.

A light client parses only what identifies a message. It reports everything that comes, raw,
and does nothing about what goes wrong but say so; who wants a client that mends itself takes
the readable one.
"""

from __future__ import annotations

import asyncio
import re
from itertools import count
from time import monotonic, monotonic_ns
from typing import Any, Protocol

import msgspec

from labs.bench.heads import Profile
from labs.bench.light.http import Address
from labs.chat import Join, Joined, Position
from labs.errors import ChatError
from labs.settings import Settings

BROKEN = (OSError, TimeoutError, ValueError, msgspec.MsgspecError)
"""What may come of talking to a server, besides a `ChatError`."""

_NUMBER = re.compile(r"#([0-9]{1,15})")


class Sink(Protocol):
    """Where a light client reports to. `client` is its number, times are monotonic."""

    def arrived(self, client: int, index: int, offset: int, at_ns: int) -> None:
        """A talk whose text begins with "#index" came; a second time too, if it did."""

    def foreign(self, client: int) -> None:
        """A talk came whose text has no such number."""

    def broke(self, client: int, at_ns: int) -> None:
        """A connection ended, or was found dead, without being asked to."""


class Seen(msgspec.Struct, gc=False):
    """As much of a message as identifies it."""

    offset: int
    kind: str
    text: str = ""


class Known:
    """The last read that was one numbered talk and nothing else.

    A room's clients are all sent the same bytes, so what is equal to it, byte for byte, need
    not be parsed again.
    """

    __slots__ = ("data", "index", "offset")

    def __init__(self) -> None:
        self.data, self.offset, self.index = b"", 0, 0


_decode = msgspec.json.Decoder(list[Seen]).decode


class Base:
    """A light client without its transport. `error` is why it broke.

    `phase` (0 up to 1) is where in the interval a poller asks; `keep_alive` False takes a new
    connection for every HTTP request.
    """

    def __init__(
        self,
        number: int,
        url: str,
        settings: Settings,
        heads: Profile,
        sink: Sink,
        *,
        phase: float,
        keep_alive: bool = True,
    ) -> None:
        self.state = "closed"
        self.position_offset = 0
        self.missed = 0
        self.error: Exception | None = None
        self.number = number
        self.sink = sink
        self.settings = settings
        self._heads, self._phase, self._keep_alive = heads, phase, keep_alive
        self._url, self._address = url.rstrip("/"), Address.of(url)
        self._epoch = ""
        self._joined: Joined | None = None
        self._keys = count(1)
        self._waiting: dict[asyncio.Future[Any], float] = {}
        self._watching: asyncio.TimerHandle | None = None

    async def connect(self, name: str) -> Joined:
        """Open the transport, join, follow. Raises `ChatError`, or `ConnectionError`."""
        self.state = "connecting"
        try:
            return await self._within(self._enter(Join(name, room=self.settings.room)))
        except BaseException:
            self.drop()
            self.state = "closed"
            raise

    async def resume(self) -> Joined:
        """Come back to where it was; raises like `connect`, and may be tried again."""
        assert self._joined, "connect() comes first"
        self.drop()
        try:
            return await self._within(self._return())
        except BaseException:
            if self.state != "closed":
                self.drop()  # an answer that comes after all is for nobody
            raise

    def drop(self) -> None:
        """Abort every connection without a word."""
        self._stop(ConnectionResetError("dropped"))

    async def close(self) -> None:
        """Leave, and free everything."""
        was, self.state = self.state, "closed"
        try:
            if was == "open":
                async with asyncio.timeout(self.settings.timeout_s):
                    await self._leave()
        except (ChatError, *BROKEN) as error:
            self.error = error
        finally:
            self._stop(ConnectionError("this client is closed"))
            self.state = "closed"

    # What a transport adds.

    async def _enter(self, join: Join) -> Joined:
        raise NotImplementedError

    async def _return(self) -> Joined:
        """By a new connection, under the old token, at our place."""
        return await self._enter(self._rejoin())

    async def _leave(self) -> None:
        raise NotImplementedError

    def _abort(self, error: Exception) -> None:
        raise NotImplementedError

    def _check(self, now_s: float) -> None:
        """Look whether the peer has been silent for too long."""

    # What a transport uses.

    def take(self, batch: bytes, at_ns: int) -> tuple[int, int] | None:
        """Report a batch; answers offset and number of the one message it is, if it is that.

        Raises `ValueError` or `MsgspecError` for what is no batch.
        """
        only, found = None, _decode(batch)
        for message in found:
            only = self._saw(message, at_ns)
        return only if len(found) == 1 else None

    def _saw(self, message: Seen, at_ns: int) -> tuple[int, int] | None:
        offset = message.offset
        if message.kind == "gap":
            self._epoch, self.position_offset = message.text, offset
            return None
        if offset > self.position_offset:
            self.position_offset = offset
        return self.heard(message.text, offset, at_ns) if message.kind == "talk" else None

    def heard(self, text: str, offset: int, at_ns: int) -> tuple[int, int] | None:
        """Report a text that somebody said; answers offset and number if it has one."""
        number = _NUMBER.match(text)
        if number is None:
            self.sink.foreign(self.number)
            return None
        index = int(number[1])
        self.sink.arrived(self.number, index, offset, at_ns)
        return offset, index

    def start(self, joined: Joined) -> None:
        """Take the place of the first join; on a later one it stays what it was."""
        if self._joined is None:
            place = Position.parse(joined.since)
            self._epoch, self.position_offset = place.epoch or joined.epoch, place.offset
        self._joined = joined

    def opened(self) -> None:
        """The connection stands: watch it."""
        self.state, self.error = "open", None
        self._watch()

    def ended(self, error: Exception, at_ns: int | None = None) -> None:
        """A connection ended; who waits for an answer gets `error`."""
        unasked = self.state == "open"
        self._stop(error)
        if unasked:
            self.error = error
            self.sink.broke(self.number, at_ns or monotonic_ns())

    def future(self) -> asyncio.Future[Any]:
        """Something to wait for; it fails when the connection does, or after `timeout_s`."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[future] = monotonic() + self.settings.timeout_s
        future.add_done_callback(self._waited)
        return future

    def key(self) -> str:
        """An idempotency key, as long as the readable client's."""
        return f"{next(self._keys):016x}"

    @property
    def position(self) -> str:
        """Where to resume."""
        return f"{self._epoch}:{self.position_offset}"

    def _rejoin(self) -> Join:
        assert self._joined
        return Join(self._joined.name, self.position, self._joined.session, self._joined.room)

    async def _within(self, entering: Any) -> Joined:
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                joined: Joined = await entering
        except BROKEN as error:
            why = str(error) or f"nothing came within {self.settings.timeout_s:g} s"
            raise ConnectionError(f"no chat answers at {self._url}: {why}") from error
        self.opened()
        return joined

    def _stop(self, error: Exception) -> None:
        self.state = "reconnecting" if self._joined else "closed"
        if self._watching:
            self._watching.cancel()
        self._abort(error)
        for future in list(self._waiting):
            if not future.done():
                future.set_exception(error)

    def _waited(self, future: asyncio.Future[Any]) -> None:
        del self._waiting[future]

    def step(self) -> asyncio.Future[Any]:
        """The same for a step of an opening, for which nobody may wait any more."""
        future = self.future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    def _watch(self) -> None:
        # One slow timer a client, and none a message: what is late is found a little later.
        now_s = monotonic()
        for future, until_s in list(self._waiting.items()):
            if until_s > now_s:
                break
            if not future.done():
                future.set_exception(ConnectionError("no answer came in time"))
        self._check(now_s)
        if self.state == "open":
            wait_s = max(0.05, self.settings.timeout_s / 4)
            self._watching = asyncio.get_running_loop().call_later(wait_s, self._watch)
