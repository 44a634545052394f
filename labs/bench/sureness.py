"""How sure the latencies are: how many runs, why no more, and how far apart the variants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from labs.bench.cells import NOTHING, number, short, span
from labs.bench.results import Result
from labs.bench.stats import why_stopped
from labs.bench.summary import Summary, summaries


class Heading(NamedTuple):
    """The words around a table."""

    heads: tuple[str, ...]
    note: str
    note_ko: str


SURE = Heading(
    (
        "",
        "runs",
        "p50 of runs, ms",
        "from-to",
        "more runs ended because",
        "x the fastest",
        "from-to",
        "Cliff's delta",
    ),
    "p50 of runs: the median of the runs' own; the tables have that of all deliveries together. "
    "From-to: 95 % bootstrap intervals over runs. Cliff's delta, against the fastest: 1 if every "
    "run was slower than every one of the fastest; below 0.147 in size it is called negligible, "
    "below 0.33 small, below 0.474 medium, else large.",
    "실행별 p50: 실행마다의 p50의 중앙값(표의 p50은 모든 전달을 합친 것). 구간: 실행들에 대한 95 % "
    "부트스트랩 구간. Cliff's delta: 모든 실행이 가장 빠른 방식의 모든 실행보다 느리면 1.",
)


def sureness(result: Result) -> Iterator[tuple[str, ...]]:
    """A row for each workload and variant whose latency was taken; none if no interval is known."""
    if not any(
        column.interval for workload in result.workloads for column in summaries(result, workload)
    ):
        return
    for workload in result.workloads:
        for column in summaries(result, workload):
            if column.p50s:
                runs = result.of(workload.name, column.variant, "latency")
                yield (f"{workload.name}, {column.variant}", *_cells(column, why_stopped(runs)))


def _cells(column: Summary, why: str) -> tuple[str, ...]:
    found, against = column.interval, column.against
    effect = NOTHING
    if against and against.delta is not None:
        effect = f"{number(against.delta, 2)}, {against.size}"
    return (
        str(len(column.p50s)),
        short(found.median) if found else NOTHING,
        span(found.low, found.high) if found else NOTHING,
        why,
        short(against.value) if against else NOTHING,
        span(against.low, against.high) if against else NOTHING,
        effect,
    )
