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

from labs.bench.crew import Crew, Gate
from labs.bench.floor import Floor
from labs.bench.floor import measure as measure_floor
from labs.bench.host import find
from labs.bench.light import Dialect, speaks
from labs.bench.results import Run
from labs.bench.run import Plan, Server, make, serving
from labs.bench.stats import fallen_back, settled
from labs.bench.workload import Workload
from labs.errors import LabError
from labs.net.between import Span, between
from labs.net.network import Network
from labs.net.shaping import Shaping
from labs.wire.control import together

REPORT_S = 3.5  # kept of the budget for the tables and the report
STAGGER_S = 0.1  # between the schedules of byte runs that go side by side
AHEAD_S = 0.5  # what a run of the first round gains by a server that stands ready
CROWD = 100  # the largest crowd that is counted beside others
CROWD_PER_S = 5_000  # ... and the most deliveries

Joined = Callable[[Workload, str], Awaitable[None]]
Over = Callable[[Workload, str], None]


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

    With a `network` latency is taken across it; `url` is a server that is already there. `tell`
    hears at once what nobody should overlook. `failed` says why, of a workload and a variant that
    have no more runs.
    """

    names: list[str]
    workloads: list[Workload]
    seed: int
    budget_s: float
    watcher: Watcher
    network: Network | None = None
    url: str = ""
    tell: Callable[[str], None] | None = None
    runs: list[Run] = field(default_factory=list)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    floor: Floor | None = None
    shaping: Shaping | None = None

    async def measure(self) -> None:
        """First the instrument itself, then bytes, side by side, then latency, one at a time.

        A run that fails ends its variant under its workload; the others go on, and when all is
        done a `LabError` tells of each. It is raised at once where none of them can go on: the
        network fails, or the server at `url`. The finished runs stay in `runs`.
        """
        self._ends_s = monotonic() + self.budget_s - REPORT_S
        self._random = random.Random(self.seed)
        self._talking = [workload for workload in self.workloads if workload.messages]
        self._ahead: dict[str, Server] = {}
        self._net: Span | None = None
        async with AsyncExitStack() as self._stack:
            self._dialect = await self._ask_dialect()
            if self.network:
                await self._enter_network(self.network)
            self.watcher.doing("the instrument itself")
            self.floor = await measure_floor()
            await self._count_bytes()
            if self._net:
                self.watcher.doing(f"the {self._net.network.name} network")
                self.shaping = await self._net.verify()
            await self._take_latency()
        if self.failed:
            raise LabError("\n".join(self.failed.values()))

    async def _enter_network(self, network: Network) -> None:
        """Put it up, and tell at once where it is less than was hoped for."""
        self._net = await self._stack.enter_async_context(between(network, self.seed))
        if self._net.reason and self.tell:
            self.tell(fallen_back(network, self._net.reason))

    async def _ask_dialect(self) -> Dialect:
        """What a Socket.IO server that is not ours speaks: SPEC.md, or the original lesson."""
        variant = find(self.names[0])
        if not self.url or variant.package != "socketio_chat":
            return "spec"
        try:
            return await speaks(self.url, variant.settings())
        except (ConnectionError, LabError) as error:
            raise self._as_theirs(self.names[0], error) from None

    def _as_theirs(self, name: str, error: Exception) -> LabError:
        """What went wrong with a server that is not ours, which it names by its URL."""
        said = str(error)
        if self.url in said:
            return LabError(said)
        return LabError(f"the server at {self.url} does not answer as {name} does: {said}")

    async def _count_bytes(self) -> None:
        """Small silent crowds are counted while others talk: neither changes the other's bytes."""
        self.watcher.expect(len(self.workloads) * len(self.names))
        small = [each for each in self.workloads if not self.url and _is_small(each)]
        silent = [workload for workload in small if not workload.messages]
        runs = [(workload, name) for workload in silent for name in self.names]
        silence = Gate([*((workload.name, name) for workload, name in runs), "talk"])

        async def joined(workload: Workload, name: str) -> None:
            await silence.wait((workload.name, name))

        async def count(workload: Workload, name: str) -> None:
            await self._count([workload], name, joined)
            silence.excuse((workload.name, name))

        await together(
            *(count(workload, name) for workload, name in runs),
            self._count_talk([each for each in small if each.messages], silence),
        )
        for workload in self.workloads:
            if workload not in small:
                for name in self.names:
                    await self._count([workload], name, _at_once)

    async def _count_talk(self, workloads: list[Workload], silence: Gate) -> None:
        # The plotting library takes seconds to load on a new machine: not in anybody's window.
        await asyncio.to_thread(import_module, "labs.bench.report")
        await silence.wait("talk")
        gates = {each.name: Gate(self.names) for each in workloads}

        # Nobody talks before all have joined, and no two at the same instants: how many
        # messages share an answer depends on how soon it can be given.
        async def joined(workload: Workload, name: str) -> None:
            place = await gates[workload.name].wait(name)
            await asyncio.sleep(place * STAGGER_S)

        def over(workload: Workload, name: str) -> None:
            gates[workload.name].excuse(name)

        await together(*(self._count(workloads, name, joined, over) for name in self.names))

    async def _count(
        self, workloads: list[Workload], name: str, joined: Joined, over: Over | None = None
    ) -> None:
        """The bytes of one variant, under one workload after the other; `over` is told of each."""
        async with Crew(1) as crew:
            for workload in workloads:
                self.watcher.doing(f"{workload.name}: bytes")
                plan = Plan(workload, name, "bytes", 1, self.seed, self._dialect)
                await self._attempt(plan, self._count_one(plan, crew, joined), crew)
                if over:
                    over(workload, name)

    async def _count_one(self, plan: Plan, crew: Crew, joined: Joined) -> None:
        async with self._serving(plan) as server:
            come = partial(joined, plan.workload, plan.variant)
            self._keep(await make(plan, server, await crew.ready(), come))

    async def _attempt(self, plan: Plan, work: Awaitable[None], crew: Crew | None = None) -> bool:
        """Work at a run. One that fails ends its variant under this workload, and no other."""
        try:
            await work
        except LabError as error:
            if self.url:  # there is no other
                raise self._as_theirs(plan.variant, error) from None
            self.failed.setdefault((plan.workload.name, plan.variant), f"{plan}: {error}")
            if crew:
                crew.dismiss()
            return False
        return True

    async def _start_ahead(self, plan: Plan) -> None:
        """Start a server of the first round while the machine has nothing better to do."""
        self._ahead[str(plan)] = await self._stack.enter_async_context(self._serving(plan))

    async def _take_latency(self) -> None:
        """Round after round, until the figures are settled or the budget ends."""
        pairs = [pair for each in self._talking for pair in self._pairs(each)]
        plans = self._round(pairs, 1)
        if not self.url:
            await together(*(self._attempt(plan, self._start_ahead(plan)) for plan in plans))
        number = max((workload.generators for workload in self._talking), default=0)
        async with Crew(number, self._net.client_prefix if self._net else ()) as crew:
            while plans:
                pairs = self._affordable(await self._run_round(plans, crew))
                plans = self._round(pairs, plans[0].number + 1)

    async def _run_round(self, plans: list[Plan], crew: Crew) -> dict[str, list[float]]:
        """One run of each; answers the seconds that those took which went well, by workload."""
        took_s: dict[str, list[float]] = {}
        self.watcher.expect(len(plans))
        for plan in plans:
            if (plan.workload.name, plan.variant) in self.failed:
                continue
            begun_s, ahead = monotonic(), str(plan) in self._ahead
            self.watcher.doing(str(plan))
            if self._net:
                await self._net.restart(plan.number)  # the same chance for each variant
            if await self._attempt(plan, self._latency_run(plan, crew), crew):
                spent_s = monotonic() - begun_s + (AHEAD_S if ahead else 0.0)
                took_s.setdefault(plan.workload.name, []).append(spent_s)
        return took_s

    async def _latency_run(self, plan: Plan, crew: Crew) -> None:
        loads = await crew.ready()
        if ahead := self._ahead.pop(str(plan), None):
            try:
                self._keep(await make(plan, ahead, loads, _at_once))
            finally:
                if ahead.process:
                    await ahead.process.stop()
            return
        async with self._serving(plan) as server:
            self._keep(await make(plan, server, loads, _at_once))

    @asynccontextmanager
    async def _serving(self, plan: Plan) -> AsyncIterator[Server]:
        if self.url:
            yield Server(None, self.url)
            return
        # Bytes are counted on bare loopback.
        async with serving(plan, self._net if plan.kind == "latency" else None) as server:
            yield server

    def _pairs(self, workload: Workload) -> list[tuple[Workload, str]]:
        """A workload with each of the variants that have not failed under it."""
        names = [name for name in self.names if (workload.name, name) not in self.failed]
        return [(workload, name) for name in names]

    def _affordable(self, took_s: dict[str, list[float]]) -> list[tuple[Workload, str]]:
        """Workloads that are not settled yet, and whose next round fits into what is left."""
        left_s, found = self._ends_s - monotonic(), list[tuple[Workload, str]]()
        for workload in (each for each in self._talking if each.name in took_s):
            # All of them or none: figures of different stretches of time are not compared.
            pairs = self._pairs(workload)
            going_on = not all(settled(self._latency_runs(*pair)) for pair in pairs)
            needed_s = mean(took_s[workload.name]) * len(pairs)
            if going_on and needed_s <= left_s:
                left_s -= needed_s
                found += pairs
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
