"""Measuring what servers cost, here and now, in some seconds.

Two kinds of load, so that two costs can be told apart: a crowd that listens to one, and pairs that
talk a great deal. Both at one server, one after the other; memory is of the first crowd it has.
All servers are measured at once: CPU time is counted, not waited for, though what they take from
each other's caches is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

import msgspec

from labs.advise.costs import Costs, fitted
from labs.bench.others import busy_s
from labs.bench.results import Run, this_machine
from labs.bench.run import Plan, make, serving
from labs.bench.workload import Workload
from labs.errors import LabError
from labs.wire.control import child, together

SEED = 1
ROUNDS = 3
SETTINGS = {"interval_s": 0.2}

LISTENING = Workload(
    name="listening",
    clients=100,
    senders=1,
    probes=0,
    duration_s=0.5,
    warmup_s=0.0,
    arrivals="constant",
    rate_per_s=20.0,
    settings=SETTINGS,
)
TALKING = Workload(
    name="talking",
    clients=20,
    rooms=10,
    probes=0,
    duration_s=0.5,
    warmup_s=0.0,
    arrivals="constant",
    rate_per_s=300.0,
    settings=SETTINGS,
)


async def tried(names: Sequence[str]) -> Costs:
    """The costs of these transports on this machine, now.

    Raises `LabError` if a message met a wrong fate, or a process ended before its time.
    """
    runs: list[Run] = []
    begun_s, before_s = monotonic(), busy_s()
    await together(*(_rounds(name, runs) for name in names))
    others_cpu = max(0.0, busy_s() - before_s) / (monotonic() - begun_s)
    how = (
        f"measured just now: {ROUNDS} rounds each of {LISTENING.clients} clients that listen and "
        f"{TALKING.clients} that talk, {LISTENING.duration_s:g} s, all servers at once"
    )
    found = fitted(runs, [LISTENING, TALKING], SEED, this_machine(), how)
    return msgspec.structs.replace(found, others_cpu=others_cpu)


async def _rounds(name: str, runs: list[Run]) -> None:
    first = Plan(LISTENING, name, "latency", 1, SEED)
    async with child("the crowd", "labs.bench.load") as crowd, serving(first) as server:
        for number in range(1, ROUNDS + 1):
            for workload in (LISTENING, TALKING):
                plan = Plan(workload, name, "latency", number, SEED)
                run = await make(plan, server, [crowd], _at_once)
                if not run.valid:
                    raise LabError(f"{name}, {workload.name}: {run.outcome.wrong[0]}")
                runs.append(run)


async def _at_once() -> None:
    """A run whose crowd is complete waits for nobody."""
