"""Latencies of several kinds beside each other: percentiles as a table, and two drawings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hdrh.histogram import HdrHistogram

from labs.bench.drawing import axes, beside, colour, legend, logarithmic, svg
from labs.bench.record import merged
from labs.bench.stats import Latency, latency
from labs.errors import LabError
from labs.lab import Drawing
from labs.notebook.tables import Table, table

SHOWN = (*range(100), 99.5, 99.9, 100)  # the percentiles of a curve


class Latencies:
    """By name, packed histograms as runs hold them; those of one name are added together.

    `latencies["polling"]` are its percentiles. Raises `LabError` for a name without a value.
    """

    def __init__(self, packed: Mapping[str, Sequence[str]]) -> None:
        self._packed = packed
        self._found = {name: _latency(name, each) for name, each in packed.items()}

    def __getitem__(self, name: str) -> Latency:
        return self._found[name]

    @property
    def table(self) -> Table:
        """Percentiles in milliseconds, and of how many values."""
        return table(
            {
                name: {
                    "p50, ms": each.p50_ms,
                    "p95, ms": each.p95_ms,
                    "p99, ms": each.p99_ms,
                    "max, ms": each.max_ms,
                    "deliveries · 전달": each.count,
                }
                for name, each in self._found.items()
            }
        )

    def histogram(self, bins: int = 40) -> Drawing:
        """How many deliveries took how long: the share in each bin, bins equally wide."""
        figure, (on,) = axes(right=beside(list(self._packed)))
        most_ms = max(each.max_ms for each in self._found.values())
        for index, (name, packed) in enumerate(self._packed.items()):
            taken_ms, counts = _values(merged(packed))
            on.hist(
                taken_ms,
                [most_ms * place / bins for place in range(bins + 1)],
                weights=[100 * count / sum(counts) for count in counts],
                histtype="stepfilled",
                alpha=0.55,
                color=colour(index),
                label=name,
            )
        on.set_xlabel("latency, ms")
        on.set_ylabel("% of deliveries")
        legend(on)
        return Drawing(svg(figure))

    def percentiles(self) -> Drawing:
        """Lines: latency by percentile, which is where the tail is."""
        figure, (on,) = axes(right=beside(list(self._packed)))
        for index, (name, packed) in enumerate(self._packed.items()):
            taken = merged(packed)
            took_ms = [taken.get_value_at_percentile(q) / 1e3 for q in SHOWN]
            on.plot(SHOWN, took_ms, color=colour(index), linewidth=1.6, label=name)
        on.set_yscale("log")
        logarithmic(on.yaxis)
        on.set_xlabel("percentile")
        on.set_ylabel("latency, ms (log scale)")
        on.grid(alpha=0.3)
        legend(on)
        return Drawing(svg(figure))

    def _repr_html_(self) -> str:
        return self.table._repr_html_()

    def __repr__(self) -> str:
        return repr(self.table)


def _latency(name: str, packed: Sequence[str]) -> Latency:
    found = latency(packed)
    if found is None:
        raise LabError(f"{name} has no latency: nothing was delivered")
    return found


def _values(taken: HdrHistogram) -> tuple[list[float], list[int]]:
    """Each latency that occurred, in milliseconds, and how often."""
    # The iterator answers one object over and over: what it says must be taken down at once.
    steps = [
        (step.value_iterated_to / 1e3, step.count_at_value_iterated_to)
        for step in taken.get_recorded_iterator()
    ]
    return [value_ms for value_ms, _ in steps], [count for _, count in steps]
