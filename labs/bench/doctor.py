"""`labs doctor`: what the instrument adds by itself, what the machine is like, what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from labs.bench import floor
from labs.bench.doctor_machine import Finding, machine
from labs.bench.doctor_parts import Part, parts
from labs.bench.floor_rows import Row, describe
from labs.errors import LabError

WIDTH = 80
TITLE = "The instrument itself · 계측기 자신"
TITLE_MACHINE = "This machine · 이 컴퓨터"
TITLE_PARTS = "Optional parts · 선택 사항"


def doctor() -> int:
    """Print the check; answers 0 when `labs bench` can run at all, 1 when it cannot.

    A slow machine, or a missing optional part, is told and is no failure.
    """
    screen = Console()
    screen = Console(width=min(WIDTH, screen.width))
    with screen.status("Looking at the machine, then measuring the instrument (2 s) ..."):
        findings = machine()
        rows, failed = _measured(findings)
    _show_floor(screen, rows)
    _show_machine(screen, findings)
    _show_parts(screen, parts())
    return _verdict(screen, [*_fatal(findings), *failed])


def _measured(findings: Iterable[Finding]) -> tuple[list[Row], list[str]]:
    """The rows of the floor, or why there are none. Nothing is tried that cannot work."""
    if _fatal(findings):
        return [], []
    try:
        return list(describe(asyncio.run(floor.measure()))), []
    except (LabError, OSError) as error:
        return [], [f"The self-measurement failed ({error}): mend that, then try again."]


def _fatal(findings: Iterable[Finding]) -> list[str]:
    return [each.advice for each in findings if each.fatal]


def _show_floor(screen: Console, rows: Sequence[Row]) -> None:
    if not rows:
        screen.print(Text(f"{TITLE}: not measured", style="bold"), "")
        return
    table = _table(TITLE, "figure", "here", "expected · 기대값", "")
    for number, row in enumerate(rows, 1):
        verdict = Text("ok", style="green") if row.met else Text("look", style="yellow")
        table.add_row(f"{row.label} ({number})", row.value, row.expected, verdict)
    screen.print(table)
    for number, row in enumerate(rows, 1):
        _say(screen, f"({number}) {row.note}", "dim")
    screen.print()
    _advise(screen, (f"{row.label}: {row.advice}" for row in rows if not row.met))


def _show_machine(screen: Console, findings: Sequence[Finding]) -> None:
    table = _table(TITLE_MACHINE, "what", "found", "")
    for each in findings:
        verdict = Text("look", style="yellow") if each.advice else Text("ok", style="green")
        table.add_row(each.label, each.value, verdict)
    screen.print(table)
    _advise(screen, (f"{each.label}: {each.advice}" for each in findings if each.advice))


def _show_parts(screen: Console, found: Sequence[Part]) -> None:
    table = _table(TITLE_PARTS, "part", "for", "")
    for each in found:
        verdict = Text("ok", style="green") if each.present else Text("missing", style="yellow")
        table.add_row(each.name, each.purpose, verdict)
    screen.print(table)
    _advise(screen, (each.advice for each in found if not each.present))


def _verdict(screen: Console, fatal: Sequence[str]) -> int:
    if not fatal:
        _say(screen, "labs bench can run here. · 이 컴퓨터에서 측정할 수 있습니다.", "green")
        return 0
    _say(screen, "labs bench cannot run here. · 이 컴퓨터에서는 측정할 수 없습니다.", "bold red")
    for sentence in fatal:
        _say(screen, sentence, "red")
    return 1


def _advise(screen: Console, sentences: Iterable[str]) -> None:
    said = list(sentences)
    for sentence in said:
        _say(screen, sentence, "yellow")
    if said:
        screen.print()


def _say(screen: Console, sentence: str, style: str) -> None:
    screen.print(Text(sentence, style=style))


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        pad_edge=False,
    )
    for column in columns:
        table.add_column(column)
    return table
