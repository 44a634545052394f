"""The report's plots, as SVG to stand inside the page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import matplotlib
from hdrh.histogram import HdrHistogram
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from labs.bench.results import Result
from labs.bench.stats import merged
from labs.bench.table import columns, number
from labs.bench.workload import Workload

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
UP, DOWN = "#b9b9b9", "#4a5a6a"
TAIL = (0.5, 0.9, 0.99, 0.999, 0.9999)
SIZE_IN = (7.2, 2.7)


def bytes_per_delivery(result: Result, workload: Workload) -> str:
    """Bars: bytes on the wire for each delivered message, up and down."""
    shown = columns(result, workload)
    names = [column.variant for column in shown]
    up = [column.per_delivery(column.steady.up) for column in shown]
    down = [column.per_delivery(column.steady.down) for column in shown]
    figure, axes = _axes()
    axes.barh(names, up, color=UP, label="up")
    axes.barh(names, down, left=up, color=DOWN, label="down")
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(1.0, 0.0))
    _finish_bars(axes, [a + b for a, b in zip(up, down, strict=True)])
    axes.set_xlabel("bytes per delivered message")
    return _svg(figure)


def idle_bytes(result: Result, workload: Workload) -> str:
    """Bars: bytes on the wire for each silent client and minute."""
    shown = columns(result, workload)
    both = [column.per_minute(column.steady.both) for column in shown]
    figure, axes = _axes()
    # Parts of a bar mean nothing on a log scale, so up and down stand together.
    axes.barh([column.variant for column in shown], both, color=DOWN)
    axes.set_xscale("log")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    _finish_bars(axes, both)
    axes.set_xlim(left=1)
    axes.set_xlabel("bytes per client and minute, both ways (log scale)")
    return _svg(figure)


def latency_cdf(result: Result, workload: Workload) -> str:
    """Lines: the share of deliveries that took at most so long, its tail drawn out."""
    figure, axes = _axes()
    for index, variant in enumerate(result.variants):
        runs = result.of(workload.name, variant, "latency")
        if runs and all(run.valid for run in runs):
            _curve(axes, merged(run.outcome.corrected for run in runs), variant, index)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_yticks([1 / (1 - share) for share in TAIL])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * (1 - 1 / y):g} %"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_xlabel("latency, ms (log scale)")
    axes.set_ylabel("share of deliveries")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(1.0, 0.0))
    return _svg(figure)


def _curve(axes: Axes, total: HdrHistogram, variant: str, index: int) -> None:
    count = total.get_total_count()
    took_ms, odds, seen = [], [], 0
    for step in total.get_recorded_iterator():
        # Of how many one took longer still; nobody did after the last, where the line ends.
        took_ms.append(step.value_iterated_to / 1_000)
        seen += step.count_added_in_this_iter_step
        odds.append(count / max(count - seen, 1))
    if took_ms:
        axes.step([took_ms[0], *took_ms], [1.0, *odds], where="post")
        axes.lines[-1].set(color=_colour(index), label=variant, linewidth=1.6)


def _finish_bars(axes: Axes, totals: Sequence[float]) -> None:
    for row, total in enumerate(totals):
        axes.annotate(
            number(total), (total, row), (4, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


def _axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE_IN, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)
    return figure, axes


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    # Text stays text: it can be read aloud, searched and printed in the page's font.
    with matplotlib.rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    return re.sub(r'(width|height)="[\d.]+pt" ?', "", svg[svg.index("<svg") :], count=2)
