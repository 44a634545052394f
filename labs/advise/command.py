"""`labs advise`: measure or read the costs, weigh the transports, print the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from labs.advise.advice import Advice
from labs.advise.advice import advise as advised
from labs.advise.costs import Costs, of_file
from labs.advise.need import Need
from labs.advise.option import HEADS, candidates
from labs.advise.trial import tried

LAST = len(HEADS) - 1
TABLES = ((0, 1, 2, 3, 4, 5), (0, 6, 7, LAST))
"""Which columns stand in which table; the transport's name in each, the verdict in the last."""


def advise(need: Need, result: Path | None = None) -> int:
    """Print which transports meet a need; answers the exit status, 1 where none does.

    The costs are those of `result`, a file of `labs bench`, or else measured now, which takes some
    seconds. Raises `LabError` where neither can be had.
    """
    screen = Console()
    advice = advised(need, of_file(result) if result else _measured(screen, need))
    show(screen, advice)
    return 0 if advice.best else 1


def show(screen: Console, advice: Advice) -> None:
    """Print an answer: the need, its figures, the recommendation, what to know of it."""
    screen.print(Text(str(advice.need), style="bold"))
    # All of them beside each other are too many for 80 columns.
    for places in TABLES:
        screen.print(_table(advice, places))
    for said in (advice.sentence, advice.sentence_ko):
        screen.print(Text(said, style="bold" if advice.best else "bold red"))
    for line in advice.caveats:
        screen.print(line, style="dim", markup=False, highlight=False)


def _table(advice: Advice, places: Sequence[int]) -> Table:
    """A row a transport, these columns of it; of figures nothing is cut."""
    table = Table(box=None, pad_edge=False)
    for place in places:
        words = place in (0, LAST)
        table.add_column(
            HEADS[place],
            justify="left" if words else "right",
            overflow="fold",
            no_wrap=place != LAST,
        )
    for option in advice.options:
        cells: list[Text | str] = [*option.cells()]
        cells[LAST] = Text(option.cells()[LAST], style="green" if option.meets else "red")
        table.add_row(*(cells[place] for place in places))
    return table


def _measured(screen: Console, need: Need) -> Costs:
    with screen.status("measuring what servers cost on this machine"):
        return asyncio.run(tried(candidates(need)))
