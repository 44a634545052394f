"""Short and long polling, light."""

from __future__ import annotations

import asyncio
import math
from heapq import heappop, heappush, heapreplace
from itertools import count
from time import monotonic
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from labs.bench.light.commands import Asking
from labs.chat import Joined

LEAST_S = 0.001  # of a wait: shorter ones an event loop may take for none, and spin


class Moments:
    """Calls every poller of an event loop at its moments, by one timer.

    A timer for each poll would cost more than the poll.
    """

    _each: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, Moments]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Polling]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def here(cls) -> Moments:
        """Those of the running loop."""
        return cls._each.setdefault(asyncio.get_running_loop(), cls())

    def add(self, moment_s: float, poller: Polling) -> None:
        """Call its `tick` at a moment of the monotonic clock, and at those that answers."""
        heappush(self._heap, (moment_s, next(self._numbers), poller))
        if self._heap[0][2] is poller:
            self._wait()

    def _due(self) -> None:
        heap, now_s = self._heap, monotonic()
        while heap and heap[0][0] <= now_s:
            moment_s, number, poller = heap[0]
            next_s = poller.tick(moment_s, now_s)
            if next_s is None:
                heappop(heap)
            else:
                heapreplace(heap, (next_s, number, poller))
        self._wait()

    def _wait(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None
        if self._heap:
            wait_s = max(LEAST_S, self._heap[0][0] - monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._due)


class Polling(Asking):
    """Asks at `phase` of every interval of the monotonic clock, so that it never drifts.

    A poll that is open at the next moment is not overlapped: that moment is `missed`, and so
    are those for which this process came too late. Only who comes back asks at once.
    """

    _first: asyncio.Future[None] | None = None

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._next_s: float | None = None
        self._round = 0

    async def _follow(self) -> None:
        self._round = math.floor(monotonic() / self.settings.interval_s - self._phase) + 1
        self._next_s = (self._round + self._phase) * self.settings.interval_s
        Moments.here().add(self._next_s, self)

    async def _follow_again(self) -> None:
        self._first = self.step()
        self._ask()
        await self._first
        await self._follow()

    def failed(self, error: Exception) -> None:
        """A poll has no answer."""
        if self._first and not self._first.done():
            self._asking = False
            self._first.set_exception(error)
        else:
            super().failed(error)

    def _again(self) -> None:
        if self._first and not self._first.done():
            self._first.set_result(None)

    def tick(self, moment_s: float, now_s: float) -> float | None:
        """A moment has come: ask; answers the next one, None when there is none."""
        if moment_s != self._next_s:
            return None  # of an earlier life
        if self._asking:
            self.missed += 1
        else:
            self._ask()
        interval_s = self.settings.interval_s
        # Counted in intervals: a sum of many would drift after all.
        self._round += 1
        next_s = (self._round + self._phase) * interval_s
        if next_s <= now_s:
            passed = math.floor((now_s - next_s) / interval_s) + 1
            self.missed += passed
            self._round += passed
            next_s = (self._round + self._phase) * interval_s
        self._next_s = next_s
        return next_s

    def _quit(self) -> None:
        super()._quit()
        self._next_s = None


class LongPolling(Asking):
    """Asks again as soon as it has its answer, which the server may hold for `quiet_s`."""

    async def _follow(self) -> None:
        assert self._joined
        self.hold_s = self._joined.quiet_s
        await self.pool.ready()
        self._ask()

    async def _return(self) -> Joined:
        # A poll that is held proves nothing until something is said; a join is answered at once.
        return await self._enter(self._rejoin())

    def _again(self) -> None:
        self._ask()
