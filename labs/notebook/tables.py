"""A small table: figures by row and column, as a notebook shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from labs.bench.cells import NOTHING, short

Rows = Mapping[str, Mapping[str, Any]]


class Table:
    """Rows by name, each with its figures by column. Columns are those of any row, in order."""

    def __init__(self, rows: Rows, head: str = "", notes: Sequence[str] = ()) -> None:
        self.rows, self.head, self.notes = rows, head, notes

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(dict.fromkeys(column for row in self.rows.values() for column in row))

    def _repr_html_(self) -> str:
        heads = "".join(f"<th>{escape(each)}</th>" for each in (self.head, *self.columns))
        rows = "".join(
            f"<tr><th>{escape(name)}</th>"
            + "".join(f"<td>{escape(_cell(row.get(each)))}</td>" for each in self.columns)
            + "</tr>"
            for name, row in self.rows.items()
        )
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{notes}"

    def __repr__(self) -> str:
        return "; ".join(
            f"{name}: " + ", ".join(f"{each} {_cell(row.get(each))}" for each in self.columns)
            for name, row in self.rows.items()
        )


def table(rows: Rows, head: str = "", *notes: str) -> Table:
    """A table of rows by name; `head` stands over the names, `notes` below the table.

    A missing figure is a dash.
    """
    return Table(rows, head, notes)


def _cell(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes · 예" if value else "no · 아니요"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1_000 else short(value)
    return str(value)
