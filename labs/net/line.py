"""A deadline queue on the event loop: what is put in comes out at its moment, not after it.

The event loop of asyncio sleeps in whole milliseconds on Linux, because epoll_wait does; that
is more than a local network takes. `exact_loop` sleeps in select(2) on epoll's own descriptor
instead, to the microsecond.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from labs.net.network import Network
from labs.net.queue import MS, Counts, DeadlineQueue

T = TypeVar("T")

LATE_CLASS_NS = 10_000  # how finely lateness is counted
LATE_MS = 1.0  # a packet that leaves later than this was not carried as asked for
AFTER_S = 0.001  # long enough for a timer that was due before ours


class Order(msgspec.Struct, frozen=True):
    """What a process that plays a network is told first."""

    network: Network
    seed: int


class Passed(msgspec.Struct, frozen=True):
    """What one direction has done: its counts, and how late packets left, in microseconds.

    `late` packets left more than `LATE_MS` after their moment.
    """

    counts: Counts
    late_p50_us: float = 0.0
    late_p99_us: float = 0.0
    late_max_us: float = 0.0
    late: int = 0


class Line(Generic[T]):
    """One direction at work: gives each packet to `out` when it is due."""

    def __init__(self, queue: DeadlineQueue[T], out: Callable[[T], object]) -> None:
        self.queue = queue
        self._out = out
        self._late: Counter[int] = Counter()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def put(self, size: int, packet: T) -> None:
        """A packet of `size` bytes comes now."""
        if self.queue.put(self.now_ns(), size, packet) and not self._timer:
            self._arm()

    async def restart(self, seed: int) -> None:
        """Begin chance and counts anew, once what is under way now has left."""
        under_way_s = max(0, self.queue.last_ns - self.now_ns()) / 1e9
        await asyncio.sleep(under_way_s + AFTER_S)
        self.queue.restart(seed)
        self._late.clear()

    def now_ns(self) -> int:
        """The loop's clock."""
        return int(self._loop.time() * 1e9)

    def passed(self) -> Passed:
        """What has been done since the start, or the last `restart`."""
        late = sum(
            number for each, number in self._late.items() if each * LATE_CLASS_NS >= LATE_MS * MS
        )
        p50_us, p99_us, max_us = (self._late_us(share) for share in (0.5, 0.99, 1.0))
        return Passed(self.queue.counts, p50_us, p99_us, max_us, late)

    def _late_us(self, share: float) -> float:
        wanted, seen = share * self._late.total(), 0
        for late, number in sorted(self._late.items()):
            seen += number
            if seen >= wanted:
                return (late + 1) * LATE_CLASS_NS / 1e3
        return 0.0

    def _arm(self) -> None:
        self._timer = None
        if (due_ns := self.queue.due_ns) is not None:
            self._timer = self._loop.call_at(due_ns / 1e9, self._release)

    def _release(self) -> None:
        # The loop's clock is a float, and may be a nanosecond short of the moment it woke for.
        now_ns = max(self.now_ns(), self.queue.due_ns or 0)
        for due_ns, packet in self.queue.take(now_ns):
            self._late[(now_ns - due_ns) // LATE_CLASS_NS] += 1
            self._out(packet)
        self._arm()


async def answer(command: dict[str, Any], lines: Mapping[Any, Line[Any]]) -> dict[str, Passed]:
    """In a process that plays a network: what has passed, the answer to every command.

    `{"restart": SEED}` begins chance and counts anew first.
    """
    if "restart" in command:
        for line in lines.values():
            await line.restart(command["restart"])
    return {direction: line.passed() for direction, line in lines.items()}


def exact_loop() -> asyncio.AbstractEventLoop:
    """A new event loop whose timers are exact to well under a millisecond."""
    if sys.platform != "linux":
        return asyncio.new_event_loop()
    # The kernel may by default be 50 us late, to wake up less often.
    with suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")
    return asyncio.SelectorEventLoop(_ExactSelector())


if sys.platform == "linux":

    class _ExactSelector(selectors.EpollSelector):
        """Epoll that is waited for with select(2)."""

        def select(self, timeout: float | None = None) -> Any:
            if timeout is None or timeout > 0:
                select.select([self.fileno()], [], [], timeout)
            return super().select(0)
