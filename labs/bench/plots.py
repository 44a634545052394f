"""The report's plots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hdrh.histogram import HdrHistogram
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from labs.bench.drawing import (
    LAYER_COLOURS,
    axes,
    beside,
    colour,
    label_bars,
    legend,
    logarithmic,
    room,
    svg,
)
from labs.bench.record import merged
from labs.bench.results import Result, Run
from labs.bench.summary import Summary
from labs.bench.workload import Workload
from labs.wire.traffic import DIRECTIONS

TAIL = (0.5, 0.9, 0.99, 0.999, 0.9999)
POINTS = 40  # of a curve, for each e-fold of its odds: finer than a line is thick
BAR_IN = 0.26  # the height of a bar and its gap


def bytes_by_layer(shown: Sequence[Summary]) -> str:
    """Bars: bytes on the wire for each delivered message, up and down, stacked by layer."""
    rows = [(column, way) for column in shown for way in DIRECTIONS]
    left, names = [0.0] * len(rows), [f"{column.variant} {way}" for column, way in rows]
    figure, (on,) = axes(height_in=0.7 + BAR_IN * len(rows), left=room(names))
    for layer, paint in LAYER_COLOURS.items():
        sizes = [column.per_delivery(column.steady.of(way, layer)) or 0.0 for column, way in rows]
        if any(sizes):
            on.barh(names, sizes, left=left, color=paint, label=layer)
            left = [a + b for a, b in zip(left, sizes, strict=True)]
    label_bars(on, left)
    legend(on)
    on.set_xlabel("bytes per delivered message")
    return svg(figure)


def idle_bytes(shown: Sequence[Summary]) -> str:
    """Bars: bytes on the wire for each silent client and minute."""
    both = [column.per_minute(column.steady.both) for column in shown]
    names = [column.variant for column in shown]
    figure, (on,) = axes(height_in=0.7 + BAR_IN * len(shown), left=room(names))
    # Parts of a bar mean nothing on a log scale, so all layers stand together.
    on.barh(names, both, color=LAYER_COLOURS["http_head"])
    on.set_xscale("log")
    on.grid(axis="x", alpha=0.3)
    on.set_axisbelow(True)
    label_bars(on, both)
    on.set_xlim(left=1)
    on.set_xlabel("bytes per client and minute, both ways (log scale)")
    return svg(figure)


def latency_cdf(result: Result, workload: Workload) -> str:
    """Lines: the share of deliveries that took at most so long, its tail drawn out."""
    trusted = _trusted(result, workload)
    figure, (on,) = axes(right=beside([variant for _, variant, _ in trusted]))
    for index, variant, runs in trusted:
        _curve(on, merged(run.outcome.corrected for run in runs), variant, index)
    on.set_xscale("log")
    on.set_yscale("log")
    on.set_yticks([1 / (1 - share) for share in TAIL])
    on.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * (1 - 1 / y):g} %"))
    on.yaxis.set_minor_locator(NullLocator())
    logarithmic(on.xaxis)
    on.set_xlabel("latency, ms (log scale)")
    on.set_ylabel("share of deliveries")
    on.grid(alpha=0.3)
    legend(on)
    return svg(figure)


def timeline(result: Result, workload: Workload) -> str:
    """Lines: the median by the moment of sending; dots: the longest of each slice."""
    trusted = _trusted(result, workload)
    figure, (on,) = axes(right=beside([variant for _, variant, _ in trusted]))
    for index, variant, runs in trusted:
        _slices(on, runs, variant, index, workload.duration_s)
    if workload.cut_at_s is not None:
        on.axvline(workload.cut_at_s, color="#5c5c5c", linestyle=":", linewidth=1, label="the cut")
    on.set_yscale("log")
    logarithmic(on.yaxis)
    on.set_xlim(0, workload.duration_s)
    on.set_xlabel("moment of sending, s from the start of the window")
    on.set_ylabel("latency, ms (log scale)")
    on.grid(alpha=0.3)
    legend(on)
    return svg(figure)


def server(shown: Sequence[Summary]) -> str:
    """Bars: the server's CPU, a dot a run; its memory, of a connection where that is known."""
    known = any(column.server.connection_bytes for column in shown)
    names = [column.variant for column in shown]
    height_in = 0.8 + BAR_IN * len(shown)
    figure, (left, right) = axes(2, height_in, left=room(names), right=0.98)
    used = [(column.server.cpu or 0.0) * 100 for column in shown]
    left.barh(names, used, color="#b9b9b9")
    for row, column in enumerate(shown):
        each = [cpu * 100 for cpu in column.server.cpus]
        left.plot(each, [row] * len(each), ".", color="#1c1c1c", markersize=4)
    left.invert_yaxis()
    left.set_xlabel("server CPU, % of a core, and of each run")
    held = [_memory(column, known) for column in shown]
    right.barh(names, held, color=LAYER_COLOURS["http_head"])
    label_bars(right, held, 1)
    right.set_yticks([])
    right.set_xlabel("memory a connection, kB" if known else "memory of the server, MB")
    return svg(figure)


def _memory(column: Summary, known: bool) -> float:
    if known:
        return (column.server.connection_bytes or 0.0) / 1e3
    return (column.server.memory_bytes or 0.0) / 1e6


def _trusted(result: Result, workload: Workload) -> list[tuple[int, str, list[Run]]]:
    """The variants whose latency can be spoken of: place, name, runs."""
    found = []
    for index, variant in enumerate(result.variants):
        runs = result.of(workload.name, variant, "latency")
        if runs and all(run.valid for run in runs):
            found.append((index, variant, runs))
    return found


def _curve(on: Axes, total: HdrHistogram, variant: str, index: int) -> None:
    counts = np.ctypeslib.as_array(total.counts)
    places = np.flatnonzero(counts)
    if not len(places):
        return
    seen = np.cumsum(counts[places])
    # Of how many one took longer still; nobody did after the last, where the line ends.
    odds = seen[-1] / np.maximum(seen[-1] - seen, 1)
    _, first = np.unique(np.round(np.log(odds) * POINTS), return_index=True)
    kept = np.append(first, len(places) - 1)
    took_ms = [total.get_value_from_index(int(place)) / 1_000 for place in places[kept]]
    on.step([took_ms[0], *took_ms], [1.0, *odds[kept]], where="post")
    on.lines[-1].set(color=colour(index), label=variant, linewidth=1.6)


def _slices(on: Axes, runs: Sequence[Run], variant: str, index: int, window_s: float) -> None:
    count = min(len(run.outcome.timeline) for run in runs)
    at_s, medians, longest = [], [], []
    for place in range(count):
        total = merged(run.outcome.timeline[place] for run in runs)
        if total.get_total_count():
            at_s.append((place + 0.5) * window_s / count)
            medians.append(total.get_value_at_percentile(50) / 1_000)
            longest.append(total.get_max_value() / 1_000)
    on.plot(at_s, medians, color=colour(index), linewidth=1.6, label=variant)
    on.plot(at_s, longest, ".", color=colour(index), markersize=4)
