"""How sure the latencies are: how many runs, why no more, and how far apart the variants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from labs.bench.cells import NOTHING, count, number, short, span
from labs.bench.intervals import EXACT_LEAST, RUNS_LEAST
from labs.bench.results import Result
from labs.bench.stats import SETTLED, SETTLED_RUNS, settled, why_stopped
from labs.bench.summary import Summary, summaries
from labs.bench.workload import Workload

Lines = Iterator[tuple[str, str]]

MISSES = {
    3: ("one time in four", "넷에 한 번"),
    4: ("one time in eight", "여덟에 한 번"),
    5: ("one time in sixteen", "열여섯에 한 번"),
}
"""How often the bootstrap interval of so few runs misses. It is from the least to the greatest,
so it misses where all n lie on one side of the median: 2 times in 2**n. A test counts it too."""

HELD_RUNS = 20
HELD = {3: 98, 6: 94, 10: 82}
"""Of 100 intervals at which the rule of `settled` ended the runs, how many hold the true median.

By the scatter of the runs' p50 (the standard deviation of its logarithm, in percent), for at most
`HELD_RUNS` runs; a test simulates it.
"""


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
    "From-to: 95 % intervals over runs, of a median by order statistics (of fewer than six runs by "
    "the bootstrap), of a ratio by the bootstrap. The fastest is chosen from the same figures and "
    "has no interval of its own. Cliff's delta, against the fastest: 1 if every "
    "run was slower than every one of the fastest; below 0.147 in size it is called negligible, "
    "below 0.33 small, below 0.474 medium, else large.",
    "실행별 p50: 실행마다의 p50의 중앙값(표의 p50은 모든 전달을 합친 것). 구간: 실행들에 대한 95 % "
    "구간. 중앙값은 순서 통계량(여섯 번보다 적으면 부트스트랩), 배수는 부트스트랩. 가장 빠른 것은 "
    "같은 값으로 고른 것이며 자기 구간이 없다. Cliff's delta: 모든 실행이 가장 빠른 방식의 모든 "
    "실행보다 느리면 1.",
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


def intervals(shown: Sequence[Summary]) -> Lines:
    """What the intervals of a table are, and how often they miss: English, Korean."""
    counts = [len(column.p50s) for column in shown if column.p50s]
    if not counts:
        return
    if min(counts) < RUNS_LEAST:
        yield (
            f"Intervals: none, for {count(min(counts), 'run')} a variant are too few.",
            f"구간: 없음. 방식마다 실행 {min(counts)}회는 너무 적다.",
        )
        return
    kind, kind_ko = _kind(counts)
    yield (
        f"From-to: interval of the median over {_range(counts)} runs, {kind}. x fastest: ratio of "
        "the medians of runs, its interval by the bootstrap; it differs from 1 where that leaves "
        "out 1. The fastest is chosen from the same figures, so it looks a little faster than it "
        "is, and has no interval of its own.",
        f"구간: 실행 {_range(counts)}회의 중앙값의 구간, {kind_ko}. 배수: 실행 중앙값의 비, 구간은 "
        "부트스트랩. 그 구간이 1을 벗어나야 다르다. 가장 빠른 것은 같은 값으로 고른 것이라 "
        "실제보다 조금 더 빨라 보이며, 자기 구간이 없다.",
    )


def _kind(counts: Sequence[int]) -> tuple[str, str]:
    """How the intervals of so many runs were found, and how sure they are."""
    exact = (
        "by order statistics (at least 95 in 100 hold the true one)",
        "순서 통계량으로(100번에 95번 이상 참값을 담는다)",
    )
    if min(counts) >= EXACT_LEAST:
        return exact
    misses, misses_ko = MISSES[min(counts)]
    few = (
        f"95 % by the percentile bootstrap (of so few it misses the true one {misses})",
        f"95 % 부트스트랩(백분위 방식. 이렇게 적으면 참값을 {misses_ko} 놓친다)",
    )
    if max(counts) < EXACT_LEAST:
        return few
    return (
        f"from {EXACT_LEAST} on {exact[0]}, below {few[0]}",
        f"{EXACT_LEAST}회부터는 {exact[1]}, 그보다 적으면 {few[1]}",
    )


def stopping(result: Result, workload: Workload, shown: Sequence[Summary]) -> Lines:
    """What it costs to stop where an interval happens to be narrow, if any was."""
    if not any(settled(result.of(workload.name, column.variant)) for column in shown):
        return
    scatter, held = ", ".join(f"{each} %" for each in HELD), ", ".join(map(str, HELD.values()))
    yield (
        f"Runs ended when every interval lay within {SETTLED * 100:g} %, after {SETTLED_RUNS} at "
        "least, or the budget was spent. To stop where one happens to be narrow makes it too "
        f"sure: simulated, for runs that scatter by {scatter}, of 100 that ended so {held} hold "
        f"the true median (at most {HELD_RUNS} runs).",
        f"실행은 {SETTLED_RUNS}회 이상, 모든 구간이 {SETTLED * 100:g} % 안에 들거나 시간이 다하면 "
        "끝난다. 우연히 좁은 곳에서 멈추므로 구간은 너무 자신한다. 모의실험에서 실행이 "
        f"{scatter}로 흩어질 때, 그렇게 끝난 100개 가운데 참값을 담은 것은 {held}개(실행 "
        f"{HELD_RUNS}회까지).",
    )


def _range(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"
