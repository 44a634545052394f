"""Which runs are made, in which order, and for how long."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from time import monotonic
from typing import Any, Protocol

from labs.bench.results import Run
from labs.bench.run import Plan, Server, child, make, serving
from labs.bench.workload import Workload
from labs.wire.control import Child

REPORT_S = 2.5  # kept of the budget for the tables and the report
STAGGER_S = 0.1  # between the schedules of byte runs that go side by side
AHEAD_S = 0.5  # what a run of the first round gains by a server that stands ready


class Watcher(Protocol):
    """Somebody who wants to know how far it has come."""

    def expect(self, runs: int) -> None:
        """So many runs more will be made."""

    def doing(self, what: str) -> None:
        """This is being done now."""

    def made(self, run: Run) -> None:
        """A run is finished."""


@dataclass
class Comparison:
    """The runs of one comparison. `runs` holds those that are finished, at any moment."""

    names: list[str]
    workloads: list[Workload]
    seed: int
    budget_s: float
    watcher: Watcher
    runs: list[Run] = field(default_factory=list)

    async def measure(self) -> None:
        """Make all runs: first bytes, side by side; then latency, one at a time.

        Raises `LabError` at the first process that fails; the finished runs stay in `runs`.
        """
        self._ends_s = monotonic() + self.budget_s - REPORT_S
        self._random = random.Random(self.seed)
        self._talking = [workload for workload in self.workloads if workload.messages]
        self._first = self._round(self._talking, 1)
        self._ahead: dict[str, Server] = {}
        async with AsyncExitStack() as self._stack:
            await self._count_bytes()
            await self._take_latency()

    async def _count_bytes(self) -> None:
        """Silent crowds are counted while the others talk: neither changes the other's bytes."""
        self.watcher.expect(len(self.workloads) * len(self.names))
        silent = [workload for workload in self.workloads if not workload.messages]
        gate = asyncio.Barrier(len(silent) * len(self.names) + 1)

        async def joined(_: Workload) -> None:
            await gate.wait()

        await _together(
            *(self._count([workload], name, joined) for workload in silent for name in self.names),
            self._count_talk(gate),
        )

    async def _count_talk(self, silence: asyncio.Barrier) -> None:
        # The plotting library takes seconds to load on a new machine: not in anybody's window.
        await asyncio.to_thread(import_module, "labs.bench.report")
        await silence.wait()
        gates = {each.name: asyncio.Barrier(len(self.names)) for each in self._talking}

        # Nobody talks before all have joined, and no two at the same instants: how many
        # messages share an answer depends on how soon it can be given.
        async def joined(workload: Workload) -> None:
            place = await gates[workload.name].wait()
            await asyncio.sleep(place * STAGGER_S)

        await _together(*(self._count(self._talking, name, joined) for name in self.names))
        await _together(*(self._start_ahead(plan) for plan in self._first))

    async def _count(
        self, workloads: list[Workload], name: str, joined: Callable[[Workload], Awaitable[None]]
    ) -> None:
        """The bytes of one variant, under one workload after the other."""
        async with child("the generator", "labs.bench.load") as load:
            for workload in workloads:
                self.watcher.doing(f"{workload.name}: bytes")
                plan = Plan(workload, name, "bytes", 1, self.seed)
                async with serving(plan) as server:
                    self._keep(await make(plan, server, load, partial(joined, workload)))

    async def _start_ahead(self, plan: Plan) -> None:
        """Start a server of the first round while the machine has nothing better to do."""
        self._ahead[str(plan)] = await self._stack.enter_async_context(serving(plan))

    async def _take_latency(self) -> None:
        """Round after round, each variant once in each, for as long as the budget allows."""
        plans, workloads = self._first, self._talking
        async with child("the generator", "labs.bench.load") as load:
            while plans:
                took_s = dict.fromkeys((workload.name for workload in workloads), 0.0)
                self.watcher.expect(len(plans))
                for plan in plans:
                    took_s[plan.workload.name] += await self._latency_run(plan, load)
                workloads = self._affordable(workloads, took_s)
                plans = self._round(workloads, plans[0].number + 1)

    async def _latency_run(self, plan: Plan, load: Child) -> float:
        begun_s = monotonic()
        self.watcher.doing(str(plan))
        if server := self._ahead.pop(str(plan), None):
            self._keep(await make(plan, server, load, _at_once))
            await server.process.stop()
            return monotonic() - begun_s + AHEAD_S
        async with serving(plan) as server:
            self._keep(await make(plan, server, load, _at_once))
        return monotonic() - begun_s

    def _affordable(self, workloads: list[Workload], took_s: dict[str, float]) -> list[Workload]:
        """The workloads whose next round fits into what is left."""
        left_s, found = self._ends_s - monotonic(), []
        for workload in workloads:
            if took_s[workload.name] <= left_s:
                left_s -= took_s[workload.name]
                found.append(workload)
        return found

    def _round(self, workloads: list[Workload], number: int) -> list[Plan]:
        plans = [
            Plan(workload, name, "latency", number, self.seed)
            for workload in workloads
            for name in self.names
        ]
        self._random.shuffle(plans)
        return plans

    def _keep(self, run: Run) -> None:
        self.runs.append(run)
        self.watcher.made(run)


async def _at_once() -> None:
    """A run that is alone waits for nobody."""


async def _together(*work: Coroutine[Any, Any, None]) -> None:
    """Do all at once; the first error ends the others and is raised."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
