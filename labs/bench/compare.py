"""`labs compare OLD NEW`: what has changed between two results, as ratios with intervals.

Compared is what both have: each variant under each workload of the same name and content. How
thresholds decide stands in labs/bench/thresholds.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from labs.bench import results
from labs.bench.cells import NOTHING, number, short, span
from labs.bench.conditions import carried
from labs.bench.intervals import Ratio, ratio
from labs.bench.results import Kind, Result
from labs.bench.thresholds import METRICS, Threshold, kind_of, of_runs, void
from labs.bench.workload import Workload
from labs.errors import UsageError

HEADS = ("old", "new", "new/old", "from-to", "Cliff's delta")
NOTE = (
    "Old, new: medians of runs. From-to: 95 % bootstrap interval of their ratio over runs; the "
    "two differ where it leaves out 1. Cliff's delta: 1 if every new run is above every old one, "
    "-1 if below. A dash: fewer than 3 runs. Bytes are counted once, for the schedule fixes them, "
    "but for how many messages share an answer."
)
KINDS: tuple[Kind, ...] = ("latency", "bytes")
WORDS = ("name", "question", "question_ko")  # of a workload, which change nothing


@dataclass(frozen=True)
class Change:
    """A metric of one variant under one workload, new by old; `new` has a figure a run."""

    workload: str
    variant: str
    metric: str
    ratio: Ratio
    new: list[float]


@dataclass(frozen=True)
class Judged:
    """What the thresholds found: sentences."""

    past: list[str]
    undecided: list[str]


def compare(old: Path, new: Path, fail_on: Sequence[str] = ()) -> int:
    """Print what has changed from one result to another; answers the exit status.

    `old` and `new` are files of `labs bench`, `fail_on` thresholds as `latency.p99>10%`. The
    status is 1 when one is passed, beyond the noise, or cannot be judged because the new result
    lacks what the old one has: it was not measured, or messages met a wrong fate. Raises
    `UsageError` for a bad threshold, for thresholds between different networks or servers, for a
    metric that the old one has not, or a file that is not there, and `LabError` for one that is
    no result or another format.
    """
    limits = [Threshold.parse(text) for text in fail_on]
    before, after = _load(old), _load(new)
    if limits:
        _check_alike(before, after)
    found = list(changes(before, after))
    judged = judge(limits, found, before, after)
    if not found and not judged.past:
        raise UsageError(f"{old} and {new} have no workload and variant in common to compare")
    _check(limits, found, judged)
    _print(found, list(differences(before, after)), judged, bool(limits))
    return 1 if judged.past else 0


def _check_alike(old: Result, new: Result) -> None:
    """Raises `UsageError` where a threshold would judge something else than a change of ours."""
    for what, before, after in _circumstances(old, new):
        if before != after and what != "seed":
            raise UsageError(
                f"the {what} of the old result is {before}, of the new one {after}: thresholds "
                "would judge that; measure both alike, or leave --fail-on out"
            )


def _circumstances(old: Result, new: Result) -> Iterator[tuple[str, str, str]]:
    yield "seed", str(old.seed), str(new.seed)
    yield "network", carried(old)[0], carried(new)[0]
    yield "server", old.url or "ours", new.url or "ours"


def changes(old: Result, new: Result) -> Iterator[Change]:
    """Every metric that both results have, in the order of the new one."""
    for workload, variant in shared(old, new):
        before, after = old.of(workload.name, variant), new.of(workload.name, variant)
        for metric in METRICS:
            values = of_runs(metric, workload, after)
            if found := _ratio(values, of_runs(metric, workload, before)):
                yield Change(workload.name, variant, metric, found, values)


def _ratio(new: Sequence[float], old: Sequence[float]) -> Ratio | None:
    """The ratio, infinite where there was nothing before and now is something."""
    if not new or not old or median(old):
        return ratio(new, old)
    value = math.inf if median(new) else 1.0
    return Ratio(median(new), 0.0, value, None, None, None, len(new), len(old))


def shared(old: Result, new: Result) -> list[tuple[Workload, str]]:
    """The workloads and variants that both results have, and that are the same in both."""
    before = {workload.name: workload for workload in old.workloads}
    return [
        (workload, variant)
        for workload in new.workloads
        if workload.name in before and not changed(before[workload.name], workload)
        for variant in new.variants
        if variant in old.variants
    ]


def changed(old: Workload, new: Workload) -> list[str]:
    """The keys in which two workloads differ, but for their words."""
    return [
        key.name
        for key in fields(Workload)
        if key.name not in WORDS and getattr(old, key.name) != getattr(new, key.name)
    ]


def differences(old: Result, new: Result) -> Iterator[str]:
    """What else differs between two results, in sentences: it may be the cause of a change."""
    for which, result in (("old", old), ("new", new)):
        if result.ended:
            yield f"the {which} one ended before its time: {result.ended}"
    for name, before in _machine(old).items():
        after = _machine(new)[name]
        if before != after:
            yield f"machine: {name} {before} -> {after}"
    for name in sorted({*old.versions, *new.versions}):
        if old.versions.get(name) != new.versions.get(name):
            yield f"version: {name} {_of(old.versions, name)} -> {_of(new.versions, name)}"
    for what, before, after in _circumstances(old, new):
        if before != after:
            yield f"{what}: {before} -> {after}"
    yield from _apart(old, new)


def _machine(result: Result) -> dict[str, object]:
    """A machine's fields by name."""
    return {name: getattr(result.machine, name) for name in result.machine.__struct_fields__}


def _of(versions: dict[str, str], name: str) -> str:
    return versions.get(name, "none")


def _apart(old: Result, new: Result) -> Iterator[str]:
    """Workloads and variants that are not compared."""
    before = {workload.name: workload for workload in old.workloads}
    after = {workload.name: workload for workload in new.workloads}
    for name in sorted({*before, *after}):
        if name not in before or name not in after:
            yield f"workload {name}: only in the {'new' if name in after else 'old'} one"
        elif keys := changed(before[name], after[name]):
            yield f"workload {name}: not the same ({', '.join(keys)}), so not compared"
    for name in sorted({*old.variants} ^ {*new.variants}):
        yield f"variant {name}: only in the {'new' if name in new.variants else 'old'} one"
    for workload, variant in shared(old, new):
        for which, result in (("old", old), ("new", new)):
            for kind in KINDS:
                if void(result.of(workload.name, variant), kind):
                    yield f"{workload.name}, {variant}: the {kind} runs of the {which} one are void"


def judge(limits: Sequence[Threshold], found: Sequence[Change], old: Result, new: Result) -> Judged:
    """What the thresholds say of the changes."""
    judged = Judged([], [])
    for limit in limits:
        for change in found:
            if change.metric == limit.metric:
                _judge(limit, change, judged)
        judged.past.extend(f"{limit.text}: {said}" for said in lacking(limit.metric, old, new))
    return judged


def lacking(metric: str, old: Result, new: Result) -> Iterator[str]:
    """Where the old result has a metric and the new one has nothing to hold against it, and why."""
    after = {workload.name: workload for workload in new.workloads}
    for workload in old.workloads:
        for variant in old.variants:
            if of_runs(metric, workload, old.of(workload.name, variant)) and (
                why := _why_lacking(metric, workload, after.get(workload.name), variant, new)
            ):
                yield f"{workload.name}, {variant}: cannot be judged, {why}"


def _why_lacking(
    metric: str, old: Workload, workload: Workload | None, variant: str, new: Result
) -> str:
    if workload and changed(old, workload):
        return "the workload is not the same in the new result"
    runs = new.of(old.name, variant)
    if void(runs, kind_of(metric, old)):
        return "messages met a wrong fate in the new result"
    return "" if of_runs(metric, old, runs) else "the new result does not have it"


def _judge(limit: Threshold, change: Change, judged: Judged) -> None:
    verdict = limit.judge(change.ratio, change.new)
    said = f"{limit.text}: {change.workload}, {change.variant}: {_told(change.ratio)}"
    if verdict == "past":
        judged.past.append(said)
    elif verdict == "undecided":
        judged.undecided.append(f"{said}. The interval reaches back; more runs would tell")


def _told(found: Ratio) -> str:
    change = f"{(found.value - 1) * 100:+.1f} %"
    if found.low is None or found.high is None:
        return f"{change}, by the medians of too few runs for an interval"
    return f"{change} ({(found.low - 1) * 100:+.1f} to {(found.high - 1) * 100:+.1f})"


def _load(path: Path) -> Result:
    if not path.is_file():
        raise UsageError(f"{path} is no file; give two results of labs bench")
    return results.load(path)


def _check(limits: Sequence[Threshold], found: Sequence[Change], judged: Judged) -> None:
    """Raises `UsageError` for a threshold that would guard nothing."""
    there = {change.metric for change in found}
    for limit in limits:
        if limit.metric in there or any(said.startswith(f"{limit.text}:") for said in judged.past):
            continue
        raise UsageError(
            f"{limit.text}: the two results have no {limit.metric} to compare; "
            f"they have {', '.join(name for name in METRICS if name in there)}"
        )


def _print(found: Sequence[Change], said: Sequence[str], judged: Judged, limited: bool) -> None:
    screen = Console()
    for line in said:
        screen.print(f"differs: {line}", style="yellow", markup=False, highlight=False)
    for workload in dict.fromkeys(change.workload for change in found):
        screen.print(table([change for change in found if change.workload == workload]))
    screen.print(NOTE, style="dim", highlight=False)
    for line in judged.undecided:
        screen.print(f"undecided: {line}", style="yellow", markup=False, soft_wrap=True)
    for line in judged.past:
        screen.print(f"failed: {line}", style="bold red", markup=False, soft_wrap=True)
    if limited and not judged.past:
        screen.print("No threshold is passed, beyond the noise.", highlight=False)


def table(found: Sequence[Change]) -> Table:
    """The changes under one workload, a row a variant and metric."""
    grid = Table(
        title=found[0].workload,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        pad_edge=False,
    )
    grid.add_column("", no_wrap=True)
    for head in HEADS:
        grid.add_column(head, justify="right")
    for variant in dict.fromkeys(change.variant for change in found):
        grid.add_row(variant, style="italic")
        for change in found:
            if change.variant == variant:
                grid.add_row(f"  {_label(change.metric)}", *cells(change.ratio))
        grid.add_section()
    return grid


def _label(metric: str) -> str:
    unit = METRICS[metric].unit
    return f"{metric}, {unit}" if unit else metric


def cells(found: Ratio) -> tuple[str, ...]:
    """A row's cells: old, new, their ratio, its interval, the effect size."""
    effect = NOTHING if found.delta is None else f"{number(found.delta, 2)} {found.size}"
    return (
        short(found.to),
        short(found.of),
        number(found.value, 3),
        span(found.low, found.high),
        effect,
    )
