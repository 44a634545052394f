"""What the tests of the light clients need: a sink that can be waited for, and a crowd of two."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from labs.bench import heads
from labs.bench.light import Light, light
from labs.settings import Settings
from labs.variants import VARIANTS, Variant, load
from tests.contract.waiting import News, patience

QUICK = Settings(
    interval_s=0.03,
    hold_s=1.0,
    heartbeat_s=1.0,
    timeout_s=5.0,
    lease_s=30.0,
    rate_per_s=1e6,
    rate_burst=1_000_000,
    drain_s=0.3,
)

EVERY = [name for name in VARIANTS if light(load(name)) and not load(name).settings().compress]
"""Every variant for which a crowd takes light clients: they offer no compression."""


class Notes:
    """A sink that keeps everything: (client, index, offset) of what arrived."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int]] = []
        self.at_ns: list[int] = []
        self.foreigners: list[int] = []
        self.broken: list[int] = []
        self._news = News()

    def arrived(self, client: int, index: int, offset: int, at_ns: int) -> None:
        self.seen.append((client, index, offset))
        self.at_ns.append(at_ns)
        self._news.tell()

    def foreign(self, client: int) -> None:
        self.foreigners.append(client)
        self._news.tell()

    def broke(self, client: int, at_ns: int) -> None:
        self.broken.append(client)
        self._news.tell()

    def of(self, client: int) -> list[tuple[int, int]]:
        """What one client saw: index and offset, in the order in which it came."""
        return [(index, offset) for who, index, offset in self.seen if who == client]

    async def hears(self, client: int, *indexes: int) -> None:
        """Wait until a client has seen these."""
        await self._news.until(lambda: {*indexes} <= {index for index, _ in self.of(client)})

    async def breaks(self, client: int) -> None:
        """Wait until a client has told that it broke."""
        await self._news.until(lambda: client in self.broken)


def made(variant: Variant, url: str, settings: Settings, sink: Any, number: int = 0) -> Light:
    """A light client."""
    kind = light(variant)
    assert kind
    python = heads.find("python")
    return kind(number, url, settings, python, sink, phase=(number * 0.37) % 1)


@asynccontextmanager
async def serving(variant: Variant, **changes: object) -> AsyncIterator[tuple[str, Settings]]:
    """A server of this variant while inside; yields its URL and the settings of both sides."""
    settings = variant.settings(QUICK.but(**changes))
    async with patience(), variant.serve(variant.chat(settings), "127.0.0.1", 0) as url:
        yield url, settings
