"""One run, from the parent's side: a server, a crowd, and for bytes a tap between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil

from labs.bench.load import JOIN_S, Job
from labs.bench.record import Outcome
from labs.bench.results import Kind, Run, ServerUse, now
from labs.bench.workload import Workload
from labs.wire.control import Child, while_alive
from labs.wire.tap import Traffic

START_S = 20.0  # a process may take this long to start on a busy machine
SLACK_S = 15.0  # an answer may take this much longer than its work

Joined = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Plan:
    """Which run to make; `number` chooses the schedule, with the seed."""

    workload: Workload
    variant: str
    kind: Kind
    number: int
    seed: int

    def __str__(self) -> str:
        return f"{self.workload.name}: {self.kind}, {self.variant}, run {self.number}"


class Meter:
    """What a server uses, and what everything else does, between two moments.

    `ours` are the other processes of the run, whose use is not the others'.
    """

    def __init__(self, server: Child, ours: list[Child]) -> None:
        self._server = server
        self._memory = psutil.Process(server.pid).memory_info
        self._ours = [psutil.Process(child.pid) for child in (server, *ours)]
        self._empty_bytes: int = self._memory().rss

    async def begin(self) -> None:
        """The window begins."""
        self._others_s = self._read_others()
        self._begun = await self._server.ask({"use": True})

    async def end(self) -> tuple[ServerUse, float, float]:
        """The window is over: the server's use, the others' in cores, its length in seconds."""
        full_bytes: int = self._memory().rss
        ended = await self._server.ask({"use": True}, SLACK_S)
        others_s = self._read_others() - self._others_s
        window_s = ended["at_s"] - self._begun["at_s"]
        cpu = (ended["cpu_s"] - self._begun["cpu_s"]) / window_s
        return (
            ServerUse(cpu, self._empty_bytes, full_bytes),
            max(0.0, others_s / window_s),
            window_s,
        )

    def _read_others(self) -> float:
        machine = psutil.cpu_times()
        idle_s = machine.idle + getattr(machine, "iowait", 0.0)
        ours_s = sum(sum(process.cpu_times()[:2]) for process in self._ours)
        busy_s: float = sum(machine) - idle_s - ours_s
        return busy_s


@dataclass(frozen=True)
class Server:
    """A server that runs, and where."""

    process: Child
    url: str


@asynccontextmanager
async def serving(plan: Plan) -> AsyncIterator[Server]:
    """The server of a run, in a process of its own, while inside."""
    async with child(f"the {plan.variant} server", "labs.bench.host", plan.variant) as process:
        yield Server(process, (await process.ask(plan.workload.settings, START_S))["url"])


async def make(plan: Plan, server: Server, load: Child, joined: Joined) -> Run:
    """Make a run with a server and a generator that are free.

    `joined` is called when everyone has joined, and may keep the window waiting. Raises
    `ChildDiedError` or another `LabError`.
    """
    if plan.kind == "latency":
        measured = _measure(plan, server.url, load, server.process, None, joined)
        return await while_alive(measured, server.process)
    there = urlsplit(server.url)
    address = str(there.hostname), str(there.port)
    async with child("the tap", "labs.wire.tap", *address) as tap:
        port = (await tap.hear(START_S))["port"]
        url = there._replace(netloc=f"{there.hostname}:{port}").geturl()
        measured = _measure(plan, url, load, server.process, tap, joined)
        return await while_alive(measured, server.process, tap)


@asynccontextmanager
async def child(name: str, module: str, *arguments: str) -> AsyncIterator[Child]:
    """A child process while inside; killed if anything goes wrong, and never left behind."""
    starting = asyncio.create_task(Child.start(name, module, *arguments))
    try:
        yield await asyncio.shield(starting)
    except BaseException:
        (await starting).kill()
        raise
    finally:
        await _stop(await starting)


async def _stop(process: Child) -> None:
    stopping = asyncio.create_task(process.stop())
    try:
        await asyncio.shield(stopping)
    except asyncio.CancelledError:
        process.kill()
        await stopping
        raise


async def _measure(
    plan: Plan,
    url: str,
    load: Child,
    server: Child,
    tap: Child | None,
    joined: Joined,
) -> Run:
    workload, started_at = plan.workload, now()
    meter = Meter(server, [load, tap] if tap else [load])
    here = await load.ask(_job(plan, url), JOIN_S + SLACK_S)
    await joined()
    await meter.begin()
    await load.ask({"go": True}, workload.duration_s + SLACK_S)
    use, others_cpu, window_s = await meter.end()
    done = await load.hear(workload.tail_s + workload.drain_s + SLACK_S)
    await load.ask({"end": True}, SLACK_S)
    ends_s = {"join": here["at_s"], "wait": done["begun_s"], "steady": done["at_s"], "leave": None}
    return Run(
        workload=workload.name,
        variant=plan.variant,
        kind=plan.kind,
        number=plan.number,
        started_at=started_at,
        window_s=window_s,
        steady_s=done["at_s"] - done["begun_s"],
        outcome=msgspec.convert(done["outcome"], Outcome),
        server=use,
        others_cpu=others_cpu,
        log=list(server.log),
        phases=await _phases(tap, ends_s) if tap else {},
    )


async def _phases(tap: Child, ends_s: dict[str, float | None]) -> dict[str, Traffic]:
    """What passed in each phase, by the moments at which they ended."""
    phases = {}
    for name, until_s in ends_s.items():
        answer = await tap.ask({"mark": name, "until_s": until_s})
        phases[name] = msgspec.convert(answer["traffic"], Traffic)
    return phases


def _job(plan: Plan, url: str) -> dict[str, Any]:
    job = Job(plan.variant, url, plan.workload, plan.seed, plan.number, plan.kind == "bytes")
    encoded: dict[str, Any] = msgspec.to_builtins(job)
    return encoded
