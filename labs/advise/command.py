"""`labs advise`: measure or read the costs, weigh the transports, print the answer."""

from __future__ import annotations

import asyncio
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
    """Print an answer: the need, a row a transport, the recommendation, what to know of it."""
    screen.print(Text(str(advice.need), style="bold"))
    table = Table(box=None, pad_edge=False)
    for place, head in enumerate(HEADS):
        table.add_column(head, justify="left" if place in (0, len(HEADS) - 1) else "right")
    for option in advice.options:
        *figures, verdict = option.cells()
        table.add_row(*figures, Text(verdict, style="green" if option.meets else "red"))
    screen.print(table)
    for said in (advice.sentence, advice.sentence_ko):
        screen.print(Text(said, style="bold" if advice.best else "bold red"))
    for line in advice.caveats:
        screen.print(line, style="dim", markup=False, highlight=False)


def _measured(screen: Console, need: Need) -> Costs:
    with screen.status("measuring what servers cost on this machine"):
        return asyncio.run(tried(candidates(need)))
