"""Whether a result that was read can be what somebody measured: a damaged one is told, not drawn.

Types and ranges are checked where it is decoded; here, what they cannot say.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

from labs.bench.record import FATES, Outcome, merged
from labs.errors import LabError
from labs.wire.traffic import DIRECTIONS, LAYERS, PHASES, cell

if TYPE_CHECKING:
    from labs.bench.results import Result, Run

CELLS = {cell(*parts) for parts in product(DIRECTIONS, LAYERS, PHASES)}


def check(result: Result) -> None:
    """Raises `LabError` with the first thing that cannot be so."""
    if not result.runs:
        raise LabError("it has no runs")
    for place, run in enumerate(result.runs):
        for wrong in (*_cells(run), *_fates(run)):
            raise LabError(f"runs[{place}]: {wrong}")
    for packed in {each for run in result.runs for each in _histograms(run.outcome)}:
        _check_histogram(packed)


def _cells(run: Run) -> Iterator[str]:
    for key in (*run.predicted, *(key for each in run.windows.values() for key in each.cells)):
        if key not in CELLS:
            yield f"{key!r} names no bytes; they have names like {cell('up', 'text', 'steady')}"


def _fates(run: Run) -> Iterator[str]:
    for name, number in run.outcome.fates.items():
        if name not in FATES or number < 0:
            yield f"the fate {name!r} of {number} messages; there are {', '.join(FATES)}"


def _histograms(outcome: Outcome) -> Iterator[str]:
    yield from (outcome.corrected, outcome.uncorrected, outcome.probes, outcome.back)
    yield from outcome.timeline


def _check_histogram(packed: str) -> None:
    try:
        merged([packed])
    except Exception as error:  # the decoder has as many words for it as there are damages
        shown = packed if len(packed) <= 20 else f"{packed[:20]}..."
        raise LabError(f"{shown!r} is no histogram: {str(error) or type(error).__name__}") from None
