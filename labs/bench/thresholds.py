"""What can be compared between two results, and how far it may change: `latency.p99>10%`.

    METRIC OP NUMBER%    the change from old to new, in percent: > fails a rise, < a fall
    METRIC OP NUMBER     the new figure itself, in the metric's unit

A threshold is passed when it is passed beyond the noise: when the whole 95 % bootstrap interval
over runs lies past it. A run more or less would not change that; a ratio that happens to lie past
it, with an interval that does not, is told as undecided and fails nothing. Where there are fewer
than three runs there is no interval, and the medians decide, which is said. That suits bytes and
requests, which the schedule fixes, but for how many messages share an answer.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from labs.bench.intervals import Interval, Ratio, interval
from labs.bench.results import Kind, Run
from labs.bench.stats import Latency, latency
from labs.bench.summary import delivered
from labs.bench.workload import Workload
from labs.errors import UsageError
from labs.wire.traffic import Traffic

Verdict = Literal["past", "undecided", "kept"]


class Metric(NamedTuple):
    """A figure each run of a kind has: what it is, its unit, and how it is read; None if it lacks.

    Of kind "alone" are the runs that share the machine with no others: latency's, or those of a
    workload in which nobody talks.
    """

    meaning: str
    unit: str
    kind: Kind | Literal["alone"]
    read: Callable[[Workload, Run], float | None]


def _latency(read: Callable[[Latency], float]) -> Callable[[Workload, Run], float | None]:
    def found(_: Workload, run: Run) -> float | None:
        taken = latency([run.outcome.corrected])
        return read(taken) if taken else None

    return found


def _delivery(workload: Workload, run: Run) -> float | None:
    if not workload.messages or not delivered(run):
        return None
    return _steady(run).both / delivered(run)


def _idle(workload: Workload, run: Run) -> float | None:
    if workload.messages:
        return None
    return _steady(run).both / workload.clients * 60 / run.steady_s


def _requests(_: Workload, run: Run) -> float | None:
    return float(_steady(run).requests)


def _cpu(_: Workload, run: Run) -> float | None:
    return run.server.cpu * 100 if run.server else None


def _steady(run: Run) -> Traffic:
    return run.windows.get("steady", Traffic())


METRICS = {
    "latency.p50": Metric("median latency", "ms", "latency", _latency(lambda each: each.p50_ms)),
    "latency.p95": Metric("95th percentile", "ms", "latency", _latency(lambda each: each.p95_ms)),
    "latency.p99": Metric("99th percentile", "ms", "latency", _latency(lambda each: each.p99_ms)),
    "bytes.delivery": Metric("bytes per delivery", "B", "bytes", _delivery),
    "bytes.idle": Metric("bytes per idle minute and client", "B", "bytes", _idle),
    "requests": Metric("requests of the window, all clients", "", "bytes", _requests),
    "cpu": Metric("server CPU", "% of a core", "alone", _cpu),
}
"""What `labs compare` compares, by the name a threshold uses."""

_FORM = re.compile(r"\s*([a-z0-9._]+)\s*([<>])\s*([+-]?\d+(?:\.\d+)?)\s*(%?)\s*")


def kind_of(metric: str, workload: Workload) -> Kind:
    """The kind of the runs that a metric is read from."""
    kind = METRICS[metric].kind
    if kind == "alone":
        return "latency" if workload.messages else "bytes"
    return kind


def of_runs(metric: str, workload: Workload, runs: Sequence[Run]) -> list[float]:
    """A metric of each run that has it, none if one of that kind is void."""
    kind, read = kind_of(metric, workload), METRICS[metric].read
    if void(runs, kind):
        return []
    every = [read(workload, run) for run in runs if run.kind == kind]
    return [value for value in every if value is not None]


def void(runs: Sequence[Run], kind: Kind) -> bool:
    """Whether a wrong fate forbids to speak of what the runs of a kind measured."""
    return any(run.kind == kind and not run.valid for run in runs)


@dataclass(frozen=True)
class Threshold:
    """One limit, as it was given in `text`; `number` is in percent if `relative`."""

    text: str
    metric: str
    rising: bool
    number: float
    relative: bool

    @classmethod
    def parse(cls, text: str) -> Threshold:
        """Read `METRIC>NUMBER%` and its like; raises `UsageError`."""
        found = _FORM.fullmatch(text)
        if not found:
            raise UsageError(
                f"{text!r} is no threshold; give METRIC>NUMBER%, say latency.p99>10%. "
                f"Metrics are {', '.join(METRICS)}"
            )
        metric, sign, number, percent = found.groups()
        if metric not in METRICS:
            near = difflib.get_close_matches(metric, METRICS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? There" if near else "there"
            raise UsageError(f"no metric is called {metric!r}; {hint} are {', '.join(METRICS)}")
        return cls(text.strip(), metric, sign == ">", float(number), bool(percent))

    def judge(self, change: Ratio, new: Sequence[float]) -> Verdict:
        """What a comparison of new with old means for this limit."""
        found = self._of_ratio(change) if self.relative else self._of_new(change, interval(new))
        value, near, far = found
        if not self._past(value):
            return "kept"
        return "past" if self._past(near) and self._past(far) else "undecided"

    def _past(self, value: float) -> bool:
        return value > self.number if self.rising else value < self.number

    def _of_ratio(self, change: Ratio) -> tuple[float, float, float]:
        low = change.value if change.low is None else change.low
        high = change.value if change.high is None else change.high
        return _percent(change.value), _percent(low), _percent(high)

    def _of_new(self, change: Ratio, found: Interval | None) -> tuple[float, float, float]:
        return (change.of, found.low, found.high) if found else (change.of,) * 3


def _percent(ratio: float) -> float:
    # Rounded, for 1.1 - 1 is a little more than 0.1.
    return round((ratio - 1) * 100, 9)
