"""Measurements for notebooks: a comparison, and a claim that was tried; both show themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from time import monotonic
from typing import Literal, get_args

import msgspec

from labs import lab
from labs.bench import plots, results
from labs.bench.comparison import Comparison
from labs.bench.results import Result, Run
from labs.bench.stats import Latency, warnings
from labs.bench.summary import Summary
from labs.bench.table import caption, columns, groups
from labs.bench.workload import Workload, find
from labs.errors import LabError, UsageError
from labs.experiments.command import tried
from labs.experiments.experiment import Finding, Report
from labs.experiments.scorecard import section
from labs.lab import Drawing
from labs.net.network import load as load_network
from labs.notebook.tape import current, digest

BUDGET_S = 10.0
Plot = Literal["latency", "bytes", "timeline", "server"]


@dataclass(frozen=True)
class Figures:
    """One transport under one workload; `summary` holds everything that is known of it."""

    summary: Summary

    @property
    def bytes(self) -> int:
        """Bytes on the wire in the window, both ways."""
        return self.summary.steady.both

    @property
    def predicted_bytes(self) -> float:
        """What theory says of them; raises `LabError` where there is no closed form."""
        if not self.summary.predicted:
            raise LabError(f"there is no closed form for {self.summary.variant} here")
        return sum(self.summary.predicted.values())

    @property
    def bytes_per_minute(self) -> float:
        """Bytes on the wire for each client and minute."""
        return self.summary.per_minute(self.bytes)

    @property
    def bytes_per_delivery(self) -> float:
        """Bytes on the wire for each message at each client; raises `LabError` in silence."""
        found = self.summary.per_delivery(self.bytes)
        if found is None:
            raise LabError(f"nobody said anything in {self.summary.workload.name}")
        return found

    @property
    def requests(self) -> int:
        """HTTP requests in the window."""
        return self.summary.steady.requests

    @property
    def deliveries(self) -> int:
        """Messages that reached a client while bytes were counted, one for each client."""
        return self.summary.deliveries

    @property
    def text_bytes(self) -> int:
        """Bytes of the text that was delivered."""
        return self.summary.text_bytes

    @property
    def p50_ms(self) -> float:
        """Half of the deliveries took at most so long, in milliseconds."""
        return self._latency.p50_ms

    @property
    def p95_ms(self) -> float:
        """95 % of the deliveries took at most so long, in milliseconds."""
        return self._latency.p95_ms

    @property
    def p99_ms(self) -> float:
        """99 % of the deliveries took at most so long, in milliseconds."""
        return self._latency.p99_ms

    @property
    def uncorrected(self) -> Latency | None:
        """Latency as it looks from the moment sending began, not when it was due."""
        return self.summary.uncorrected

    @property
    def _latency(self) -> Latency:
        if self.summary.corrected is None:
            who, where = self.summary.variant, self.summary.workload.name
            raise LabError(f"no latency was taken of {who} under {where}, or it is void")
        return self.summary.corrected


class Measured:
    """What a comparison measured. `measured["polling"]` are the figures of one transport.

    Of several workloads `measured.under("idle")` picks one; the first is shown otherwise.
    """

    def __init__(self, result: Result, workload: Workload | None = None) -> None:
        self.result = result
        self._workload = workload or result.workloads[0]

    def under(self, workload: str) -> Measured:
        """The same for another of its workloads; raises `UsageError` for none of them."""
        for each in self.result.workloads:
            if each.name == workload:
                return Measured(self.result, each)
        names = ", ".join(each.name for each in self.result.workloads)
        raise UsageError(f"nothing was measured under {workload!r}; there are {names}")

    def __getitem__(self, variant: str) -> Figures:
        for each in self._columns:
            if each.variant == variant:
                return Figures(each)
        names = ", ".join(each.variant for each in self._columns)
        raise UsageError(f"{variant!r} was not measured; there are {names}")

    @property
    def _columns(self) -> list[Summary]:
        return columns(self.result, self._workload)

    def plot(self, what: Plot = "latency") -> Drawing:
        """A picture of it; raises `UsageError` for one that there is not."""
        if what not in get_args(Plot):
            raise UsageError(
                f"there is no plot of {what!r}; say one of {', '.join(get_args(Plot))}"
            )
        if what in ("latency", "timeline") and not self._workload.messages:
            raise UsageError(f"nobody talks in {self._workload.name}: there is no {what} to draw")
        if what == "latency":
            return Drawing(plots.latency_cdf(self.result, self._workload))
        if what == "timeline":
            return Drawing(plots.timeline(self.result, self._workload))
        if what == "server":
            return Drawing(plots.server(self._columns))
        draw = plots.bytes_by_layer if self._workload.messages else plots.idle_bytes
        return Drawing(draw(self._columns))

    def _repr_html_(self) -> str:
        return "".join(_html(self.result, self._workload, self._columns))

    def __repr__(self) -> str:
        return f"{self._workload.name}: {', '.join(each.variant for each in self._columns)}"


class Tried:
    """What came of a claim that was tried."""

    def __init__(self, report: Report) -> None:
        self.report = report

    @property
    def verdict(self) -> str | None:
        """`reproduced`, `erratum` or `not reproduced`; None where it could not be run."""
        return self.report.verdict

    def __getitem__(self, what: str) -> Finding:
        for finding in self.report.findings:
            if finding.what == what:
                return finding
        names = ", ".join(finding.what for finding in self.report.findings)
        raise UsageError(f"nothing was found of {what!r}; there are {names}")

    def plot(self) -> Drawing:
        """Theory over measurement; raises `LabError` where it could not be run."""
        if not self.report.plot:
            raise LabError(f"{self.report.name} was not run: {self.report.failed}")
        return Drawing(self.report.plot)

    def _repr_html_(self) -> str:
        # The picture is an output of its own: sites take drawings out of HTML.
        text = section(msgspec.structs.replace(self.report, plot=""))
        return text.replace("<figure></figure>", "")

    def __repr__(self) -> str:
        return f"{self.report.name}: {self.report.verdict or self.report.failed}"


async def measure(
    workloads: str | Workload | Sequence[str | Workload],
    names: Sequence[str],
    budget_s: float = BUDGET_S,
    seed: int = 1,
    network: str = "",
) -> Measured:
    """Compare variants under workloads, as `labs bench` does, in about `budget_s` seconds.

    Each is run once at least; `network` is the name or file of one to emulate. Raises
    `UsageError` for a name that there is not, `LabError` when a process of it dies.
    """
    given = [workloads] if isinstance(workloads, str | Workload) else workloads
    wanted = [find(each) if isinstance(each, str) else each for each in given]
    make = partial(_measure, wanted, list(names), budget_s, seed, network)
    named = f"measure {', '.join(each.name for each in wanted)}: {', '.join(names)}"
    call = f"{named} {digest(wanted, seed, network)}"
    return Measured(await current().take(call, Result, make))


async def reproduce(name: str, seed: int = 1) -> Tried:
    """Try a claim of `labs list experiments`; raises `UsageError` for one that there is not."""
    call = f"reproduce {name} {seed}"
    return Tried(await current().take(call, Report, lambda: tried(name, seed)))


async def count_bytes(cases: Sequence[tuple[Workload, str]], seed: int = 1) -> list[Run]:
    """`labs.lab.count_bytes`, in a notebook."""
    call = f"count_bytes {', '.join(name for _, name in cases)} {digest(cases, seed)}"
    runs: list[Run] = await current().take(call, list[Run], lambda: lab.count_bytes(cases, seed))
    return runs


async def take_latency(
    workload: Workload, names: Sequence[str], rounds: int = 3, seed: int = 1, network: str = ""
) -> dict[str, list[Run]]:
    """`labs.lab.take_latency`, in a notebook."""
    call = f"take_latency {', '.join(names)} {digest(workload, rounds, seed, network)}"
    runs: dict[str, list[Run]] = await current().take(
        call,
        dict[str, list[Run]],
        lambda: lab.take_latency(workload, names, rounds, seed, network),
    )
    return runs


def workload(name: str, **changes: object) -> Workload:
    """A workload of this name or file, with some values changed; raises `UsageError`."""
    return find(name).but(**changes)


class _Nobody:
    """A notebook shows no progress: its output is kept."""

    def expect(self, runs: int) -> None: ...

    def doing(self, what: str) -> None: ...

    def made(self, run: Run) -> None: ...


async def _measure(
    workloads: list[Workload], names: list[str], budget_s: float, seed: int, network: str
) -> Result:
    begun_s = monotonic()
    emulated = load_network(network) if network else None
    comparison = Comparison(names, workloads, seed, budget_s, _Nobody(), emulated)
    await comparison.measure()
    return Result(
        format=results.FORMAT,
        made_at=results.now(),
        elapsed_s=monotonic() - begun_s,
        ended="",
        seed=seed,
        variants=names,
        workloads=workloads,
        machine=results.this_machine(),
        versions=results.versions(),
        runs=comparison.runs,
        floor=comparison.floor,
        shaping=comparison.shaping,
    )


def _html(result: Result, workload: Workload, shown: Sequence[Summary]) -> Iterator[str]:
    heads = "".join(f"<th>{escape(column.variant)}</th>" for column in shown)
    yield f"<table><thead><tr><th>{escape(workload.name)}</th>{heads}</tr></thead><tbody>"
    for group in groups(result, workload, shown):
        if group.title:
            title = f"<i>{escape(group.title)} · {escape(group.title_ko)}</i>"
            yield f'<tr><th colspan="{len(shown) + 1}">{title}</th></tr>'
        for row in group.rows:
            label = f"{escape(row.label)} · {escape(row.label_ko)}"
            cells = "".join(f"<td>{escape(row.read(column))}</td>" for column in shown)
            yield f"<tr><th>{label}</th>{cells}</tr>"
    yield "</tbody></table>"
    yield from (f"<p><b>{escape(said)}</b></p>" for said in warnings(result))
    yield "<details><summary>How it was measured · 어떻게 쟀나</summary>"
    for english, korean in caption(result, workload):
        yield f"<p>{escape(english)}<br>{escape(korean)}</p>"
    yield "</details>"
