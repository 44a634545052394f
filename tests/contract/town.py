"""A chat of one variant as a test needs it: a server, the people in it, the lines to it."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from urllib.parse import urlsplit

from labs.chat import Chat, Joined, Message, Session
from labs.errors import ChatError
from labs.settings import Settings
from labs.variants import VARIANTS, Variant, load
from tests.contract.line import NARROW_BYTES, Line
from tests.contract.raw import Raw, raw
from tests.contract.waiting import News, patience

QUICK = Settings(
    retention=5_000,
    lease_s=0.5,  # by a clock that stands still: see `Clock`
    interval_s=0.03,
    hold_s=1.0,
    heartbeat_s=1.0,
    timeout_s=5.0,
    rate_per_s=1e6,
    rate_burst=1_000_000,
    drain_s=0.3,
)
"""Short times where something happens at their end, generous limits; tests change single ones."""


class Clock:
    """The time by which leases and rates run: it stands still until a test moves it."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Server:
    """A server that can stop, and start again with an empty chat, as after a crash."""

    def __init__(self, variant: Variant, settings: Settings, clock: Clock | None) -> None:
        self.variant, self.clock = variant, clock
        self.settings = variant.settings(settings)
        self.url = ""
        self._running = AsyncExitStack()

    async def start(self) -> None:
        """Serve a new chat, at a port the system chooses."""
        quiet_s = self.variant.quiet_s(self.settings)
        self.chat = (
            Chat(self.settings, quiet_s, self.clock)
            if self.clock
            else self.variant.chat(self.settings)
        )
        served = self.variant.serve(self.chat, "127.0.0.1", 0)
        self.url = await self._running.enter_async_context(served)

    async def stop(self) -> None:
        """Shut down, as at Ctrl-C."""
        await self._running.aclose()

    def session(self, joined: Joined) -> Session:
        """The server's side of somebody."""
        return self.chat.session(joined.session)

    def connections(self) -> list[asyncio.Transport]:
        """Its side of every connection."""
        port = urlsplit(self.url).port
        transports = [one for one in gc.get_objects() if issubclass(type(one), asyncio.Transport)]
        # Pipes to processes are transports too, and have no address.
        return [
            one
            for one in transports
            if not one.is_closing() and (one.get_extra_info("sockname") or ("", 0))[1] == port
        ]

    def buffered_bytes(self) -> int:
        """What it has written and no kernel has taken."""
        return sum(one.get_write_buffer_size() for one in self.connections())

    def narrow(self, line: Line) -> None:
        """Let its kernel take little that the line does not, which is several MB otherwise."""
        for one in self.connections():
            if one.get_extra_info("peername")[1] in line.ports:
                one.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_SNDBUF, NARROW_BYTES
                )

    def said(self, joined: Joined) -> list[Message]:
        """The log of somebody's room."""
        return self.session(joined).room.log.read(0).messages


class Person:
    """Somebody at one of our clients, and everything that came down."""

    def __init__(self, variant: Variant, url: str, settings: Settings, name: str) -> None:
        self.name = name
        self.client = variant.client(url, settings)
        self.seen: list[Message] = []
        self.error: ChatError | None = None
        self.ended = False
        self._news = News()
        self._reading: asyncio.Task[None] | None = None

    async def join(self, since: int | str | None = None, reading: bool = True) -> Joined:
        """Connect, and read from then on."""
        async with patience():
            self.joined = await self.client.connect(self.name, since)
        if reading:
            self.read()
        return self.joined

    def read(self) -> None:
        """Begin to read."""
        self._reading = asyncio.create_task(self._read())

    async def say(self, text: str, key: str | None = None) -> int:
        """Send a message; answers its offset."""
        async with patience():
            return await self.client.send(text, key)

    async def leave(self) -> None:
        """Close the client, and read what is left."""
        async with patience():
            await self.client.close()
            if self._reading:
                await self._reading

    async def hears(self, *texts: str) -> None:
        """Wait until all of these have been said."""
        await self._news.until(lambda: set(texts) <= {one.text for one in self.seen})

    async def notices(self, kind: str, name: str, times: int = 1) -> None:
        """Wait until somebody has been announced so often."""
        await self._news.until(lambda: self.count(kind, name) >= times)

    async def at(self, offset: int) -> None:
        """Wait until everything up to this offset has come down."""
        await self._news.until(lambda: bool(self.seen) and self.seen[-1].offset >= offset)

    async def told(self) -> str:
        """Wait until the server has ended it for good; answers the code."""
        await self._news.until(lambda: self.ended)
        return self.error.code if self.error else ""

    def count(self, kind: str, name: str) -> int:
        """How often somebody was announced."""
        return sum(one.kind == kind and one.name == name for one in self.seen)

    @property
    def texts(self) -> list[str]:
        """What was said, in the order it came down."""
        return [one.text for one in self.seen if one.kind == "talk"]

    async def _read(self) -> None:
        try:
            async for message in self.client.messages():
                self.seen.append(message)
                self._news.tell()
        except ChatError as error:
            self.error = error
        self.ended = True
        self._news.tell()


class Town:
    """The chat of one test."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.clock = Clock()
        self.people: list[Person] = []
        self._lines: list[Line] = []
        self._raws = AsyncExitStack()

    async def open(self, settings: Settings = QUICK, clock: bool = True, **changes: object) -> None:
        """Serve a chat; `clock` False lets leases run by the real time."""
        self.server = Server(self.variant, settings.but(**changes), self.clock if clock else None)
        self.settings = self.server.settings
        await self.server.start()

    async def line(self, narrow: bool = False) -> Line:
        """A line to the server."""
        line = Line(self.server.url, narrow)
        await line.start()
        self._lines.append(line)
        return line

    def stranger(self, name: str, line: Line | None = None, **changes: object) -> Person:
        """Somebody who has not joined yet; patient, unless the test says otherwise."""
        url = line.url if line else self.server.url
        timeout_s = max(self.settings.timeout_s, QUICK.timeout_s)
        settings = self.settings.but(**{"timeout_s": timeout_s, **changes})
        return Person(self.variant, url, settings, name)

    async def person(
        self,
        name: str,
        line: Line | None = None,
        since: int | str | None = None,
        **changes: object,
    ) -> Person:
        """Somebody who has joined; `changes` are to the settings of this client."""
        person = self.stranger(name, line, **changes)
        await person.join(since)
        self.people.append(person)
        return person

    async def raw(self, line: Line | None = None) -> Raw:
        """A client that does what a test tells it, no more."""
        client = raw(self.variant, line.url if line else self.server.url, self.settings)
        async with patience():
            await client.open()
        self._raws.push_async_callback(client.close)
        return client

    async def close(self) -> None:
        """Everybody goes, then the server; nobody has seen a hole or a repetition (S1.1)."""
        for line in self._lines:
            line.refuse()
        await self._raws.aclose()
        # Servers that know who is gone do not spend `drain_s` on telling them.
        await asyncio.sleep(0.005)
        for person in self.people:
            await person.leave()
        await self.server.stop()
        # Last of all: asyncio leaks a connection that comes in while a server closes.
        for line in self._lines:
            await line.stop()
        for person in self.people:
            assert_in_order(person.seen)


def assert_in_order(seen: Sequence[Message]) -> None:
    """Offsets follow one another; only a gap may lead elsewhere."""
    for before, after in pairwise(seen):
        if after.kind != "gap":
            assert after.offset == before.offset + 1, f"{before} and then {after}"


@asynccontextmanager
async def founded(variant: Variant) -> AsyncIterator[Town]:
    """A town, and its end."""
    town = Town(variant)
    try:
        yield town
    finally:
        await town.close()


async def everywhere(scenario: Callable[[Town], Awaitable[None]]) -> None:
    """Play a scenario on every variant at once: for those in which most of the time is waiting."""
    async with asyncio.TaskGroup() as group:
        for name in VARIANTS:
            group.create_task(_play(load(name), scenario))


async def _play(variant: Variant, scenario: Callable[[Town], Awaitable[None]]) -> None:
    try:
        async with founded(variant) as town:
            await scenario(town)
    except Exception as error:
        error.add_note(f"over {variant.name}")
        raise
