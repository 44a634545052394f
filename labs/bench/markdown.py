"""The report's tables as Markdown, to be pasted into a page or a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from labs.bench.conditions import METHOD, conditions, floor_rows, network_rows
from labs.bench.results import Result
from labs.bench.stats import warnings
from labs.bench.sureness import SURE, sureness
from labs.bench.table import caption, columns, groups
from labs.bench.workload import Workload


def document(result: Result) -> str:
    """The whole report but its plots, in English: warnings first, then a table a workload."""
    return "\n".join([*_head(result), *_tables(result), *_sure(result), *_words(result)])


def table(result: Result, workload: Workload) -> Iterator[str]:
    """A workload's table, line by line."""
    shown = columns(result, workload)
    rows: list[Sequence[str]] = []
    for group in groups(result, workload, shown):
        if group.title:
            rows.append([f"*{group.title}*", *("" for _ in shown)])
        rows += [[row.label, *(row.read(column) for column in shown)] for row in group.rows]
    yield from grid(["", *(column.variant for column in shown)], rows)


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table of cells; all columns but the first are aligned to the right."""
    yield _line(heads)
    yield _line([":--", *("--:" for _ in heads[1:])])
    yield from (_line(row) for row in rows)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    """Text that stays text: no cell, tag or emphasis begins in it."""
    safe = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return safe.replace("_", "\\_")


def _head(result: Result) -> Iterator[str]:
    yield "# One chat, measured over its transports\n"
    yield f"{', '.join(result.variants)}. Measured {result.made_at} in {result.elapsed_s:.0f} s.\n"
    for said in warnings(result):
        yield f"- **Warning:** {_escaped(said)}"
    yield ""


def _tables(result: Result) -> Iterator[str]:
    for workload in result.workloads:
        if not columns(result, workload):
            continue
        yield f"## {workload.name}: {_escaped(workload.question)}\n"
        yield from table(result, workload)
        yield ""
        yield from (f"{_escaped(english)}\n" for english, _ in caption(result, workload))


def _sure(result: Result) -> Iterator[str]:
    if rows := list(sureness(result)):
        yield "## How sure this is\n"
        yield from grid(SURE.heads, rows)
        yield f"\n{SURE.note}\n"


def _words(result: Result) -> Iterator[str]:
    for title, rows in (
        ("The floor", floor_rows(result)),
        ("Network", network_rows(result)),
        ("Conditions", conditions(result)),
    ):
        if rows:
            yield f"## {title}\n"
            yield from (f"- {name}: {_escaped(value)}" for name, value in rows)
            yield ""
    yield "## Method\n"
    yield from (f"{each}\n" for each in METHOD.english)
