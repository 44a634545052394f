"""From runs to statistics, and what to doubt in them.

A run is the unit. Percentiles come from the histograms of all runs added together, for the mean
of two p99 is the p99 of nothing; how far they can be trusted comes from the runs' own figures
side by side (labs/bench/intervals.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from labs.bench.cells import count
from labs.bench.intervals import RUNS_LEAST, Interval, interval
from labs.bench.record import MISSED_MS, merged
from labs.bench.results import Result, Run
from labs.bench.workload import Workload
from labs.net.checking import doubts
from labs.net.line import LATE_MS, Passed
from labs.net.network import Network
from labs.net.shaping import Shaping

SETTLED = 0.05  # either side of the median: an interval this narrow needs no more runs
SETTLED_RUNS = 8  # ... but so many it needs: stopping at the first narrow one is too sure
OVER = 1.1  # times the budget: a little more is the end of a run on a busy machine
GENERATOR_LIMIT = 0.85  # of a core: past this the generator, not the server, sets the pace
LAG_LIMIT = 0.15  # of the p50: past this a latency is the generator's own lateness too much
OTHERS_LIMIT = 0.25  # cores taken by other programs: past this a latency is doubtful
SPREAD_LIMIT = 0.25  # either side of the median: past this an interval is wide
INDEPENDENT_LEAST = 100  # moments of sending: of fewer, p99 is the worst of them
STEADY_GOVERNORS = ("", "performance")  # with others the kernel changes the clock rate (Linux)


@dataclass(frozen=True)
class Latency:
    """Percentiles in milliseconds, of `count` deliveries."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    count: int


def latency(encoded: Iterable[str]) -> Latency | None:
    """The percentiles of packed histograms together, None if there is nothing in them."""
    return _latency(tuple(encoded))


@lru_cache(maxsize=4_096)
def _latency(encoded: tuple[str, ...]) -> Latency | None:
    total = merged(encoded)
    if not total.get_total_count():
        return None
    p50, p95, p99 = (total.get_value_at_percentile(q) / 1_000 for q in (50, 95, 99))
    return Latency(p50, p95, p99, total.get_max_value() / 1_000, total.get_total_count())


def of_each(runs: Iterable[Run], read: Callable[[Latency], float]) -> list[float]:
    """A percentile of each latency run that has one, in milliseconds; wrong fates give none."""
    taken = [
        latency([run.outcome.corrected]) for run in runs if run.kind == "latency" and run.valid
    ]
    return [read(found) for found in taken if found]


def p50_interval(runs: Sequence[Run]) -> Interval | None:
    """The interval of the median of the runs' p50, in milliseconds; None for too few runs."""
    return interval(of_each(runs, lambda found: found.p50_ms))


def settled(runs: Sequence[Run]) -> bool:
    """Whether more runs of this variant and workload would change little.

    True where the interval of the median of at least eight runs' p50 lies within 5 % of that
    median, on either side.
    """
    return narrow(p50_interval(runs))


def narrow(found: Interval | None) -> bool:
    """The rule itself, of an interval by order statistics: whether it may end the runs.

    To stop at the first interval that is narrow is to stop at one that may be so by chance: it
    holds the true median less often than one of a number of runs fixed beforehand. `HELD`
    in labs/bench/sureness.py says how often; a test simulates it.
    """
    return found is not None and found.n >= SETTLED_RUNS and found.within <= SETTLED


def why_stopped(runs: Sequence[Run]) -> str:
    """Why no more latency runs were made of one variant under one workload, in words."""
    found = p50_interval(runs)
    if found is None:
        return "the time budget ended (too few runs for an interval)"
    if settled(runs):
        return f"within {SETTLED:.0%}".replace("%", " %")
    return f"the time budget ended (± {found.within * 100:.1f} %)"


def warnings(result: Result) -> list[str]:
    """What a careful reader should know before believing the tables, the worst first."""
    said = list(_network(result.shaping))
    said += [result.ended] if result.ended else []
    said += [_wrong(run) for run in result.runs if not run.valid]
    said += _over_budget(result)
    timed = [run for run in result.runs if run.kind == "latency"]
    said += _disturbed(timed)
    said += _shaped(result.shaping, timed)
    said += _clock_rate(result.machine.governor)
    for workload in result.workloads:
        said += [f"{workload.name}: {doubt}" for doubt in _thin(result, workload)]
        for variant in result.variants:
            runs = result.of(workload.name, variant)
            said += [f"{variant}, {workload.name}: {doubt}" for doubt in _doubts(workload, runs)]
    return said


def _wrong(run: Run) -> str:
    what = "; ".join(run.outcome.wrong[:3])
    more = "; ..." if len(run.outcome.wrong) > 3 else ""
    so = "The latency of this variant is void."
    if run.kind == "bytes":
        so = "The bytes are those of a talk that went wrong; do not compare them."
    return f"{run.variant}, {run.workload}, {run.kind} run {run.number}: {what}{more}. {so}"


def _disturbed(timed: Sequence[Run]) -> Iterator[str]:
    disturbed = [run.others_cpu for run in timed if run.others_cpu > OTHERS_LIMIT]
    if disturbed:
        yield (
            f"Latency may be unstable: during {len(disturbed)} of {len(timed)} latency runs other "
            f"programs took up to {max(disturbed):.1f} cores. Close them and measure again."
        )


def _network(shaping: Shaping | None) -> Iterator[str]:
    if shaping and shaping.reason:
        yield fallen_back(shaping.network, shaping.reason)


def fallen_back(network: Network, reason: str) -> str:
    """That a network is played by the lesser of two mechanisms, and why."""
    return (
        f"The network {network.name} is made by a relay, which loses nothing and costs no "
        f"handshake; packets cannot be carried here: {reason}."
    )


def _over_budget(result: Result) -> Iterator[str]:
    if result.budget_s is not None and result.elapsed_s > OVER * result.budget_s:
        why = "" if result.ended else ": the bytes, and one round of latency, are always measured"
        yield (
            f"It took {result.elapsed_s:.0f} s, more than the budget of {result.budget_s:g} s{why}."
        )


def _shaped(shaping: Shaping | None, timed: Sequence[Run]) -> Iterator[str]:
    """Where the network was not the one asked for, when it was measured and in the runs."""
    if not shaping:
        return
    name = shaping.network.name
    yield from (f"The network {name} is not as asked for: {doubt}." for doubt in doubts(shaping))
    slow = [run for run in timed if any(_is_late(way) for way in run.passed.values())]
    if slow:
        most_ms = max(way.late_p99_us for run in slow for way in run.passed.values()) / 1e3
        yield (
            f"The network {name} was not kept up: in {len(slow)} of {len(timed)} latency runs "
            f"more than 1 % of the packets left over {LATE_MS:g} ms late (p99 up to {most_ms:.1f} "
            "ms). The machine was too busy for it."
        )


def _is_late(way: Passed) -> bool:
    return way.late_p99_us > LATE_MS * 1e3


def _clock_rate(governor: str) -> Iterator[str]:
    if governor not in STEADY_GOVERNORS:
        yield (
            f"Latency may be unstable: the kernel changes the processor's clock rate (governor "
            f"{governor}), so that a little load may be answered more slowly than much."
        )


def _thin(result: Result, workload: Workload) -> Iterator[str]:
    """What is true of all variants alike: too few runs, too few moments of sending."""
    timed = [result.of(workload.name, variant, "latency") for variant in result.variants]
    counts = [len(runs) for runs in timed if runs]
    if not counts:
        return
    if min(counts) < RUNS_LEAST:
        yield (
            f"may be unstable: {count(min(counts), 'latency run')} a variant, too few for an "
            "interval"
        )
    each, what = moments(workload)
    if min(counts) * each < INDEPENDENT_LEAST:
        yield (
            f"few independent values: {count(min(counts) * each, what)} a variant. Deliveries "
            "of the same moment are late together, so p99 is that of the worst moments."
        )


def moments(workload: Workload) -> tuple[int, str]:
    """How many independent moments of sending a run has, and what one is called."""
    if workload.arrivals == "burst":
        return workload.messages // workload.burst_messages, "burst"
    return workload.messages, "message"


def _doubts(workload: Workload, runs: Sequence[Run]) -> Iterator[str]:
    timed = [run for run in runs if run.kind == "latency"]
    if any(run.outcome.generator_cpu > GENERATOR_LIMIT for run in runs):
        most = max(run.outcome.generator_cpu for run in runs)
        yield f"the generator was the limit ({most:.0%} of a core)"
    if workload.loop == "open":
        yield from _own_lag([run for run in timed if run.valid])
    late = sum(run.outcome.missed_ticks for run in timed)
    # In a closed loop a sender is late because it waits for the server, and the table shows it.
    if late and workload.loop == "open":
        most_ms = max(run.outcome.lag_most_ms for run in timed)
        asked = workload.messages * len(timed)
        yield (
            f"{late} of {asked} messages were begun more than {MISSED_MS:g} ms late "
            f"(at most {most_ms:.0f} ms): their latency holds the generator's delay"
        )
    refused = sum(run.outcome.refused for run in runs)
    if refused:
        were = _were(refused)
        yield f"{count(refused, 'send')} {were} refused (rate_limited) and said again later"
    skipped = sum(run.outcome.missed_polls for run in runs)
    if skipped:
        were = _were(skipped)
        yield f"{count(skipped, 'poll')} {were} skipped because the one before was still open"
    recovered = sum(run.outcome.fates.get("recovered", 0) for run in runs)
    if recovered and workload.cut_at_s is None:
        yield f"{recovered} deliveries were on their way while their client had no connection"
    yield from _spread(timed)
    logged = [line for run in runs for line in run.log]
    if logged:
        yield f"the server logged {len(logged)} lines, the last: {logged[-1][:160]}"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _own_lag(timed: Sequence[Run]) -> Iterator[str]:
    """Of many messages at one instant the last waits for the generator, however idle that is."""
    meant = latency(run.outcome.corrected for run in timed)
    begun = latency(run.outcome.uncorrected for run in timed)
    if meant and begun and meant.p50_ms - begun.p50_ms > LAG_LIMIT * meant.p50_ms:
        own_ms = meant.p50_ms - begun.p50_ms
        yield (
            f"the generator was the limit: its own lateness is {own_ms:.3g} of the "
            f"{meant.p50_ms:.3g} ms of the p50 ({own_ms / meant.p50_ms:.0%})"
        )


def _spread(timed: Sequence[Run]) -> Iterator[str]:
    medians = of_each(timed, lambda found: found.p50_ms)
    found = interval(medians)
    if found and found.within > SPREAD_LIMIT:
        yield (
            f"may be unstable: the median of its {found.n} runs' p50 lies between "
            f"{found.low:.3g} and {found.high:.3g} ms"
        )
    elif not found and len(medians) > 1 and max(medians) > (1 + SPREAD_LIMIT) * min(medians):
        each = ", ".join(f"{ms:.3g}" for ms in medians)
        yield f"may be unstable: the p50 of its runs are {each} ms"
