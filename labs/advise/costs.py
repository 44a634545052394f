"""What a transport costs its server in CPU and memory: fitted to runs, never known beforehand.

The server's CPU time in a run is taken for

    messages sent x a  +  exchanges x b

where an exchange is a batch handed to one client, together with the poll that brings it, or a poll
or heartbeat that brings nothing. Each round of runs has at least two that differ in the ratio of
the two, and gives a and b by least squares, neither below nothing. How many of each a run had is
the closed form's (`labs.bench.prediction`). Memory a connection is what the server's resident
memory grew by, shared by all: it holds what is allocated once, too, and so is too much rather than
too little, the more so the smaller the crowd was.

A cost has the median of its rounds, and the least and the most of them, which is no interval of
any confidence: the rounds are few.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
import numpy as np

from labs.bench import heads
from labs.bench.prediction import Counts, predict
from labs.bench.results import Machine, Result, Run, load
from labs.bench.schedule import schedule
from labs.bench.workload import Workload
from labs.errors import LabError

STEADY = ("constant", "poisson")  # arrivals that warm up


class Range(NamedTuple):
    """A figure of several rounds: the least, the median, the most."""

    low: float
    middle: float
    high: float

    def times(self, factor: float) -> Range:
        """Each of the three, so many times."""
        return Range(self.low * factor, self.middle * factor, self.high * factor)

    def plus(self, other: Range) -> Range:
        """Sums of the three."""
        return Range(*(one + more for one, more in zip(self, other, strict=True)))


class Cost(msgspec.Struct, frozen=True):
    """One transport's: CPU seconds a message sent and an exchange, bytes a connection.

    `rounds` is how many gave it, `clients` and `exchanges_per_s` the most it was measured with.
    """

    sent_s: Range
    exchange_s: Range
    connection_bytes: Range
    rounds: int
    clients: int
    exchanges_per_s: float


class Costs(msgspec.Struct, frozen=True):
    """Costs by transport, the machine they were measured on, and how they were come by.

    `others_cpu` are the cores that other programs took meanwhile, where they were measured now.
    """

    each: dict[str, Cost]
    machine: Machine
    how: str
    others_cpu: float = 0.0


class Work(NamedTuple):
    """What a server did in a run."""

    sent: float
    exchanges: float
    cpu_s: float
    window_s: float


def fitted(
    runs: Sequence[Run], workloads: Sequence[Workload], seed: int, machine: Machine, how: str
) -> Costs:
    """The costs that runs of these workloads show; transports of which too little is known are out.

    Raises `LabError` where none is left.
    """
    by_name = {workload.name: workload for workload in workloads}
    groups: defaultdict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.server is not None and run.valid:
            groups[run.variant].append(run)
    found = {variant: _cost(each, by_name, seed) for variant, each in groups.items()}
    each = {variant: cost for variant, cost in found.items() if cost}
    if not each:
        raise LabError(
            f"{how}: there are no two kinds of load to tell costs from; measure with labs bench"
        )
    return Costs(each, machine, how)


def of_file(path: Path) -> Costs:
    """Those of a result of `labs bench`; raises `LabError`."""
    result: Result = load(path)
    how = f"from {path.name} of {result.made_at}"
    return fitted(result.runs, result.workloads, result.seed, result.machine, how)


def _cost(runs: Sequence[Run], workloads: dict[str, Workload], seed: int) -> Cost | None:
    rounds: defaultdict[int, list[Work]] = defaultdict(list)
    for run in runs:
        if work := _work(run, workloads[run.workload], seed):
            rounds[run.number].append(work)
    solved = [pair for works in rounds.values() if (pair := solve(works))]
    if not solved:
        return None
    most, first = (
        max(workloads[run.workload].clients for run in runs),
        min(run.number for run in runs),
    )
    grown = [
        (run.server.full_bytes - run.server.empty_bytes) / most
        for run in runs
        # A server that had a crowd in an earlier round has its memory still.
        if run.server and workloads[run.workload].clients == most and run.number == first
    ]
    return Cost(
        ranged(sent for sent, _ in solved),
        ranged(exchange for _, exchange in solved),
        ranged(grown),
        len(solved),
        most,
        max(work.exchanges / work.window_s for works in rounds.values() for work in works),
    )


def ranged(values: Iterable[float]) -> Range:
    """The least, the median and the most."""
    each = sorted(values)
    return Range(each[0], median(each), each[-1])


def solve(works: Sequence[Work]) -> tuple[float, float] | None:
    """CPU seconds a message sent and an exchange; None where the runs cannot tell them apart."""
    counts = np.array([[work.sent, work.exchanges] for work in works])
    spent_s = np.array([work.cpu_s for work in works])
    if len(works) < 2 or np.linalg.matrix_rank(counts) < 2:
        return None
    sent_s, exchange_s = np.linalg.lstsq(counts, spent_s, rcond=None)[0]
    if sent_s >= 0 and exchange_s >= 0:
        return float(sent_s), float(exchange_s)
    # The best without a negative one lies on an edge: one of them is nothing.
    only = [float(column @ spent_s / (column @ column)) for column in counts.T]
    return (only[0], 0.0) if exchange_s < 0 else (0.0, only[1])


def _work(run: Run, workload: Workload, seed: int) -> Work | None:
    counts = _counts(_Key(workload), run.variant, seed, run.number)
    if counts is None or run.server is None:
        return None
    warmup_s = workload.warmup_s if run.kind == "latency" and workload.arrivals in STEADY else 0.0
    longer = 1 + warmup_s / workload.duration_s
    kept_alive = counts.heartbeats * run.window_s / workload.duration_s
    return Work(
        counts.messages * longer,
        counts.batches * longer + kept_alive,
        run.server.cpu * run.window_s,
        run.window_s,
    )


class _Key:
    """A workload that can be looked up: settings are a dict, which has no hash."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload

    def __hash__(self) -> int:
        return hash(self.workload.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.workload == other.workload


@lru_cache(maxsize=1_024)
def _counts(key: _Key, variant: str, seed: int, number: int) -> Counts | None:
    """What happens while the schedule lasts; None where there is no closed form."""
    workload = key.workload.but(tail_s=0.0, probes=0)
    ticks = schedule(key.workload, seed, number)
    found = predict(workload, variant, ticks, heads.find(workload.headers))
    return found.counts if found else None
