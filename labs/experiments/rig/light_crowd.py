"""A small crowd behind a tap, and one who speaks past it: what only receiving costs, exactly.

The light clients of the generator, here with any head and at known moments. Who speaks is not
behind the tap, so that all it counts is what it takes to hear; nobody speaks before everyone has
heard the last word, so that no answer holds two.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from math import ceil
from time import monotonic

import msgspec

from labs.bench.heads import Profile
from labs.bench.light import Light, light
from labs.bench.prediction.requests import Requests
from labs.bench.prediction.tally import Scene, Tally
from labs.bench.prediction.whole import HOST
from labs.errors import LabError
from labs.lab import Served
from labs.settings import Settings
from labs.variants import Client
from labs.wire.traffic import Segments

HEARD_S = 15.0  # a word that is not everywhere after so long will not come
SETTLE_S = 0.1  # until the next held poll has passed the tap
EARLIEST, LATEST = 0.3, 0.7  # of an interval: no poll is near its ends, where the tap is read
COOKIE = "Cookie: \r\n"


def word(index: int, size: int = 0) -> str:
    """The words: a number to know it by, filled up to so many bytes."""
    return f"#{index}".ljust(size, ".")


class Ears:
    """Where the clients report to."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heard: defaultdict[int, set[int]] = defaultdict(set)
        self._everywhere: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)

    def arrived(self, client: int, index: int, offset: int, at_ns: int) -> None:
        """A client heard a word."""
        self._heard[index].add(client)
        if len(self._heard[index]) == self._size:
            self._everywhere[index].set()

    def foreign(self, client: int) -> None:
        """Nobody here says what has no number."""

    def broke(self, client: int, at_ns: int) -> None:
        """A client that hears no more is missed by the next word."""

    async def everyone(self, index: int) -> None:
        """Wait until everyone has heard a word; raises `LabError`."""
        try:
            await asyncio.wait_for(self._everywhere[index].wait(), HEARD_S)
        except TimeoutError:
            heard = f"{len(self._heard[index])} of {self._size}"
            raise LabError(f"only {heard} clients heard word {index}; nothing is told") from None


@dataclass
class Crowd:
    """Clients behind the tap, all of whom have heard word 0; `speaker` is past it."""

    server: Served
    clients: list[Light]
    speaker: Client
    ears: Ears
    word_bytes: int = 0
    _said: int = field(default=1)

    async def say(self) -> None:
        """Say the next word, and wait until everyone has heard it."""
        index, self._said = self._said, self._said + 1
        await self.speaker.send(word(index, self.word_bytes))
        await self.ears.everyone(index)

    async def boundary(self, later_s: float = 0.0) -> None:
        """Wait until a whole interval of the clock begins, so much later; nobody asks then.

        The one nearest to `later_s` from now, but the next one if that is 0.
        """
        interval_s = self.server.settings.interval_s
        now = monotonic() / interval_s
        whole = round(now + later_s / interval_s) if later_s else ceil(now)
        await asyncio.sleep(whole * interval_s - monotonic())

    async def segments(self) -> Segments:
        """What TCP has cost up to now, between the clients and the tap."""
        found = await self.server.tap.ask({"account": [["all", None]]})
        return msgspec.convert(found["segments"], Segments)


@asynccontextmanager
async def crowd(
    server: Served, size: int, profile: Profile, word_bytes: int = 0
) -> AsyncIterator[Crowd]:
    """So many light clients with these heads, while inside, and how long the words are.

    Raises `LabError`.
    """
    kind = light(server.variant)
    assert kind, "every variant of ours has a light client"
    ears = Ears(size)
    clients = [
        kind(place, server.url, server.settings, profile, ears, phase=_phase(place, size))
        for place in range(size)
    ]
    speaker = server.variant.client(server.direct_url, server.settings)
    try:
        await asyncio.gather(*(one.connect(f"c{place:02}") for place, one in enumerate(clients)))
        await speaker.connect("speaker")
        await speaker.send(word(0))
        await ears.everyone(0)
        await asyncio.sleep(SETTLE_S)
        yield Crowd(server, clients, speaker, ears, word_bytes)
    finally:
        await asyncio.gather(*(one.close() for one in clients), speaker.close())


def padded(profile: Profile, more: int) -> Profile:
    """The same client with polls so many bytes longer, by a cookie. Raises `ValueError`."""
    if more <= len(COOKIE):
        raise ValueError(f"a cookie takes more than {len(COOKIE)} bytes, so not {more}")
    line = COOKIE.replace("\r", "c" * (more - len(COOKIE)) + "\r")
    heads = {**profile.heads, "poll": profile.heads["poll"] + line}
    return replace(profile, name=f"{profile.name} and {more} B", heads=heads)


def scene(profile: Profile) -> Scene:
    """What the parts of a prediction rest on, for this client."""
    return Scene(profile, HOST, Settings(), 0.0, 0.0)


def requests(profile: Profile) -> Requests:
    """What the requests of this client weigh, and their answers."""
    return Requests(scene(profile))


def heads(tally: Tally) -> float:
    """The bytes of HTTP heads in a tally, both ways."""
    return sum(size for cell, size in tally.cells.items() if "/http_head/" in cell)


def _phase(place: int, size: int) -> float:
    return EARLIEST + (LATEST - EARLIEST) * place / size
