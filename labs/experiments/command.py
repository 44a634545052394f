"""`labs reproduce`: try claims, print what came of each, write the scorecard."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from rich.console import Console

from labs.bench import results
from labs.bench.others import busy_s
from labs.errors import LabError
from labs.experiments import EXPERIMENTS, load, scorecard
from labs.experiments.experiment import Report, verdict
from labs.experiments.plotting import svg
from labs.experiments.scorecard import Card

ALL = "all"
INTERRUPTED = 130


def reproduce(names: Sequence[str], seed: int, out: Path, markdown: Path | None = None) -> int:
    """Try these claims one after the other, `all` for every one; answers the exit status.

    It is 1 when one was not reproduced, or could not be run, 130 after Ctrl-C. The scorecard is
    written to the folder `out` as JSON, HTML and Markdown, and to the file `markdown` too.
    Raises `UsageError` for a name that there is not, or a place that cannot be written to.
    """
    chosen = list(EXPERIMENTS) if ALL in names else list(dict.fromkeys(names))
    for name in chosen:
        load(name)
    scorecard.check_place(out, markdown)
    screen, begun_s, status = Console(), monotonic(), 0
    reports: list[Report] = []
    try:
        for place, name in enumerate(chosen, 1):
            with screen.status(f"{place} of {len(chosen)}: {name}"):
                reports.append(asyncio.run(tried(name, seed)))
            scorecard.show(screen, reports[-1])
    except KeyboardInterrupt:
        status = INTERRUPTED
        screen.print(f"Interrupted: {len(reports)} of {len(chosen)} claims were tried.")
    if reports:
        card = _card(reports, seed, monotonic() - begun_s)
        path = scorecard.write(card, out, markdown)
        scorecard.summary(screen, card)
        screen.print(f"scorecard: {path}", soft_wrap=True, markup=False, highlight=False)
    good = all(report.verdict in ("reproduced", "erratum") for report in reports)
    return status or (0 if good else 1)


async def tried(name: str, seed: int = 1) -> Report:
    """Try one claim. What kept it from being run stands in the report's `failed`."""
    experiment = load(name)
    begun_s, before = monotonic(), busy_s()
    try:
        predicted = experiment.predict()
        measured = await experiment.run(seed)
    except LabError as error:
        elapsed_s = monotonic() - begun_s
        return Report(name=name, claim=experiment.claim, failed=str(error), elapsed_s=elapsed_s)
    elapsed_s = monotonic() - begun_s
    findings = experiment.judge(predicted, measured)
    return Report(
        name=name,
        claim=experiment.claim,
        verdict=verdict(findings),
        findings=findings,
        elapsed_s=elapsed_s,
        others_cpu=max(0.0, busy_s() - before) / elapsed_s,
        plot=svg(experiment.plot(predicted, measured)),
    )


def _card(reports: list[Report], seed: int, elapsed_s: float) -> Card:
    return Card(
        format=scorecard.FORMAT,
        made_at=results.now(),
        elapsed_s=elapsed_s,
        seed=seed,
        machine=results.this_machine(),
        versions=results.versions(),
        reports=reports,
    )
