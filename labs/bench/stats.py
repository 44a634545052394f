"""From runs to figures: what is said of one variant under one workload, and what to doubt.

A run is the unit. Scalars are medians over runs; percentiles come from all runs' histograms
added together, for the mean of two p99 is the p99 of nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from hdrh.histogram import HdrHistogram

from labs.bench.record import FATES, MISSED_MS, histogram, unpacked
from labs.bench.results import Result, Run
from labs.bench.workload import Workload
from labs.wire.tap import Traffic

GENERATOR_LIMIT = 0.85  # of a core: past this the generator, not the server, sets the pace
OTHERS_LIMIT = 0.25  # cores taken by other programs: past this a latency is doubtful
SPREAD_LIMIT = 1.25  # the largest p50 of a variant's runs by the smallest


@dataclass(frozen=True)
class Latency:
    """Percentiles in milliseconds, of `count` deliveries."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    count: int


@dataclass(frozen=True)
class Summary:
    """One column of a table. A latency is None where none was taken, or none can be trusted."""

    workload: Workload
    variant: str
    byte_runs: int
    latency_runs: int
    messages: int
    fates: dict[str, int]
    joining: Traffic
    steady: Traffic
    steady_s: float
    text_bytes: int
    corrected: Latency | None
    uncorrected: Latency | None
    cpu: float
    memory_bytes: float

    def per_client(self, amount: float) -> float:
        """An amount of the whole room, for each client."""
        return amount / self.workload.clients

    def per_minute(self, amount: float) -> float:
        """An amount of the steady phase, for each client and minute."""
        return self.per_client(amount) * 60 / self.steady_s

    def per_delivery(self, amount: float) -> float:
        """An amount of the steady phase, for each message at each client."""
        return amount / self.workload.deliveries

    @property
    def overhead(self) -> float:
        """Bytes on the wire, both ways, by bytes of text delivered."""
        return self.steady.both / self.text_bytes


def summary(result: Result, workload: Workload, variant: str) -> Summary | None:
    """What is said of one variant, None if its bytes, which come first, were not counted."""
    runs = result.of(workload.name, variant)
    tapped = [run for run in runs if run.kind == "bytes"]
    timed = [run for run in runs if run.kind == "latency"]
    if not tapped:
        return None
    used = [run.server for run in timed or tapped]
    latencies = timed if all(run.valid for run in timed) else []
    return Summary(
        workload=workload,
        variant=variant,
        byte_runs=len(tapped),
        latency_runs=len(timed),
        messages=workload.messages * len(runs),
        fates={fate: sum(run.outcome.fates.get(fate, 0) for run in runs) for fate in FATES},
        joining=_traffic(tapped, "join"),
        steady=_traffic(tapped, "steady"),
        steady_s=median(run.steady_s for run in tapped),
        text_bytes=_text_bytes(workload, tapped),
        corrected=latency(run.outcome.corrected for run in latencies),
        uncorrected=latency(run.outcome.uncorrected for run in latencies),
        cpu=median(use.cpu for use in used),
        memory_bytes=median(use.full_bytes for use in used),
    )


def merged(encoded: Iterable[str]) -> HdrHistogram:
    """Histograms of several runs as one."""
    total = histogram()
    for each in encoded:
        total.add(unpacked(each))
    return total


def latency(encoded: Iterable[str]) -> Latency | None:
    """The percentiles of several runs together, None if there is nothing in them."""
    total = merged(encoded)
    if not total.get_total_count():
        return None
    p50, p95, p99 = (total.get_value_at_percentile(q) / 1_000 for q in (50, 95, 99))
    return Latency(p50, p95, p99, total.get_max_value() / 1_000, total.get_total_count())


def warnings(result: Result) -> list[str]:
    """What a careful reader should know before believing the tables, the worst first."""
    said = [result.ended] if result.ended else []
    said += [_wrong(run) for run in result.runs if not run.valid]
    said += _disturbed([run for run in result.runs if run.kind == "latency"])
    for workload in result.workloads:
        for variant in result.variants:
            runs = result.of(workload.name, variant)
            said += [f"{variant}, {workload.name}: {doubt}" for doubt in _doubts(workload, runs)]
    return said


def _disturbed(timed: Sequence[Run]) -> Iterable[str]:
    disturbed = [run.others_cpu for run in timed if run.others_cpu > OTHERS_LIMIT]
    if disturbed:
        yield (
            f"Latency may be unstable: during {len(disturbed)} of {len(timed)} latency runs other "
            f"programs took up to {max(disturbed):.1f} cores. Close them and measure again."
        )


def _wrong(run: Run) -> str:
    what = "; ".join(run.outcome.wrong[:3])
    more = "; ..." if len(run.outcome.wrong) > 3 else ""
    return (
        f"{run.variant}, {run.workload}, {run.kind} run {run.number}: {what}{more}. "
        "The latency of this variant is void."
    )


def _doubts(workload: Workload, runs: Sequence[Run]) -> Iterable[str]:
    timed = [run for run in runs if run.kind == "latency"]
    if any(run.outcome.generator_cpu > GENERATOR_LIMIT for run in runs):
        most = max(run.outcome.generator_cpu for run in runs)
        yield f"the generator was the limit ({most:.0%} of a core)"
    late = sum(run.outcome.missed_ticks for run in timed)
    if late:
        most_ms = max(run.outcome.lag_most_ms for run in timed)
        asked = workload.messages * len(timed)
        yield (
            f"{late} of {asked} messages were begun more than {MISSED_MS:g} ms late "
            f"(at most {most_ms:.0f} ms): their latency holds the generator's delay"
        )
    recovered = sum(run.outcome.fates.get("recovered", 0) for run in runs)
    if recovered:
        yield f"{recovered} deliveries came after a broken connection was resumed"
    yield from _spread(timed)
    logged = [line for run in runs for line in run.log]
    if logged:
        yield f"the server logged {len(logged)} lines, the last: {logged[-1][:160]}"


def _spread(timed: Sequence[Run]) -> Iterable[str]:
    medians = [
        found.p50_ms for run in timed if run.valid and (found := latency([run.outcome.corrected]))
    ]
    if len(medians) > 1 and max(medians) > SPREAD_LIMIT * min(medians):
        each = ", ".join(f"{ms:.3g}" for ms in medians)
        yield f"may be unstable: the p50 of its runs are {each} ms"


def _traffic(runs: Sequence[Run], phase: str) -> Traffic:
    each = [run.phases[phase] for run in runs]
    return Traffic(
        round(median(one.connections for one in each)),
        round(median(one.requests for one in each)),
        round(median(one.up for one in each)),
        round(median(one.down for one in each)),
    )


def _text_bytes(workload: Workload, runs: Sequence[Run]) -> int:
    return round(median(run.outcome.text_bytes for run in runs)) * workload.clients
