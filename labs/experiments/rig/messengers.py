"""Installed messengers beside those in a tab: how they are started, watched and told apart."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import NamedTuple

from labs import lab
from labs.errors import LabError
from labs.pages import Pages
from labs.settings import Settings
from labs.variants import Client, Variant
from labs.wire.dissect import dissect
from labs.wire.ledger import by_connection
from labs.wire.recording import Event, Recording

PATIENCE_S = 15.0  # how long somebody may take to come or go


class Watch:
    """Somebody in the room who writes down who comes and goes, and when."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._moments_s: dict[tuple[str, str], float] = {}
        self._news = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Join the room."""
        await self._client.connect("watch")
        self._reading = asyncio.create_task(self._read())

    async def say(self, text: str) -> int:
        """Say something; answers its offset."""
        return await self._client.send(text)

    async def saw(self, kind: str, name: str) -> float:
        """Wait for somebody's `join` or `leave`; answers when it was seen, on our clock.

        Raises `LabError` when it does not happen.
        """
        end_s = monotonic() + PATIENCE_S
        while (kind, name) not in self._moments_s:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), end_s - monotonic())
            except TimeoutError:
                raise LabError(f"{name} was not seen to {kind} in {PATIENCE_S:g} s") from None
        return self._moments_s[kind, name]

    async def stop(self) -> None:
        """Leave it."""
        await self._client.close()
        if self._reading:
            await self._reading

    async def _read(self) -> None:
        async for message in self._client.messages():
            self._moments_s[message.kind, message.name] = monotonic()
            self._news.set()


@asynccontextmanager
async def watching(server: lab.Served) -> AsyncIterator[Watch]:
    """A watch while inside; past the tap, so that it is in no count."""
    watch = Watch(server.variant.client(server.direct_url, server.settings))
    await watch.start()
    try:
        yield watch
    finally:
        await watch.stop()


class Terminal:
    """The installed messenger, `labs chat`, as a process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def close(self) -> None:
        """End it as a person does: no more lines."""
        assert self._process.stdin
        self._process.stdin.close()
        await self._process.wait()

    def kill(self) -> None:
        """End its process at once."""
        with suppress(ProcessLookupError):
            self._process.kill()


@asynccontextmanager
async def terminal(server: lab.Served, name: str) -> AsyncIterator[Terminal]:
    """Somebody who chats in a terminal; gone with the context at the latest."""
    told = ("--url", server.url, "--name", name, "--interval", f"{server.settings.interval_s:g}")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "labs", "chat", server.variant.name, *told),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    one = Terminal(process)
    try:
        yield one
    finally:
        if process.returncode is None:
            one.kill()
        await process.wait()


class Pulse(NamedTuple):
    """The pings of one WebSocket, and how long it was open, in seconds."""

    browser: bool
    open_s: float
    pings_up: int
    pings_down: int
    pongs_up: int


def pulses(recording: Recording) -> list[Pulse]:
    """The pings of every WebSocket in a recording, counted as frames."""
    each = (_pulse(events) for events in by_connection(recording.events).values())
    return [pulse for pulse in each if pulse]


def _pulse(events: list[Event]) -> Pulse | None:
    pieces = dissect(events)
    notes = [(each.direction, each.note) for each in pieces if each.kind == "frame"]
    if not notes:
        return None
    count = {
        (way, kind): sum(way == one and note.startswith(f"{kind} frame") for one, note in notes)
        for way in ("up", "down")
        for kind in ("ping", "pong")
    }
    return Pulse(
        browser=b"\r\nOrigin:" in pieces[0].said,  # which only browsers must send
        open_s=(events[-1].at_ns - events[0].at_ns) / 1e9,
        pings_up=count["up", "ping"],
        pings_down=count["down", "ping"],
        pongs_up=count["up", "pong"],
    )


async def returned(server: lab.Served, place: str, last: str) -> list[str]:
    """What a program hears that returns to the place it has written down, up to a `last` word."""
    program = server.variant.client(server.direct_url, server.settings)
    await program.connect("program", since=place)
    heard = list[str]()
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for message in program.messages():
                heard.append(message.text)
                if message.text == last:
                    break
    except TimeoutError:
        raise LabError(f"{last!r} did not come within {PATIENCE_S:g} s") from None
    finally:
        await program.close()
    return heard


async def polls(server: lab.Served, window_s: float) -> float:
    """Requests a second in a window of so many seconds from now on, at the tap."""
    await server.traffic()
    await asyncio.sleep(window_s)
    return (await server.traffic()).requests / window_s


def beacons(recording: Recording) -> int:
    """How many requests of browsers said `disconnect`."""
    return sum(
        piece.said.startswith(b"POST /disconnect") and b"\r\nOrigin:" in piece.said
        for events in by_connection(recording.events).values()
        for piece in dissect(events)
    )


def pings(beating: Sequence[Pulse], browser: bool, heartbeat_s: float) -> float:
    """Pings up for each heartbeat, of the browser or of the other client."""
    return sum(
        pulse.pings_up * heartbeat_s / pulse.open_s for pulse in beating if pulse.browser is browser
    )


def pongs(beating: Sequence[Pulse]) -> float:
    """How many of the server's pings the browser answered, as a share."""
    return sum(pulse.pongs_up / max(1, pulse.pings_down) for pulse in beating if pulse.browser)


def page_files(variant: Variant, settings: Settings) -> dict[str, int]:
    """The sizes of the page and of all files that it names, and those name, by path."""
    pages = Pages(str(variant.folder / "server.py"), settings)
    sizes, waiting = dict[str, int](), ["/"]
    while waiting:
        path = waiting.pop()
        asset = pages.find(path)
        if asset and path not in sizes:
            sizes[path] = len(asset.body)
            waiting += re.findall(r'"(/[\w./-]+)"', asset.body.decode())
    return sizes
