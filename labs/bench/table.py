"""The tables: one a workload, a row a figure, a column a variant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from labs.bench.captions import caption
from labs.bench.cells import NOTHING
from labs.bench.figures import (
    BACK,
    BYTES,
    FATES,
    IDLE,
    JOINING,
    LATENCY,
    PHASE_ROWS,
    PREDICTED,
    PREDICTED_EACH,
    PROBES,
    SERVER,
    TCP,
    UNCORRECTED,
    Figure,
    Group,
    by_layer,
    floor,
)
from labs.bench.results import Result
from labs.bench.summary import Summary, scheduled, summaries
from labs.bench.workload import Workload
from labs.variants import FIVE

__all__ = ["caption", "columns", "groups", "parts", "table"]

WIDEST = 5  # columns of figures: more do not fit a page, or a terminal of 80 characters


def columns(result: Result, workload: Workload) -> list[Summary]:
    """The columns of a workload's table: the variants that were run."""
    return summaries(result, workload)


def groups(result: Result, workload: Workload, shown: Sequence[Summary]) -> list[Group]:
    """The rows of a workload's table, in groups, without those nobody has anything for."""
    every = _talk(result, workload, shown) if workload.messages else _silent(shown)
    found = [
        Group(group.title, group.title_ko, [row for row in group.rows if _has_any(row, shown)])
        for group in every
    ]
    return [group for group in found if group.rows]


def _has_any(row: Figure, shown: Sequence[Summary]) -> bool:
    return any(row.read(column) != NOTHING for column in shown)


def _silent(shown: Sequence[Summary]) -> list[Group]:
    layers = Group("by layer, a minute", "층별, 분당 바이트", by_layer(shown))
    return [IDLE, layers, JOINING, PHASE_ROWS, PREDICTED, PREDICTED_EACH, TCP, SERVER]


def _talk(result: Result, workload: Workload, shown: Sequence[Summary]) -> list[Group]:
    layers = Group("by layer, a delivery", "층별, 전달당 바이트", by_layer(shown))
    timed = _timed(workload, shown, floor(result))
    return [FATES, BYTES, layers, PREDICTED, PREDICTED_EACH, PHASE_ROWS, TCP, *timed, SERVER]


def _timed(workload: Workload, shown: Sequence[Summary], floor: list[Figure]) -> list[Group]:
    """The latencies; those of a closed loop by the moment they are counted from."""
    probes = PROBES if 0 < workload.probes < workload.clients else []
    back = BACK if workload.cut_at_s is not None else []
    if workload.loop == "open" or not scheduled(workload, shown):
        return [Group("", "", [*LATENCY, *floor, *UNCORRECTED, *probes, *back])]
    return [
        Group("from the schedule", "예정된 순간부터", [*LATENCY, *probes]),
        Group("as a closed-loop tool", "닫힌 루프 도구라면", UNCORRECTED),
        Group("", "", [*floor, *back]),
    ]


def parts(shown: Sequence[Summary]) -> Iterator[list[Summary]]:
    """Columns in tables that fit a page: the lesson's five, then the others, five at a time."""
    known = [column for column in shown if column.variant in FIVE]
    rest = [column for column in shown if column.variant not in FIVE]
    every = [list(shown)] if len(shown) <= WIDEST else [known, rest]
    for columns in every:
        for first in range(0, len(columns), WIDEST):
            yield columns[first : first + WIDEST]


def table(result: Result, workload: Workload, shown: Sequence[Summary] | None = None) -> Table:
    """A workload's table for the terminal, of all columns or some; five fit into 80 columns."""
    shown = columns(result, workload) if shown is None else shown
    grid = Table(
        title=f"{workload.name}: {workload.question}",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        pad_edge=False,
    )
    grid.add_column("", no_wrap=True)
    for column in shown:
        grid.add_column(column.variant, justify="right")
    for group in groups(result, workload, shown):
        if group.title:
            grid.add_row(group.title, style="italic")
        for row in group.rows:
            label = f"  {row.label}" if group.title else row.label
            grid.add_row(label, *(row.read(column) for column in shown))
        grid.add_section()
    return grid
