"""Waiting for something to have happened: for the event itself, never for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE_S = 20.0
"""When a test that still waits has failed. No test depends on it otherwise."""


def patience() -> asyncio.Timeout:
    """A context that gives up in the end."""
    return asyncio.timeout(PATIENCE_S)


class News:
    """Something that happens now and then, and those who wait for it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        """It has happened."""
        self._event.set()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is true that only this could make true."""
        async with patience():
            while not true():
                self._event.clear()
                await self._event.wait()


async def until(true: Callable[[], bool]) -> None:
    """Wait until something is true of which nobody tells us, such as a server's inside."""
    async with patience():
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
