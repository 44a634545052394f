"""One run, from the parent's side: a server, a crowd, and for bytes a tap between them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil

from labs.bench import heads
from labs.bench.light import Dialect
from labs.bench.load import Job
from labs.bench.prediction import difference, predict
from labs.bench.record import Outcome, together
from labs.bench.results import Kind, Run, ServerUse, now
from labs.bench.schedule import phases, schedule
from labs.bench.there import Distant
from labs.bench.workload import Workload
from labs.errors import LabError
from labs.net.between import Span
from labs.net.line import Passed
from labs.settings import Settings
from labs.variants import VARIANTS
from labs.wire.control import Child, ChildDiedError, Mortal, child, while_alive
from labs.wire.traffic import Segments, Traffic

START_S = 20.0  # a process may take this long to start on a busy machine
SLACK_S = 15.0  # an answer may take this much longer than its work
LEAD_S = 0.05  # generators hear this much before the first moment when that will be

EACH = ("handshake", "message", "delivery", "idle_minute")  # what is predicted of one of them

Joined = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Plan:
    """Which run to make; `number` chooses the schedule, with the seed."""

    workload: Workload
    variant: str
    kind: Kind
    number: int
    seed: int
    dialect: Dialect = "spec"

    def __str__(self) -> str:
        return f"{self.workload.name}: {self.kind}, {self.variant}, run {self.number}"

    @property
    def generators(self) -> int:
        """Over how many processes the crowd is spread: bytes do not depend on speed."""
        return 1 if self.kind == "bytes" else self.workload.generators


class Meter:
    """What a server uses, and what everything else does, between two moments.

    `ours` are the other processes of the run, whose use is not the others'. Of a server that is
    not ours nothing is told but what the machine does.
    """

    def __init__(self, server: Child | None, ours: Sequence[Child]) -> None:
        self._server = server
        self._process = psutil.Process(server.pid) if server else None
        children = [*ours, server] if server else ours
        self._ours = [psutil.Process(child.pid) for child in children]
        self._empty_bytes = self._resident()

    async def begin(self) -> None:
        """The window begins."""
        self._others_s = self._read_others()
        self._begun = await self._use()

    async def end(self) -> tuple[ServerUse | None, float, float]:
        """The window is over: the server's use, the others' in cores, its length in seconds."""
        full_bytes = self._resident()
        (cpu_s, at_s), (begun_cpu_s, begun_s) = await self._use(), self._begun
        others_s = self._read_others() - self._others_s
        window_s = at_s - begun_s
        used = ServerUse((cpu_s - begun_cpu_s) / window_s, self._empty_bytes, full_bytes)
        return used if self._server else None, max(0.0, others_s / window_s), window_s

    async def _use(self) -> tuple[float, float]:
        if self._server is None:
            return 0.0, monotonic_ns() / 1e9
        use = await self._server.ask({"use": True}, SLACK_S)
        return use["cpu_s"], use["at_s"]

    def _resident(self) -> int:
        size: int = self._process.memory_info().rss if self._process else 0
        return size

    def _read_others(self) -> float:
        machine = psutil.cpu_times()
        idle_s = machine.idle + getattr(machine, "iowait", 0.0)
        ours_s = sum(sum(process.cpu_times()[:2]) for process in self._ours)
        # A guest's time is in `user` and in `nice` already.
        twice_s = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)
        busy_s: float = sum(machine) - twice_s - idle_s - ours_s
        return busy_s


@dataclass(frozen=True)
class Server:
    """A server that runs, and where; `process` is None where it is somebody else's.

    `line` is the process of the network in front of it, if there is one, and `rtt_s` the least
    round trip through it.
    """

    process: Child | None
    url: str
    line: Child | None = None
    rtt_s: float = 0.0

    @property
    def processes(self) -> list[Child]:
        """Everything without which it is not there."""
        return [each for each in (self.process, self.line) if each]


@asynccontextmanager
async def serving(plan: Plan, net: Span | None = None) -> AsyncIterator[Server]:
    """The server of a run, in a process of its own, while inside."""
    prefix, where = (net.server_prefix, [net.server_host]) if net else ([], [])
    name = f"the {plan.variant} server"
    async with child(name, "labs.bench.host", plan.variant, *where, prefix=prefix) as process:
        url = (await process.ask(plan.workload.settings, START_S))["url"]
        if net is None:
            yield Server(process, url)
        else:
            rtt_s = net.network.rtt_ms / 1e3
            yield Server(process, await net.front(url), net.player, rtt_s)


async def make(plan: Plan, server: Server, loads: Sequence[Child], joined: Joined) -> Run:
    """Make a run with a server and generators that are free.

    `joined` is called when everyone has joined, and may keep the window waiting. Raises
    `ChildDiedError` or another `LabError`.
    """
    loads = loads[: plan.generators]
    if server.process:
        return await _make(plan, server, loads, joined, server.processes)
    there = Distant(server.url)
    run = await _make(plan, server, loads, joined, [there])
    # What was lost because the server is gone is not what its transport loses.
    if not run.valid and (gone := await there.look()):
        raise gone
    return run


async def _make(
    plan: Plan, server: Server, loads: Sequence[Child], joined: Joined, others: Sequence[Mortal]
) -> Run:
    if plan.kind == "latency":
        return await while_alive(_measure(plan, server.url, loads, server, None, joined), *others)
    there = urlsplit(server.url)
    address = str(there.hostname), str(there.port or 80)
    async with child("the tap", "labs.wire.tap", *address) as tap:
        port = (await tap.hear(START_S))["port"]
        url = there._replace(netloc=f"127.0.0.1:{port}").geturl()
        measuring = _measure(plan, url, loads, server, tap, joined)
        try:
            return await while_alive(measuring, *others, tap)
        except ChildDiedError:
            raise
        except LabError as error:
            # Nobody knows the tap's port but us.
            said = str(error).replace(f"127.0.0.1:{port}", there.netloc)
            raise LabError(said.replace(f"('127.0.0.1', {port})", there.netloc)) from None


async def _measure(
    plan: Plan,
    url: str,
    loads: Sequence[Child],
    server: Server,
    tap: Child | None,
    joined: Joined,
) -> Run:
    workload, started_at = plan.workload, now()
    ours = [*loads, *(each for each in (tap, server.line) if each)]
    meter = Meter(server.process, ours)
    jobs = [_job(plan, url, which, server.rtt_s) for which in range(plan.generators)]
    here = await _ask(loads, jobs, jobs[0].join_s + SLACK_S)
    await joined()
    await meter.begin()
    start_ns = _start_ns(plan)
    ahead_s = (start_ns - monotonic_ns()) / 1e9
    sent = await _ask(
        loads, [{"start_ns": start_ns}] * len(loads), ahead_s + workload.duration_s + SLACK_S
    )
    use, others_cpu, window_s = await meter.end()
    begun_ns = {index: at_ns for one in sent for index, at_ns in one["begun_ns"].items()}
    done = await _ask(
        loads,
        [{"begun_ns": begun_ns}] * len(loads),
        workload.tail_s + workload.drain_s + SLACK_S,
    )
    passed = await server.line.ask({"counts": True}, SLACK_S) if server.line else {}
    done_s = max(one["at_s"] for one in done)
    joined_s = max(one["at_s"] for one in here)
    ends = [["join", joined_s], ["wait", start_ns / 1e9], ["steady", done_s]]
    # Before anyone leaves: that would answer polls which nothing has answered in this window.
    windows, segments = await _account(tap, ends) if tap else ({}, None)
    await _ask(loads, [{"end": True}] * len(loads), SLACK_S)
    if tap:
        whole, segments = await _account(tap, [*ends, ["leave", None]])
        windows["leave"] = whole["leave"]
    return Run(
        workload=workload.name,
        variant=plan.variant,
        kind=plan.kind,
        number=plan.number,
        started_at=started_at,
        window_s=window_s,
        steady_s=done_s - start_ns / 1e9,
        outcome=_outcome(done),
        server=use,
        others_cpu=others_cpu,
        log=list(server.process.log) if server.process else [],
        windows=windows,
        segments=segments,
        passed=msgspec.convert(passed, dict[str, Passed]),
        **(_predicted(plan, windows["steady"], start_ns / 1e9, joined_s) if tap else {}),
    )


async def _ask(
    loads: Sequence[Child], commands: Sequence[Any], within_s: float
) -> list[dict[str, Any]]:
    for load, command in zip(loads, commands, strict=True):
        load.tell(msgspec.to_builtins(command))
    return [await load.hear(within_s) for load in loads]


def _start_ns(plan: Plan) -> int:
    """When the window begins: soon, after the warm-up.

    For bytes at a multiple of the polling interval, so that it is known who polls when in it.
    """
    if plan.kind == "latency":
        return monotonic_ns() + round((LEAD_S + plan.workload.warmup_s) * 1e9)
    soon_s = monotonic_ns() / 1e9 + LEAD_S
    interval_s = Settings(**plan.workload.settings).interval_s
    return round(math.ceil(soon_s / interval_s) * interval_s * 1e9)


def _outcome(done: Sequence[dict[str, Any]]) -> Outcome:
    """What the generators saw; each must have seen every message at the same offset."""
    outcome = together([msgspec.convert(one["outcome"], Outcome) for one in done])
    offsets: dict[str, int] = {}
    for one in done:
        for index, offset in one["offsets"].items():
            if offsets.setdefault(index, offset) != offset:
                outcome.wrong.append(f"message {index}: not at one offset everywhere")
    return outcome


async def _account(
    tap: Child, ends: Sequence[Sequence[Any]]
) -> tuple[dict[str, Traffic], Segments | None]:
    """What passed in each window, by layer and phase."""
    answer = await tap.ask({"account": ends}, 4 * SLACK_S)
    windows = msgspec.convert(answer["windows"], dict[str, Traffic])
    return windows, msgspec.convert(answer["segments"], Segments | None)


def _predicted(plan: Plan, steady: Traffic, start_s: float, joined_s: float) -> dict[str, Any]:
    """What the closed form says of a run; nothing where there is none."""
    known = plan.variant in VARIANTS and plan.dialect == "spec"
    if not known or not plan.workload.keep_alive:
        return {}
    found = predict(
        _light(plan.workload),
        plan.variant,
        schedule(plan.workload, plan.seed, plan.number),
        heads.find(plan.workload.headers),
        phases(plan.workload, plan.seed, plan.number),
        start_s=start_s if VARIANTS[plan.variant][0] == "polling" else None,
        age_s=start_s - joined_s,
    )
    if found is None:
        return {}
    each = {name: getattr(found, f"per_{name}") for name in EACH}
    causes = [each.sentence for each in difference(found, steady)]
    return {"predicted": found.cells, "predicted_each": each, "causes": causes}


def _light(workload: Workload) -> Workload:
    """The same crowd for counting bytes: those of light clients are the same, and they keep time.

    The readable ones are there for latency.
    """
    return workload.but(probes=0)


def _job(plan: Plan, url: str, which: int, rtt_s: float) -> Job:
    only_light = plan.kind == "bytes" or plan.dialect == "lesson"
    return Job(
        plan.variant,
        url,
        _light(plan.workload) if only_light else plan.workload,
        plan.seed,
        plan.number,
        plan.kind == "bytes",
        which,
        plan.generators,
        plan.dialect,
        rtt_s,
    )
