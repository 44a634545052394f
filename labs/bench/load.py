"""The generator: a crowd of clients in a process of its own, driven by the schedule.

`python -m labs.bench.load` takes one job after another as JSON lines on stdin:

    job                 -> {"phase": "joined"}    everyone is in
    {"start_ns": ...}   -> {"phase": "sent"}      the window is over: when each message was begun
    {"begun_ns": ...}   -> {"phase": "done"}      all has arrived, or the drain is over; outcome
    {"end": true}       -> {"phase": "left"}      everyone has left

Several generators may share one crowd: each plays its own clients' part of the same schedule,
from the same moment of the host's monotonic clock, and is told when the others' messages were
begun. Every answer carries the moment it speaks of, `at_s`, so that bytes can be told apart by
window however late it is read.
"""

from __future__ import annotations

import asyncio
import gc
import math
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from time import monotonic_ns
from typing import Any

import msgspec
import numpy as np

from labs.bench.crowd import Crowd, abreast
from labs.bench.host import find
from labs.bench.light import Dialect, light
from labs.bench.player import Player
from labs.bench.record import (
    MISSED_MS,
    Arrivals,
    LossLedger,
    Outcome,
    histogram,
    latencies_ns,
    packed,
    timeline,
)
from labs.bench.schedule import Tick, phases, schedule
from labs.bench.workload import Workload
from labs.errors import LabError
from labs.inbox import Backoff
from labs.loops import runner
from labs.variants import VARIANTS
from labs.wire.control import allow_files, commands, reply

JOIN_S = 30.0
JOIN_EACH_S = 0.05
JOIN_TRIPS = 16  # Socket.IO's handshake, probe and join take eight; a lost packet is repeated
LISTEN_S = 0.05  # after the last message has come
COLLECT_S = 1.0  # the answers to sends may come this much later than what they sent


class Job(msgspec.Struct, frozen=True):
    """One run of a generator, which is number `which` of `of`.

    `fixed` is for counting bytes: a small crowd joins one by one, everyone has seen everyone's
    join before the window begins, nothing warms up, and the window has one length, whenever the
    last message arrives. `rtt_s` is the round trip of the network in between.
    """

    variant: str
    url: str
    workload: Workload
    seed: int
    number: int
    fixed: bool
    which: int = 0
    of: int = 1
    dialect: Dialect = "spec"
    rtt_s: float = 0.0

    @property
    def join_s(self) -> float:
        """How long joining may take."""
        clients = self.workload.clients
        turns = math.ceil(clients / abreast(clients, self.fixed))
        return JOIN_S + JOIN_EACH_S * clients + JOIN_TRIPS * self.rtt_s * turns


class Part:
    """This generator's part of a job."""

    def __init__(self, job: Job) -> None:
        self.job, self.workload = job, job.workload
        self.ticks = schedule(job.workload, job.seed, job.number, warm=not job.fixed)
        numbers = range(job.which, job.workload.clients, job.of)
        self.ledger = LossLedger(self.ticks, job.workload, numbers)
        random.seed(f"{job.seed}/{job.workload.name}/{job.number}/{job.which}")
        where = phases(job.workload, job.seed, job.number)
        variant = find(job.variant)
        # A variant of somebody's own is measured with the client that it names.
        kind = light(variant, job.dialect) if job.variant in VARIANTS else None
        self.crowd = Crowd(variant, kind, job.url, job.workload, where, self.ledger, numbers)
        self._answers: dict[int, int] = {}
        self._own = {i: tick for i, tick in enumerate(self.ticks) if tick.sender in numbers}

    async def join(self) -> None:
        """Everyone comes in."""
        try:
            async with asyncio.timeout(self.job.join_s):
                # The lesson's server does not say where its log stands.
                see_all = self.job.fixed and self.job.dialect == "spec"
                await self.crowd.join(self.job.fixed, see_all)
        except TimeoutError:
            raise LabError(f"not everyone could join within {self.job.join_s:g} s") from None

    async def play(self, start_ns: int) -> dict[int, int]:
        """The window, from its start to its end; answers when each message was begun."""
        self._start_ns = start_ns
        self._refused_before = Backoff.waits["rate_limited"]
        self._player = player = Player(self._own, start_ns, self._send)
        gc.collect()
        gc.disable()  # a pause of the generator would look like a slow server
        await player.calibrate()
        begun_ns, cpu_s = monotonic_ns(), time.process_time()
        cutting = asyncio.create_task(self._cut())
        if self.workload.loop == "open":
            await player.open_loop()
        else:
            player.closed_loop(self.workload.think_s, self._end_ns(0))
        await player.until(self._end_ns(0))
        spent_s = time.process_time() - cpu_s - player.spun_ns / 1e9
        self._cpu = spent_s / ((monotonic_ns() - begun_ns) / 1e9)
        await cutting
        return player.begun_ns

    async def drain(self, begun_ns: Mapping[int, int]) -> float:
        """Wait for what is on its way; answers when that was over, in seconds.

        `begun_ns` holds all generators' messages.
        """
        self.ledger.sent(begun_ns)
        end_ns = self._end_ns(self.workload.tail_s)
        if self.job.fixed:
            await self._player.until(end_ns)
        on_time = self.job.fixed and self.ledger.complete.is_set()
        with suppress(TimeoutError):  # the ledger says what is missing
            await asyncio.wait_for(self.ledger.complete.wait(), self.workload.drain_s)
        done_s = end_ns / 1e9 if on_time else time.monotonic()
        self._unanswered = await self._player.finish(COLLECT_S)
        await asyncio.sleep(LISTEN_S)  # for what comes twice
        gc.enable()
        return done_s

    def outcome(self, begun_ns: Mapping[int, int]) -> Outcome:
        """What became of it."""
        intended_ns = self._start_ns + np.array([tick.at_ns for tick in self.ticks], np.int64)
        began_ns = intended_ns.copy()
        for index, at_ns in begun_ns.items():
            began_ns[index] = at_ns
        arrivals = self.ledger.arrivals()
        fates, wrong = self.ledger.verdict(intended_ns)
        readable = arrivals.client < self.workload.probes
        probed = Arrivals(*(part[readable] for part in arrivals))
        timed = [index for index, tick in self._own.items() if tick.at_ns >= 0]
        lags_ms = [
            (begun_ns[index] - int(intended_ns[index])) / 1e6
            for index in timed
            if index in begun_ns
        ]
        return Outcome(
            fates=fates,
            wrong=[*wrong, *self._complaints()],
            text_bytes=self.ledger.text_bytes(),
            corrected=packed(histogram(latencies_ns(arrivals, intended_ns))),
            uncorrected=packed(histogram(latencies_ns(arrivals, began_ns))),
            probes=packed(histogram(latencies_ns(probed, intended_ns))),
            back=packed(histogram(self.crowd.back_ns)),
            timeline=timeline(arrivals, intended_ns, self._start_ns, self.workload.duration_s),
            missed_ticks=sum(lag > MISSED_MS for lag in lags_ms),
            missed_polls=self.crowd.missed_polls,
            unsent=len(timed) - len(lags_ms),
            lag_most_ms=max(lags_ms, default=0.0),
            generator_cpu=self._cpu,
            skipped=sum(index not in begun_ns for index in self._own) - len(timed) + len(lags_ms),
            refused=Backoff.waits["rate_limited"] - self._refused_before,
        )

    def _complaints(self) -> Iterator[str]:
        """What is wrong although everything may have been delivered."""
        if self._unanswered and self.workload.cut_at_s is None:
            yield f"{self._unanswered} sends were not answered within {COLLECT_S:g} s"
        elsewhere = [
            index
            for index, offset in self._answers.items()
            if self.ledger.offsets.get(index, offset) != offset
        ]
        if elsewhere and self.job.dialect == "spec":
            yield f"{len(elsewhere)} sends were answered with an offset that was another's"
        yield from self.crowd.broken()

    async def _send(self, index: int, tick: Tick) -> None:
        self._answers[index] = await self.crowd.send(tick.sender, tick.text)

    async def _cut(self) -> None:
        if self.workload.cut_at_s is not None:
            at_s = self._start_ns / 1e9 + self.workload.cut_at_s
            await asyncio.sleep(max(0.0, at_s - time.monotonic()))
            await self.crowd.cut()

    def _end_ns(self, later_s: float) -> int:
        return self._start_ns + round((self.workload.duration_s + later_s) * 1e9)


async def run(job: Job, told: AsyncIterator[dict[str, Any]]) -> None:
    """One job, from the first join to the last leave; the parent says when to go on."""
    part = Part(job)
    await part.join()
    _say("joined")
    begun_ns = await part.play((await anext(told))["start_ns"])
    _say("sent", begun_ns=begun_ns)
    all_begun_ns = msgspec.convert((await anext(told))["begun_ns"], dict[int, int], strict=False)
    done_s = await part.drain(all_begun_ns)
    outcome = part.outcome(all_begun_ns)
    _say("done", at_s=done_s, outcome=outcome, offsets=part.ledger.offsets)
    await anext(told)
    await part.crowd.leave()
    _say("left")


def _say(phase: str, **more: object) -> None:
    reply({"phase": phase, "at_s": time.monotonic(), **more})


async def main() -> None:
    """Do the parent's jobs until it closes the pipe."""
    allow_files()
    told = commands()
    async for command in told:
        try:
            await run(msgspec.convert(command, Job), told)
        except (LabError, OSError) as error:
            reply({"error": str(error)})


if __name__ == "__main__":
    with runner() as loop:
        loop.run(main())
