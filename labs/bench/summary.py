"""What is said of one variant under one workload: a column of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from labs.bench.intervals import Interval, Ratio, ratio
from labs.bench.record import FATES
from labs.bench.results import Result, Run
from labs.bench.stats import Latency, latency, of_each, p50_interval
from labs.bench.workload import Workload
from labs.wire.traffic import LAYERS, Segments, Traffic

CROWD_LEAST = 100  # connections: memory grows in steps, so that of fewer the share of one is
GROWTH_LEAST = 2_000_000  # ... as little known as that of a growth below this, in bytes
HALF_A_BYTE = 0.5  # a prediction of what varies is a mean, and seldom whole


@dataclass(frozen=True)
class ServerFigures:
    """A server's CPU in each run, in cores; its memory, in the median of the runs, in bytes.

    `connection_bytes` is the growth for each client, None where that says too little.
    """

    cpus: list[float]
    memory_bytes: float | None
    connection_bytes: float | None

    @property
    def cpu(self) -> float | None:
        """The median of the runs, in cores; None where the server is not ours to look into."""
        return median(self.cpus) if self.cpus else None


@dataclass(frozen=True)
class Summary:
    """One column of a table. What was not taken, or cannot be trusted, is None.

    Bytes, requests and segments are those of one run: of several, the one with the median
    number of bytes, so that the parts are those of the whole. `predicted_each` is of one handshake,
    message, delivery and idle minute, both ways. `against` compares the p50 with
    that of the fastest variant, or of a baseline, which itself has a ratio of 1 and no interval.
    `unsent` are the messages of a closed loop whose turn never came; an open one has none.
    """

    workload: Workload
    variant: str
    byte_runs: int
    latency_runs: int
    void: bool  # a wrong fate in one of them forbids to speak of their latency
    messages: int
    unsent: int | None
    fates: dict[str, int]
    deliveries: int
    joining: Traffic
    steady: Traffic
    whole: Traffic
    steady_s: float
    text_bytes: int
    segments: Segments | None
    predicted: dict[str, float]
    predicted_each: dict[str, float]
    reasons: list[str]  # why what was measured differs, the largest difference first
    corrected: Latency | None
    uncorrected: Latency | None
    probes: Latency | None
    back: Latency | None
    p50s: list[float]
    interval: Interval | None
    against: Ratio | None
    server: ServerFigures

    def per_client(self, amount: float) -> float:
        """An amount of the whole crowd, for each client."""
        return amount / self.workload.clients

    def per_minute(self, amount: float) -> float:
        """An amount of the window, for each client and minute."""
        return self.per_client(amount) * 60 / self.steady_s

    def per_delivery(self, amount: float) -> float | None:
        """An amount of the window, for each message at each client; None if nothing came."""
        return amount / self.deliveries if self.deliveries else None

    @property
    def overhead(self) -> float | None:
        """Bytes on the wire, both ways, by bytes of text delivered."""
        return self.steady.both / self.text_bytes if self.text_bytes else None

    @property
    def difference(self) -> float | None:
        """Bytes measured in the window less those predicted; None without a prediction."""
        return self.steady.both - sum(self.predicted.values()) if self.predicted else None

    @property
    def causes(self) -> dict[str, float]:
        """The layers that differ from the prediction, as `up/http_head`, and by how many bytes."""
        found: dict[str, float] = {}
        if not self.predicted:
            return found
        for key in sorted(set(self.steady.cells) | set(self.predicted), key=_by_layer):
            way = key.rpartition("/")[0]
            gone = self.steady.cells.get(key, 0) - self.predicted.get(key, 0)
            found[way] = found.get(way, 0) + gone
        return {way: gone for way, gone in found.items() if abs(gone) >= HALF_A_BYTE}


def summaries(result: Result, workload: Workload, baseline: str = "") -> list[Summary]:
    """The variants that were run under a workload, in their order.

    Latency is compared with `baseline`'s, or with the fastest one's. The fastest is chosen by the
    same figures, so it looks a little faster than it is, and the ratios to it a little larger.
    """
    found = [each for name in result.variants if (each := summary(result, workload, name))]
    timed = [each for each in found if each.p50s]
    chosen = [each for each in timed if each.variant == baseline] or sorted(
        timed, key=lambda each: median(each.p50s)
    )
    if not chosen:
        return found
    return [replace(each, against=_against(each, chosen[0])) for each in found]


def _against(column: Summary, base: Summary) -> Ratio | None:
    """The ratio to the base; that of the base to itself is known, so it has no interval."""
    found = ratio(column.p50s, base.p50s)
    if found and column.variant == base.variant:
        return replace(found, low=None, high=None, delta=None)
    return found


def summary(result: Result, workload: Workload, variant: str) -> Summary | None:
    """What is said of one variant, None if its bytes, which come first, were not counted."""
    runs = result.of(workload.name, variant)
    tapped = [run for run in runs if run.kind == "bytes"]
    timed = [run for run in runs if run.kind == "latency"]
    if not tapped:
        return None
    void = not all(run.valid for run in timed)
    trusted = [] if void else timed
    typical = _typical(tapped)
    return Summary(
        workload=workload,
        variant=variant,
        byte_runs=len(tapped),
        latency_runs=len(timed),
        void=void,
        messages=sum(_messages(workload, run) for run in runs),
        unsent=sum(run.outcome.unsent for run in runs) if workload.loop == "closed" else None,
        fates={fate: sum(run.outcome.fates.get(fate, 0) for run in runs) for fate in FATES},
        deliveries=delivered(typical),
        joining=_window(typical, "join") + _window(typical, "wait"),
        steady=_window(typical, "steady"),
        whole=sum(typical.windows.values(), Traffic()),
        steady_s=typical.steady_s,
        text_bytes=typical.outcome.text_bytes,
        segments=typical.segments,
        predicted=typical.predicted,
        predicted_each={
            name: sum(cells.values()) for name, cells in typical.predicted_each.items()
        },
        reasons=typical.causes,
        corrected=latency(run.outcome.corrected for run in trusted),
        uncorrected=latency(run.outcome.uncorrected for run in trusted),
        probes=latency(run.outcome.probes for run in trusted),
        back=latency(run.outcome.back for run in trusted),
        p50s=of_each(trusted, lambda found: found.p50_ms),
        interval=p50_interval(trusted),
        against=None,
        server=_server(timed or tapped, workload),
    )


def scheduled(workload: Workload, shown: Sequence[Summary]) -> bool:
    """Whether messages had moments of their own, or only followed the answers to others."""
    return workload.loop == "open" or any(column.uncorrected for column in shown)


def delivered(run: Run) -> int:
    """How many messages reached a client in a run."""
    return sum(run.outcome.fates.values()) - run.outcome.fates.get("lost", 0)


def _typical(runs: Sequence[Run]) -> Run:
    ordered = sorted(runs, key=lambda run: _window(run, "steady").both)
    return ordered[(len(ordered) - 1) // 2]


def _window(run: Run, name: str) -> Traffic:
    return run.windows.get(name, Traffic())


def _messages(workload: Workload, run: Run) -> int:
    steady = workload.arrivals in ("constant", "poisson")
    warm = workload.rate_per_s * workload.warmup_s if run.kind == "latency" and steady else 0
    return workload.messages + round(warm) - run.outcome.unsent - run.outcome.skipped


def _server(runs: Sequence[Run], workload: Workload) -> ServerFigures:
    used = [run.server for run in runs if run.server]
    if not used:
        return ServerFigures([], None, None)
    growth = median(use.full_bytes - use.empty_bytes for use in used)
    tells = workload.clients >= CROWD_LEAST and growth >= GROWTH_LEAST
    return ServerFigures(
        cpus=[use.cpu for use in used],
        memory_bytes=median(use.full_bytes for use in used),
        connection_bytes=growth / workload.clients if tells else None,
    )


def _by_layer(key: str) -> tuple[str, int]:
    direction, layer, _ = key.split("/")
    return direction, -LAYERS.index(layer)
