"""What the plots have in common: axes, colours, and SVG to stand inside a page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from labs.bench.cells import number

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
LAYER_COLOURS = {
    "text": "#009E73",
    "envelope": "#56B4E9",
    "framing": "#E69F00",
    "chunk": "#CC79A7",
    "http_head": "#4a5a6a",
    "content": "#b9b9b9",
    "opaque": "#D55E00",
}
WIDTH_IN = 7.2
HEIGHT_IN = 2.7
LEFT, RIGHT = 0.12, 0.82  # the margins, where a legend stands on the right
BELOW_IN, ABOVE_IN = 0.5, 0.1
LETTER_IN = 0.075  # the width of a letter of a name
HANDLE_IN = 0.45  # ... and of what stands before it in a legend


def axes(
    columns: int = 1, height_in: float = HEIGHT_IN, left: float = LEFT, right: float = RIGHT
) -> tuple[Figure, list[Axes]]:
    """A figure with axes side by side, without a frame, between `left` and `right` of its width."""
    figure = Figure(figsize=(WIDTH_IN, height_in))
    # Fixed margins: to have them fitted takes as long as the drawing itself.
    figure.subplots_adjust(
        left=left, right=right, bottom=BELOW_IN / height_in, top=1 - ABOVE_IN / height_in
    )
    found = [figure.add_subplot(1, columns, place + 1) for place in range(columns)]
    for each in found:
        each.spines[["top", "right"]].set_visible(False)
        each.tick_params(labelsize=8)
        each.xaxis.label.set_fontsize(9)
        each.yaxis.label.set_fontsize(9)
    return figure, found


def room(names: Sequence[str]) -> float:
    """The margin that leaves room for names beside an axis, as a share of the width."""
    return min(0.5, 0.03 + max(map(len, names), default=0) * LETTER_IN / WIDTH_IN)


def beside(names: Sequence[str]) -> float:
    """Where axes end that have a legend of these names on their right, as a share of the width."""
    return max(0.5, 1 - room(names) - HANDLE_IN / WIDTH_IN)


def legend(on: Axes) -> None:
    """The legend, beside the axes, where it hides nothing."""
    on.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(1.0, 0.0))


def colour(index: int) -> str:
    """The colour of a variant, by its place."""
    return COLOURS[index % len(COLOURS)]


def plain(axis: Any) -> None:
    """Numbers on an axis as they are written (0.1, 1, 1,000), and no ticks between them."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_locator(NullLocator())


def logarithmic(axis: Any) -> None:
    """Ticks of a log axis at powers of ten, or at 1, 2 and 5 where it shows few of those."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0)))
    plain(axis)


def label_bars(on: Axes, totals: Sequence[float], digits: int = 0) -> None:
    """The figure at the end of each horizontal bar, the first bar on top."""
    for row, total in enumerate(totals):
        on.annotate(
            number(total, digits),
            (total, row),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    on.margins(x=0.15)
    on.invert_yaxis()
    plain(on.xaxis)


def svg(figure: Figure) -> str:
    """The figure as an SVG element without a size of its own; the same figure, the same text."""
    out = io.StringIO()
    # Text stays text: it can be read aloud, searched and printed in the page's font.
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "labs", "font.family": "sans-serif"}
    ):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = re.sub(r'(width|height)="[\d.]+pt" ?', "", text[text.index("<svg") :], count=2)
    # Several stand in one page: an id that nothing refers to would only be there twice.
    known = set(re.findall(r"#([\w.-]+)", text))
    return re.sub(r' id="([^"]+)"', lambda each: each[0] if each[1] in known else "", text)
