"""What an experiment is: a claim, a prediction, a run, and a verdict that follows from figures.

    claim -> predict() -> run() -> judge(predicted, measured) -> findings -> verdict

`predict` is a closed form and does no I/O; `run` uses the real servers. Each finding compares one
measured figure with what it ought to be, and is *of* one of two things: of our `theory`, or of
the `claim` in the source's own figures. So the verdict needs no opinion:

    a finding of the theory fails    not reproduced: we cannot explain what we saw
    only findings of the claim fail  erratum: the theory describes it, the claim does not
    all hold                         reproduced
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, Literal, TypeVar

import msgspec
from matplotlib.figure import Figure

Verdict = Literal["reproduced", "not reproduced", "erratum"]
Of = Literal["theory", "claim"]

Predicted = TypeVar("Predicted")
Measured = TypeVar("Measured")


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody says, in a sentence of ours, in English and Korean.

    `source` is who says it and where; if only somebody else's report of it was read, it says so.
    """

    title: str
    title_ko: str
    says: str
    says_ko: str
    source: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One figure, in `unit`, beside what was expected of it.

    It holds from `least` to `most`, of which one may be infinite (null in JSON). `basis` names
    what the measured figure rests on: its layer, its clock, its load model, its sample size.
    """

    what: str
    unit: str
    expected: float | None
    measured: float
    least: float
    most: float
    basis: str
    of: Of = "theory"

    @property
    def holds(self) -> bool:
        """Whether the measured figure is where it should be."""
        return self.least <= self.measured <= self.most


def near(
    what: str,
    unit: str,
    expected: float,
    measured: float,
    basis: str,
    *,
    within: float = 0.0,
    by: float = 0.0,
    of: Of = "theory",
) -> Finding:
    """A figure that should be the expected one: within a share of it, or by so much in its unit.

    With neither it must be the same figure exactly.
    """
    reach = max(abs(expected) * within, by)
    return Finding(
        what=what,
        unit=unit,
        expected=expected,
        measured=measured,
        least=expected - reach,
        most=expected + reach,
        basis=basis,
        of=of,
    )


def bounded(
    what: str,
    unit: str,
    measured: float,
    basis: str,
    *,
    least: float = -inf,
    most: float = inf,
    of: Of = "theory",
) -> Finding:
    """A figure that should not be below `least`, or not above `most`."""
    return Finding(
        what=what,
        unit=unit,
        expected=None,
        measured=measured,
        least=least,
        most=most,
        basis=basis,
        of=of,
    )


def true(what: str, measured: bool, basis: str, *, of: Of = "theory") -> Finding:
    """Something that should be so; its figure is 1 for yes, 0 for no."""
    return near(what, "yes", 1, int(measured), basis, of=of)


def verdict(findings: Sequence[Finding]) -> Verdict:
    """What the findings say of the claim. Raises `ValueError` where there are none."""
    if not findings:
        raise ValueError("an experiment without findings has no verdict")
    failed: set[Of] = {finding.of for finding in findings if not finding.holds}
    if "theory" in failed:
        return "not reproduced"
    return "erratum" if "claim" in failed else "reproduced"


@dataclass(frozen=True, kw_only=True)
class Experiment(Generic[Predicted, Measured]):
    """A claim and how it is tried.

    `predict()` answers what theory expects, `await run(seed)` what the real servers do; it raises
    `LabError` with a sentence that says what to install where the machine lacks something, and
    where a message was lost. `plot` draws the theory over the measurement.
    """

    claim: Claim
    predict: Callable[[], Predicted]
    run: Callable[[int], Awaitable[Measured]]
    judge: Callable[[Predicted, Measured], list[Finding]]
    plot: Callable[[Predicted, Measured], Figure]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an experiment. `failed` says why it could not be run, if it could not.

    `plot` is SVG; `others_cpu` are the cores that other programs took meanwhile.
    """

    name: str
    claim: Claim
    verdict: Verdict | None = None
    findings: list[Finding] = []
    elapsed_s: float = 0.0
    others_cpu: float = 0.0
    failed: str = ""
    plot: str = ""

    def _repr_html_(self) -> str:
        from labs.experiments.scorecard import section

        return section(self)


AnyExperiment = Experiment[Any, Any]
