"""The scorecard: every claim that was tried, its verdict, and the figures it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from math import isinf
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from labs.bench import results
from labs.bench.cells import NOTHING, count, short
from labs.bench.markdown import grid
from labs.bench.results import Machine
from labs.bench.stats import OTHERS_LIMIT
from labs.bench.style import STYLE
from labs.errors import LabError, UsageError
from labs.experiments.experiment import Claim, Finding, Report

FORMAT = 1
FAILED = "could not be run"
KOREAN = {
    "reproduced": "재현됨",
    "not reproduced": "재현되지 않음",
    "erratum": "정오표",
    FAILED: "실행할 수 없음",
}
STYLES = {"reproduced": "green", "not reproduced": "red", "erratum": "yellow", FAILED: "red"}
HEADS = ("", "unit", "expected", "allowed", "measured", "", "basis")
MEANINGS = (
    "Reproduced: what was measured agrees with our theory and with what the source says. Erratum: "
    "it agrees with the theory, and not with what the source says. Not reproduced: it does not "
    "agree with the theory. A finding is of the theory, unless it says claim."
)
MEANINGS_KO = (
    "재현됨: 잰 값이 우리 이론과도, 출처의 말과도 맞는다. 정오표: 이론과 맞지만 출처의 말과는 맞지 "
    "않는다. 재현되지 않음: 이론과 맞지 않는다. claim이라고 적힌 줄은 출처의 말을, 나머지는 이론을 "
    "잰 값과 견준다."
)


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One reproduction of claims."""

    format: int
    made_at: str
    elapsed_s: float
    seed: int
    machine: Machine
    versions: dict[str, str]
    reports: list[Report]


def write(card: Card, folder: Path, markdown: Path | None = None) -> Path:
    """Write it into a folder as JSON, HTML and Markdown; answers the path of the page.

    `markdown` is one more file for the last. Raises `LabError` when they cannot be written.
    """
    stamp = card.made_at.replace(":", "").replace("-", "").replace("+0000", "Z")
    page, text = folder / f"{stamp}-scorecard.html", document(card)
    data = msgspec.json.format(msgspec.json.encode(card), indent=1).decode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        page.with_suffix(".json").write_text(data + "\n", encoding="utf-8")
        page.write_text(html(card), encoding="utf-8")
        for file in (page.with_suffix(".md"), markdown):
            if file:
                file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LabError(f"{error.filename}: {error.strerror}") from None
    return page


def check_place(folder: Path, markdown: Path | None = None) -> None:
    """Raises `UsageError` now, not when everything has been measured."""
    results.check_folder(folder)
    if markdown and (markdown.is_dir() or not markdown.parent.is_dir()):
        raise UsageError(f"{markdown} cannot be written; name a file in a folder that exists")


def word(report: Report) -> str:
    """The verdict in words."""
    return report.verdict or FAILED


def show(screen: Console, report: Report) -> None:
    """Print one report: the claim, the verdict, the figures."""
    said = word(report)
    screen.print(Text(f"{report.name}: {report.claim.title}", style="bold"))
    screen.print(Text(report.claim.title_ko))
    table = Table(box=None, pad_edge=False)
    for head in HEADS[:-1]:
        table.add_column(head, justify="left" if head == "" else "right")
    for row in map(_cells, report.findings):
        table.add_row(*(Text(each) for each in row[:-1]))
    if report.findings:
        screen.print(table)
    for note in notes(report):
        screen.print(note, style="yellow", markup=False, highlight=False)
    verdict = Text(f"{said} ({KOREAN[said]}), {report.elapsed_s:.1f} s", style=STYLES[said])
    screen.print(verdict)
    screen.print()


def summary(screen: Console, card: Card) -> None:
    """Print one line a claim, and how many verdicts of each kind there are."""
    table = Table(box=None, pad_edge=False)
    for head in ("claim", "verdict", "holds", "s", "others, cores"):
        table.add_column(head)
    for report in card.reports:
        said = word(report)
        others = f"{report.others_cpu:.1f}" if report.others_cpu > OTHERS_LIMIT else ""
        row = (_share(report), f"{report.elapsed_s:.0f}", others)
        table.add_row(report.name, Text(said, STYLES[said]), *row)
    screen.print(table)
    screen.print(f"{_tally(card)}; {card.elapsed_s:.0f} s", highlight=False)
    for meaning in (MEANINGS, MEANINGS_KO):
        screen.print(meaning, style="dim", highlight=False)


def notes(report: Report) -> Iterator[str]:
    """What else to know of a report: why it could not be run, what it was disturbed by."""
    if report.failed:
        yield report.failed
    if report.others_cpu > OTHERS_LIMIT:
        yield (
            f"Latency may be unstable: other programs took {report.others_cpu:.1f} cores meanwhile."
        )


def document(card: Card) -> str:
    """The scorecard in Markdown."""
    return "\n".join(_document(card))


def html(card: Card) -> str:
    """The scorecard as one page that opens offline."""
    rows = "".join(
        f'<tr><th><a href="#{report.name}">{escape(report.claim.title)}</a></th>'
        f"<td>{word(report)} {KOREAN[word(report)]}</td><td>{_share(report)}</td></tr>"
        for report in card.reports
    )
    body = "\n".join(section(report) for report in card.reports)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n<title>Scorecard</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>Scorecard</h1>\n"
        f'<p class="ko" lang="ko">주장마다 예측하고, 재고, 판정한 결과</p>\n'
        f"<p>{escape(_conditions(card))}</p>\n<p>{escape(_tally(card))}.</p>\n"
        f"<table><tbody>{rows}</tbody></table>\n{body}\n"
        f'<div class="box"><p>{escape(MEANINGS)}</p><p class="ko">{escape(MEANINGS_KO)}</p></div>'
        "\n</body>\n</html>\n"
    )


def section(report: Report) -> str:
    """One report in HTML."""
    claim, said = report.claim, word(report)
    rows = "".join(
        f'<tr class="{"" if finding.holds else "wrong"}"><th>{escape(cells[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells[1:-1])
        + "</tr>"
        for finding, cells in ((each, _cells(each)) for each in report.findings)
    )
    heads = "".join(f"<th>{head}</th>" for head in HEADS[:-1])
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    bases = "; ".join(dict.fromkeys(finding.basis for finding in report.findings))
    said_of = "".join(f"<p><b>{escape(note)}</b></p>" for note in notes(report))
    return (
        f'<section><h2 id="{report.name}">{escape(claim.title)}: {said}</h2>'
        f'<p class="ko" lang="ko">{escape(claim.title_ko)}: {KOREAN[said]}</p>'
        f'<p>{escape(claim.says)} <span class="ko" lang="ko">{escape(claim.says_ko)}</span></p>'
        f"<p>Source: {escape(claim.source)}</p>{said_of}{table if rows else ''}"
        f'<div class="caption"><p>{escape(bases)}</p></div>'
        f"<figure>{report.plot}</figure></section>"
    )


def _document(card: Card) -> Iterator[str]:
    yield "# Scorecard\n"
    yield f"{_conditions(card)} {_tally(card)}.\n"
    yield from grid(
        ("claim", "verdict", "findings that hold", "s"),
        [
            (f"`{report.name}` {report.claim.title}", word(report), _share(report), _s(report))
            for report in card.reports
        ],
    )
    yield f"\n{MEANINGS}\n\n{MEANINGS_KO}"
    for report in card.reports:
        yield from _part(report)
    yield ""


def _part(report: Report) -> Iterator[str]:
    claim: Claim = report.claim
    said = word(report)
    yield f"\n## {claim.title}\n"
    yield f"{claim.title_ko}\n"
    yield f"`labs reproduce {report.name}`: **{said}** ({KOREAN[said]})\n"
    yield f"{claim.says} {claim.says_ko}\n"
    yield f"Source: {claim.source}\n"
    for note in notes(report):
        yield f"{note}\n"
    if report.findings:
        yield from grid(HEADS, [_cells(finding) for finding in report.findings])


def _cells(finding: Finding) -> Sequence[str]:
    return (
        finding.what,
        "" if finding.unit == "yes" else finding.unit,
        _figure(finding, finding.expected),
        _allowed(finding),
        _figure(finding, finding.measured),
        ("holds" if finding.holds else "does not hold")
        + (", claim" if finding.of == "claim" else ""),
        finding.basis,
    )


def _figure(finding: Finding, value: float | None) -> str:
    if value is None:
        return NOTHING
    if finding.unit == "yes":
        return "yes" if value else "no"
    whole = abs(value) >= 1_000 or value == round(value)
    return f"{value:,.0f}" if whole else short(value)


def _allowed(finding: Finding) -> str:
    if finding.least == finding.most:
        return "exactly"
    if isinf(finding.most):
        return f"from {_figure(finding, finding.least)}"
    if isinf(finding.least):
        return f"to {_figure(finding, finding.most)}"
    if finding.expected:
        share = (finding.most - finding.expected) / abs(finding.expected)
        if share < 1:
            return f"± {share * 100:.3g} %"
    return f"{_figure(finding, finding.least)} to {_figure(finding, finding.most)}"


def _share(report: Report) -> str:
    held = sum(finding.holds for finding in report.findings)
    return f"{held} of {len(report.findings)}" if report.findings else NOTHING


def _s(report: Report) -> str:
    return f"{report.elapsed_s:.0f}"


def _tally(card: Card) -> str:
    verdicts = Counter(word(report) for report in card.reports)
    said = ", ".join(f"{number} {each}" for each, number in verdicts.items())
    return f"{count(len(card.reports), 'claim')}: {said}"


def _conditions(card: Card) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in card.versions.items())
    machine = card.machine
    return (
        f"Measured {card.made_at} in {card.elapsed_s:.0f} s, seed {card.seed}, on {machine.cpu}, "
        f"{machine.cores} cores, {machine.kernel}; {versions}."
    )
