"""Plays a schedule against a clock, in an open or a closed loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import median
from time import monotonic_ns

from labs.bench.schedule import Tick

SPIN_NS = 1_500_000  # an event loop wakes up to a millisecond late; the rest of the way is spun
IDLE_TURNS = 500  # of the loop, to learn what one takes in which there is nothing to do

Send = Callable[[int, Tick], Awaitable[object]]


class Player:
    """Begins messages at their moments; `begun_ns` is when it did, by their index.

    An *open* loop waits for nothing but the clock. In a *closed* loop each sender waits for the
    answer to its last message, and then `think_s`: it slows down with the server, and what it
    did not send in the meantime, nobody has measured (coordinated omission).
    """

    def __init__(self, ticks: Mapping[int, Tick], start_ns: int, send: Send) -> None:
        self.begun_ns: dict[int, int] = {}
        self.spun_ns = 0.0  # time this process spent on nothing but waiting for a moment
        self._idle_ns = 0.0
        self._counted_ns = 0
        self._ticks, self._start_ns, self._send = ticks, start_ns, send
        self._sends: list[asyncio.Task[None]] = []

    async def calibrate(self) -> None:
        """Learn what a turn of the loop takes when nothing happens."""
        turns_ns = []
        for _ in range(IDLE_TURNS):
            before_ns = monotonic_ns()
            await asyncio.sleep(0)
            turns_ns.append(monotonic_ns() - before_ns)
        self._idle_ns = median(turns_ns)

    async def open_loop(self) -> None:
        """Begin every message at its moment, or as soon after it as this process can."""
        for index, tick in self._ticks.items():
            await self.until(self._start_ns + tick.at_ns)
            self._sends.append(asyncio.create_task(self._begin(index)))
        await asyncio.sleep(0)  # in which the last ones begin

    def closed_loop(self, think_s: float, end_ns: int) -> None:
        """Begin every message at its moment, if its sender has nothing left to wait for.

        None is begun after the end of the window, and none of the warm-up after its start: who has
        not had a turn by then must not take one from the window.
        """
        turns: dict[int, list[int]] = {}
        for index, tick in self._ticks.items():
            turns.setdefault(tick.sender, []).append(index)
        self._sends = [
            asyncio.create_task(self._in_turn(indexes, think_s, end_ns))
            for indexes in turns.values()
        ]

    async def finish(self, within_s: float) -> int:
        """Wait for the answers; how many never came. Raises what a send that failed raised."""
        if not self._sends:
            return 0
        done, waiting = await asyncio.wait(self._sends, timeout=within_s)
        for task in waiting:
            task.cancel()
        for task in done:
            task.result()
        return len(waiting)

    async def until(self, moment_ns: int) -> None:
        """Return at a moment of the monotonic clock, not up to a millisecond later."""
        now_ns = monotonic_ns()
        if moment_ns - now_ns > SPIN_NS:
            await asyncio.sleep((moment_ns - now_ns - SPIN_NS) / 1e9)
            now_ns = monotonic_ns()
        while now_ns < moment_ns:
            before_ns = now_ns
            await asyncio.sleep(0)
            now_ns = monotonic_ns()
            self._spun(before_ns, now_ns)

    def _spun(self, before_ns: int, now_ns: int) -> None:
        """A turn of the loop is over in which someone waited: several may, but it is one turn."""
        if before_ns >= self._counted_ns:
            self._counted_ns = now_ns
            # What it took beyond an idle one was work: answers and deliveries were read in it.
            self.spun_ns += min(now_ns - before_ns, self._idle_ns)

    async def _in_turn(self, indexes: Sequence[int], think_s: float, end_ns: int) -> None:
        for index in indexes:
            at_ns = self._ticks[index].at_ns
            await self.until(self._start_ns + at_ns)
            if monotonic_ns() > end_ns:
                return
            if at_ns < 0 and monotonic_ns() >= self._start_ns:
                continue
            await self._begin(index)
            await asyncio.sleep(think_s)

    async def _begin(self, index: int) -> None:
        self.begun_ns[index] = monotonic_ns()
        await self._send(index, self._ticks[index])
