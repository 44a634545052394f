"""How figures are written in a cell of a table."""

from __future__ import annotations

NOTHING = "-"


def number(value: float | None, digits: int = 0) -> str:
    """A figure as it is printed; a dash where there is none, no minus before a zero."""
    if value is None:
        return NOTHING
    return f"{round(value, digits) + 0.0:,.{digits}f}"


def count(number: int, what: str) -> str:
    """So many of something, in words: `1 run`, `2 runs`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def short(value: float) -> str:
    """A figure to three significant digits, without an exponent."""
    return number(value, max(0, 2 - len(str(int(abs(value)))) + 1)) if value else "0"


def span(low: float | None, high: float | None) -> str:
    """From where to where, for one cell."""
    return NOTHING if low is None or high is None else f"{short(low)}-{short(high)}"
