"""Results that nobody measured, for tests of what is made of results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labs.bench import results
from labs.bench.record import FATES, SLICES, Outcome, histogram, packed
from labs.bench.results import Kind, Machine, Result, Run, ServerUse
from labs.bench.workload import WORKLOADS, Workload
from labs.wire.traffic import Segments, Traffic

STEADY = {
    "up/http_head/steady": 20_000,
    "up/envelope/steady": 9_000,
    "up/text/steady": 1_000,
    "down/http_head/steady": 50_000,
    "down/envelope/steady": 80_000,
    "down/text/steady": 40_000,
}
JOIN = {"up/http_head/join": 2_000, "down/envelope/join": 4_000}
LEAVE = {"up/http_head/close": 100, "down/http_head/close": 100}
WINDOWS = {
    "join": Traffic(20, 40, JOIN),
    "wait": Traffic(0, 0, {}),
    "steady": Traffic(0, 60, STEADY),
    "leave": Traffic(0, 20, LEAVE),
}
USED = ServerUse(0.25, 40_000_000, 42_000_000)
MACHINE = Machine("A processor", 2, 8_000_000_000, "A system", "Linux 6")


def hdr(*latencies_ms: float, times: int = 1) -> str:
    """A packed histogram of latencies in milliseconds, each so many times."""
    return packed(histogram([round(ms * 1e6) for ms in latencies_ms] * times))


def outcome(wrong: Sequence[str] = (), **changes: Any) -> Outcome:
    """A thousand deliveries that took 2 ms, or 1.9 ms uncorrected, unless changed."""
    given: dict[str, Any] = {
        "fates": {**dict.fromkeys(FATES, 0), "delivered": 1_000 - len(wrong), "lost": len(wrong)},
        "wrong": list(wrong),
        "text_bytes": 40_000,
        "corrected": hdr(2, times=1_000),
        "uncorrected": hdr(1.9, times=1_000),
        "probes": hdr(3, times=250),
        "back": hdr(),
        "timeline": [hdr(2, times=50)] * SLICES,
        "missed_ticks": 0,
        "missed_polls": 0,
        "unsent": 0,
        "lag_most_ms": 0.5,
        "generator_cpu": 0.1,
    }
    return Outcome(**{**given, **changes})


def run(
    kind: Kind,
    number: int = 1,
    *,
    workload: str = "paced",
    variant: str = "polling",
    windows: dict[str, Traffic] | None = None,
    others_cpu: float = 0.0,
    server: ServerUse | None = USED,
    segments: Segments | None = None,
    predicted: dict[str, float] | None = None,
    predicted_each: dict[str, dict[str, float]] | None = None,
    **changes: Any,
) -> Run:
    """One run; the changes are its outcome's."""
    return Run(
        workload=workload,
        variant=variant,
        kind=kind,
        number=number,
        started_at=f"2026-01-01T00:00:{number:02}+00:00",
        window_s=2.0,
        steady_s=3.0,
        outcome=outcome(**changes),
        server=server,
        others_cpu=others_cpu,
        log=[],
        windows=(windows or WINDOWS) if kind == "bytes" else {},
        segments=segments,
        predicted=predicted or {},
        predicted_each=predicted_each or {},
    )


def timed(*latencies_ms: float, **more: Any) -> list[Run]:
    """A latency run for each figure, in which all deliveries took so long."""
    return [
        run("latency", number, corrected=hdr(ms, times=1_000), **more)
        for number, ms in enumerate(latencies_ms, 1)
    ]


def result(
    *runs: Run, ended: str = "", workloads: Sequence[Workload] = (), **changes: Any
) -> Result:
    """A result of these runs, under `paced` if no workload is given."""
    given: dict[str, Any] = {
        "format": results.FORMAT,
        "made_at": "2026-01-01T00:00:00+00:00",
        "elapsed_s": 12.0,
        "ended": ended,
        "seed": 1,
        "variants": list(dict.fromkeys(run.variant for run in runs)) or ["polling"],
        "workloads": list(workloads) or [WORKLOADS["paced"]],
        "machine": MACHINE,
        "versions": {"this project": "1", "Python": "3.11"},
        "runs": list(runs),
    }
    return Result(**{**given, **changes})
