"""Which runs are made, in which order, and for how long."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from statistics import mean
from time import monotonic
from typing import Protocol

from labs.bench.floor import Floor
from labs.bench.floor import measure as measure_floor
from labs.bench.host import find
from labs.bench.light import Dialect, speaks
from labs.bench.results import Run
from labs.bench.run import Plan, Server, make, serving
from labs.bench.stats import settled
from labs.bench.workload import Workload
from labs.errors import LabError
from labs.net.between import Span, between
from labs.net.network import Network
from labs.net.shaping import Shaping
from labs.wire.control import Child, child, together

REPORT_S = 3.5  # kept of the budget for the tables and the report
STAGGER_S = 0.1  # between the schedules of byte runs that go side by side
AHEAD_S = 0.5  # what a run of the first round gains by a server that stands ready
CROWD = 100  # the largest crowd that is counted beside others
CROWD_PER_S = 5_000  # ... and the most deliveries


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
    """The runs of one comparison. `runs` holds those that are finished, at any moment.

    With a `network` latency is taken across it; `url` is a server that is already there.
    """

    names: list[str]
    workloads: list[Workload]
    seed: int
    budget_s: float
    watcher: Watcher
    network: Network | None = None
    url: str = ""
    runs: list[Run] = field(default_factory=list)
    floor: Floor | None = None
    shaping: Shaping | None = None

    async def measure(self) -> None:
        """First the instrument itself, then bytes, side by side, then latency, one at a time.

        Raises `LabError` at the first process that fails; the finished runs stay in `runs`.
        """
        self._ends_s = monotonic() + self.budget_s - REPORT_S
        self._random = random.Random(self.seed)
        self._talking = [workload for workload in self.workloads if workload.messages]
        self._ahead: dict[str, Server] = {}
        self._net: Span | None = None
        async with AsyncExitStack() as self._stack:
            self._dialect = await self._ask_dialect()
            self.watcher.doing("the instrument itself")
            self.floor = await measure_floor()
            await self._count_bytes()
            if self.network:
                self.watcher.doing(f"the {self.network.name} network")
                net = await self._stack.enter_async_context(between(self.network, self.seed))
                self._net, self.shaping = net, await net.verify()
            await self._take_latency()

    async def _ask_dialect(self) -> Dialect:
        """What a Socket.IO server that is not ours speaks: SPEC.md, or the original lesson."""
        variant = find(self.names[0])
        if not self.url or variant.package != "socketio_chat":
            return "spec"
        try:
            return await speaks(self.url, variant.settings())
        except ConnectionError as error:
            raise LabError(str(error)) from None

    async def _count_bytes(self) -> None:
        """Small silent crowds are counted while others talk: neither changes the other's bytes."""
        self.watcher.expect(len(self.workloads) * len(self.names))
        small = [each for each in self.workloads if not self.url and _is_small(each)]
        silent = [workload for workload in small if not workload.messages]
        gate = asyncio.Barrier(len(silent) * len(self.names) + 1)

        async def joined(_: Workload) -> None:
            await gate.wait()

        await together(
            *(self._count([workload], name, joined) for workload in silent for name in self.names),
            self._count_talk([each for each in small if each.messages], gate),
        )
        for workload in self.workloads:
            if workload not in small:
                for name in self.names:
                    await self._count([workload], name, _at_once)

    async def _count_talk(self, workloads: list[Workload], silence: asyncio.Barrier) -> None:
        # The plotting library takes seconds to load on a new machine: not in anybody's window.
        await asyncio.to_thread(import_module, "labs.bench.report")
        await silence.wait()
        gates = {each.name: asyncio.Barrier(len(self.names)) for each in workloads}

        # Nobody talks before all have joined, and no two at the same instants: how many
        # messages share an answer depends on how soon it can be given.
        async def joined(workload: Workload) -> None:
            place = await gates[workload.name].wait()
            await asyncio.sleep(place * STAGGER_S)

        await together(*(self._count(workloads, name, joined) for name in self.names))

    async def _count(
        self, workloads: list[Workload], name: str, joined: Callable[[Workload], Awaitable[None]]
    ) -> None:
        """The bytes of one variant, under one workload after the other."""
        async with child("the generator", "labs.bench.load") as load:
            for workload in workloads:
                self.watcher.doing(f"{workload.name}: bytes")
                plan = Plan(workload, name, "bytes", 1, self.seed, self._dialect)
                async with self._serving(plan) as server:
                    self._keep(await make(plan, server, [load], partial(joined, workload)))

    async def _start_ahead(self, plan: Plan) -> None:
        """Start a server of the first round while the machine has nothing better to do."""
        self._ahead[str(plan)] = await self._stack.enter_async_context(self._serving(plan))

    async def _take_latency(self) -> None:
        """Round after round, until the figures are settled or the budget ends."""
        plans = self._round(self._pairs(), 1)
        if not self.url:
            await together(*(self._start_ahead(plan) for plan in plans))
        loads = [await self._generator() for _ in range(self._generators)]
        while plans:
            took_s: dict[str, list[float]] = {}
            self.watcher.expect(len(plans))
            for plan in plans:
                spent_s = await self._latency_run(plan, loads)
                took_s.setdefault(plan.workload.name, []).append(spent_s)
            plans = self._round(self._affordable(took_s), plans[0].number + 1)

    async def _generator(self) -> Child:
        prefix = self._net.client_prefix if self._net else []
        process = child("the generator", "labs.bench.load", prefix=prefix)
        return await self._stack.enter_async_context(process)

    @property
    def _generators(self) -> int:
        return max((workload.generators for workload in self._talking), default=0)

    async def _latency_run(self, plan: Plan, loads: list[Child]) -> float:
        begun_s = monotonic()
        self.watcher.doing(str(plan))
        if self._net:
            await self._net.restart()  # each run meets the same network
        if server := self._ahead.pop(str(plan), None):
            self._keep(await make(plan, server, loads, _at_once))
            if server.process:
                await server.process.stop()
            return monotonic() - begun_s + AHEAD_S
        async with self._serving(plan) as server:
            self._keep(await make(plan, server, loads, _at_once))
        return monotonic() - begun_s

    @asynccontextmanager
    async def _serving(self, plan: Plan) -> AsyncIterator[Server]:
        if self.url:
            yield Server(None, self.url)
            return
        async with serving(plan, self._net) as server:
            yield server

    def _pairs(self) -> list[tuple[Workload, str]]:
        return [(workload, name) for workload in self._talking for name in self.names]

    def _affordable(self, took_s: dict[str, list[float]]) -> list[tuple[Workload, str]]:
        """Workloads that are not settled yet, and whose next round fits into what is left."""
        left_s, found = self._ends_s - monotonic(), list[tuple[Workload, str]]()
        for workload in (each for each in self._talking if each.name in took_s):
            # All of them or none: figures of different stretches of time are not compared.
            going_on = not all(settled(self._latency_runs(workload, name)) for name in self.names)
            needed_s = mean(took_s[workload.name]) * len(self.names)
            if going_on and needed_s <= left_s:
                left_s -= needed_s
                found += [(workload, name) for name in self.names]
        return found

    def _latency_runs(self, workload: Workload, name: str) -> list[Run]:
        return [
            run
            for run in self.runs
            if (run.workload, run.variant, run.kind) == (workload.name, name, "latency")
        ]

    def _round(self, pairs: list[tuple[Workload, str]], number: int) -> list[Plan]:
        plans = [
            Plan(workload, name, "latency", number, self.seed, self._dialect)
            for workload, name in pairs
        ]
        self._random.shuffle(plans)
        return plans

    def _keep(self, run: Run) -> None:
        self.runs.append(run)
        self.watcher.made(run)


def _is_small(workload: Workload) -> bool:
    deliveries_per_s = workload.rate_per_s * workload.clients / workload.rooms
    talking = workload.arrivals != "none"
    return workload.clients <= CROWD and not (talking and deliveries_per_s > CROWD_PER_S)


async def _at_once(*_: object) -> None:
    """A run that is alone waits for nobody."""
