"""The generator: a crowd of clients in a process of its own, driven by the schedule.

`python -m labs.bench.load` takes one job after another as JSON lines on stdin:

    job  -> {"phase": "joined"}    everyone is in and has seen everyone come in
    go   -> {"phase": "sent"}      the window is over, the last message was begun
         -> {"phase": "done"}      all has arrived, or the drain is over; with the outcome
    end  -> {"phase": "left"}      everyone has left

Every answer carries the moment it speaks of, `at_s` on the monotonic clock, so that bytes
can be told apart by phase however late it is read.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic_ns
from typing import Any

import msgspec

from labs.bench.host import find
from labs.bench.record import MISSED_MS, LossLedger, Outcome, histogram, packed
from labs.bench.schedule import Tick, schedule
from labs.bench.workload import Workload
from labs.chat import Joined
from labs.errors import LabError
from labs.settings import Settings
from labs.variants import Client
from labs.wire.control import commands, reply

SETTLE_S = 0.25  # after the last join, for polls and upgrades on their way
JOIN_S = 30.0
SPIN_NS = 1_500_000  # epoll wakes up to a millisecond late; the rest of the way is spun
WATCH_S = 0.05  # how often the clients' states are looked at
COLLECT_S = 1.0  # byte runs wait this much longer than the drain for stragglers


class Job(msgspec.Struct, frozen=True):
    """One run of the generator.

    `fixed` is for counting bytes: everyone has seen everyone's join before the steady phase
    begins, and that phase has one length, whenever the last message arrives.
    """

    variant: str
    url: str
    workload: Workload
    seed: int
    number: int
    fixed: bool


class Crowd:
    """Clients in one room; what each receives goes into the loss ledger."""

    def __init__(self, job: Job, ledger: LossLedger) -> None:
        variant = find(job.variant)
        settings = variant.settings(Settings(**job.workload.settings))
        self.clients = [variant.client(job.url, settings) for _ in range(job.workload.clients)]
        self._ledger = ledger
        self._seen = [0] * len(self.clients)
        self._progress = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def join(self, see_all: bool) -> None:
        """Everyone comes in, one after the other, and sees the last one come if need be."""
        joined: Joined | None = None
        for number, client in enumerate(self.clients):
            joined = await client.connect(f"client{number}")
            self._tasks.append(asyncio.create_task(self._receive(number, client)))
        assert joined
        while see_all and min(self._seen) < joined.head:
            self.check()
            self._progress.clear()
            await self._progress.wait()
        await asyncio.sleep(SETTLE_S)
        self._tasks.append(asyncio.create_task(self._watch()))

    async def leave(self) -> None:
        """Everyone goes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(client.close() for client in self.clients))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def check(self) -> None:
        """Raises the error with which a client was ended, if one was."""
        for task in self._tasks:
            if task.done():
                task.result()

    # The one place where a message reaches the instrument.
    async def _receive(self, number: int, client: Client) -> None:
        try:
            async for message in client.messages():
                self._ledger.saw(number, message, monotonic_ns())
                self._seen[number] = message.offset
                self._progress.set()
        finally:
            self._progress.set()

    async def _watch(self) -> None:
        while True:
            for number, client in enumerate(self.clients):
                if client.state != "open":
                    self._ledger.broke(number, monotonic_ns())
            await asyncio.sleep(WATCH_S)


class Player:
    """Plays a schedule, and waits for nothing but the clock."""

    def __init__(self, ticks: Sequence[Tick]) -> None:
        self.begun_ns = [0] * len(ticks)
        self.intended_ns: list[int] = []
        self._ticks = ticks
        self._sends: list[asyncio.Task[None]] = []

    async def play(self, start_ns: int, send: Callable[[Tick], Awaitable[object]]) -> None:
        """Begin every message at its moment, or as soon after it as this process can."""
        self.intended_ns = [start_ns + tick.at_ns for tick in self._ticks]
        for index, tick in enumerate(self._ticks):
            await until(self.intended_ns[index])
            self._sends.append(asyncio.create_task(self._begin(index, tick, send)))

    async def finish(self, within_s: float) -> None:
        """Wait for the answers; raises what a send that failed raised."""
        if self._sends:
            done, pending = await asyncio.wait(self._sends, timeout=within_s)
            for task in pending:
                task.cancel()
            for task in done:
                task.result()

    @property
    def lags_ns(self) -> list[int]:
        """How long after its moment each message was begun."""
        return [
            begun - intended
            for begun, intended in zip(self.begun_ns, self.intended_ns, strict=True)
        ]

    async def _begin(
        self, index: int, tick: Tick, send: Callable[[Tick], Awaitable[object]]
    ) -> None:
        self.begun_ns[index] = monotonic_ns()
        await send(tick)


async def until(moment_ns: int) -> None:
    """Return at a moment of the monotonic clock, not up to a millisecond later."""
    early_ns = moment_ns - monotonic_ns() - SPIN_NS
    if early_ns > 0:
        await asyncio.sleep(early_ns / 1e9)
    while monotonic_ns() < moment_ns:  # noqa: ASYNC110 (the clock sets no event)
        await asyncio.sleep(0)


async def run(job: Job, proceed: Callable[[], Awaitable[object]]) -> None:
    """One job, from the first join to the last leave; `proceed` waits for the parent."""
    workload = job.workload
    ticks = schedule(workload, job.seed, job.number)
    ledger = LossLedger(ticks, workload.clients)
    random.seed(f"{job.seed}/{workload.name}/{job.number}")  # the pollers' phases
    crowd = Crowd(job, ledger)
    async with asyncio.timeout(JOIN_S):
        await crowd.join(see_all=job.fixed)
    _say("joined")
    await proceed()
    await _window(job, ticks, ledger, crowd)
    await proceed()
    await crowd.leave()
    _say("left")


async def _window(job: Job, ticks: Sequence[Tick], ledger: LossLedger, crowd: Crowd) -> None:
    workload, player = job.workload, Player(ticks)
    gc.collect()
    gc.disable()  # a pause of the generator would look like a slow server
    start_ns, cpu_s = monotonic_ns(), time.process_time()
    end_ns = start_ns + round(workload.duration_s * 1e9)
    ledger.begin([start_ns + tick.at_ns for tick in ticks])
    await player.play(start_ns, lambda tick: crowd.clients[tick.sender].send(tick.text))
    await until(end_ns)
    spent_s, window_s = time.process_time() - cpu_s, (monotonic_ns() - start_ns) / 1e9
    _say("sent")
    if job.fixed:
        await until(end_ns + round(workload.tail_s * 1e9))
    await _drain(workload, ledger)
    done_s = time.monotonic()
    gc.enable()
    await player.finish(COLLECT_S)
    crowd.check()
    outcome = _outcome(workload, ticks, ledger, player, spent_s / window_s)
    _say("done", at_s=done_s, begun_s=start_ns / 1e9, outcome=outcome)


def _say(phase: str, **more: object) -> None:
    reply({"phase": phase, "at_s": time.monotonic(), **more})


async def _drain(workload: Workload, ledger: LossLedger) -> None:
    try:
        await asyncio.wait_for(ledger.complete.wait(), workload.drain_s)
    except TimeoutError:
        return  # The ledger says what is missing.


def _outcome(
    workload: Workload, ticks: Sequence[Tick], ledger: LossLedger, player: Player, cpu: float
) -> Outcome:
    fates, wrong = ledger.verdict(workload.late_s)
    if ledger.foreign:
        wrong.append(f"{ledger.foreign} messages came down that nobody sent")
    lags_ns = player.lags_ns
    return Outcome(
        fates=fates,
        wrong=wrong,
        text_bytes=sum(len(tick.text.encode()) for tick in ticks),
        corrected=packed(histogram(ledger.latencies_ns(player.intended_ns))),
        uncorrected=packed(histogram(ledger.latencies_ns(player.begun_ns))),
        missed_ticks=sum(lag > MISSED_MS * 1e6 for lag in lags_ns),
        lag_most_ms=max(lags_ns, default=0) / 1e6,
        generator_cpu=cpu,
    )


async def main() -> None:
    """Do the parent's jobs until it closes the pipe."""
    told = commands()

    async def proceed() -> dict[str, Any]:
        return await anext(told)

    async for command in told:
        try:
            await run(msgspec.convert(command, Job), proceed)
        except LabError as error:
            reply({"error": str(error)})
        except TimeoutError:
            reply({"error": f"not everyone could join within {JOIN_S:g} s"})
        except OSError as error:
            reply({"error": str(error)})


if __name__ == "__main__":
    asyncio.run(main())
