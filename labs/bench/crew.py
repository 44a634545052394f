"""What several runs share: their generators, and the moments at which they begin together."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType

from labs.wire.control import Child, child


class Crew:
    """The generators of one run after another, while inside; new ones after a run that failed.

    What one does in the middle of a run that failed nobody knows.
    """

    def __init__(self, number: int, prefix: Sequence[str] = ()) -> None:
        self._number, self._prefix = number, prefix
        self._stack = AsyncExitStack()
        self._loads: list[Child] = []

    async def __aenter__(self) -> Crew:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def ready(self) -> list[Child]:
        """The generators, which are free."""
        while len(self._loads) < self._number:
            load = child("the generator", "labs.bench.load", prefix=self._prefix)
            self._loads.append(await self._stack.enter_async_context(load))
        return self._loads

    def dismiss(self) -> None:
        """A run has failed: take others for the next one."""
        for load in self._loads:
            load.kill()
        self._loads = []


class Gate:
    """Opens when everyone who is awaited has come, or has been excused."""

    def __init__(self, awaited: Iterable[Hashable]) -> None:
        self._awaited = set(awaited)
        self._come = 0
        self._open = asyncio.Event()

    async def wait(self, who: Hashable) -> int:
        """Come, and wait for the others; answers how many came before."""
        place, self._come = self._come, self._come + 1
        self.excuse(who)
        await self._open.wait()
        return place

    def excuse(self, who: Hashable) -> None:
        """Nobody need wait for this one (any more)."""
        self._awaited.discard(who)
        if not self._awaited:
            self._open.set()
