"""What a few runs can tell of all runs: intervals of a median, ratios of two, and effect sizes.

A value here is one run's. Deliveries within a run are not independent of one another (a slow
moment delays many of them), so nothing is resampled but whole runs.

Two kinds of interval, and why. The percentile bootstrap needs no formula, so a ratio of two
medians has it; but of a few values it is too sure of itself, and a rule that stops at the first
narrow one makes that worse. For a median there is a better one: how many of n independent runs
lie below the true median is binomial, whatever the distribution, so the interval between two of
the runs themselves holds it with a probability that is known exactly. It takes six runs to
reach 95 %. It is never narrower than the bootstrap one of the same runs (a test compares them),
so what is narrow enough by it is so by both. Of three to five runs only the bootstrap's remains.

Sources: the interval by order statistics, H. A. David and H. N. Nagaraja, "Order Statistics",
3rd edition, 2003, section 7.1; the percentile bootstrap, B. Efron and R. Tibshirani, "An
Introduction to the Bootstrap", 1993, chapter 13; Cliff's delta, N. Cliff, "Dominance statistics:
ordinal analyses to answer ordinal questions", Psychological Bulletin 114(3), 1993; the words for
its size, J. Romano and others, "Appropriate statistics for ordinal level data", 2006.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb
from statistics import median

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RUNS_LEAST = 3  # with fewer there is no interval
EXACT_LEAST = 6  # ... and with fewer than these no exact one: 1 - 2 / 2**6 is above 95 %
RESAMPLES = 5_000
SEED = 1  # of the resampling: the same result always has the same intervals

SIZES = ((0.147, "negligible"), (0.33, "small"), (0.474, "medium"))
"""What the absolute value of Cliff's delta is called below each bound; "large" above."""


@dataclass(frozen=True)
class Interval:
    """The median of `n` runs, and from where to where the median of all runs may lie.

    `level` is how often such an interval holds the true one: exact from six runs on. Below, it is
    nominal, for the bootstrap of so few is too sure of itself: of 5 runs, fifteen intervals in
    sixteen hold it, not nineteen in twenty.
    """

    median: float
    low: float
    high: float
    n: int
    level: float = LEVEL

    @property
    def within(self) -> float:
        """The farther end's distance from the median, as a share of it."""
        if self.low == self.high:
            return 0.0
        return max(self.high - self.median, self.median - self.low) / self.median


@dataclass(frozen=True)
class Ratio:
    """The median of one group of runs by that of another, `of` and `to` in the metric's unit.

    `low`, `high` and `delta` are None where either group has fewer than three runs. `delta` is
    Cliff's: of all pairs of runs, the share where the first is larger less the share where it
    is smaller, from -1 to 1.
    """

    of: float
    to: float
    value: float
    low: float | None
    high: float | None
    delta: float | None
    n_of: int
    n_to: int

    @property
    def size(self) -> str:
        """The effect in a word: negligible, small, medium or large; empty where unknown."""
        if self.delta is None:
            return ""
        return next((word for bound, word in SIZES if abs(self.delta) < bound), "large")

    @property
    def differs(self) -> bool | None:
        """Whether the interval leaves out 1; None where there is no interval."""
        if self.low is None or self.high is None:
            return None
        return self.low > 1 or self.high < 1


def interval(values: Sequence[float]) -> Interval | None:
    """The interval of the median of runs, at 95 % or a little more; each value is one run's.

    By order statistics from six runs on, else by the bootstrap. None for fewer than three runs:
    too few to say anything.
    """
    if len(values) < EXACT_LEAST:
        return bootstrap(values)
    (rank, level), ordered = _narrowest(len(values)), sorted(values)
    return Interval(median(ordered), ordered[rank], ordered[-1 - rank], len(ordered), level)


def bootstrap(values: Sequence[float], seed: int = SEED) -> Interval | None:
    """The percentile bootstrap interval of the median of runs, at a nominal 95 %.

    `seed` is that of the resampling. None for fewer than three runs.
    """
    if len(values) < RUNS_LEAST:
        return None
    low, high = _ends(_medians(values, np.random.default_rng(seed)))
    return Interval(median(values), low, high, len(values))


def ratio(of: Sequence[float], to: Sequence[float], seed: int = SEED) -> Ratio | None:
    """The ratio of two groups' medians, its interval and effect size; each value is one run's.

    Both groups are resampled, independently. None where a group is empty, or `to` has a median
    of zero.
    """
    if not of or not to or not median(to):
        return None
    upper, lower = median(of), median(to)
    if min(len(of), len(to)) < RUNS_LEAST:
        return Ratio(upper, lower, upper / lower, None, None, None, len(of), len(to))
    random = np.random.default_rng(seed)
    above, below = _medians(of, random), _medians(to, random)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = _ends(above / below)
    return Ratio(upper, lower, upper / lower, low, high, delta(of, to), len(of), len(to))


def delta(of: Sequence[float], to: Sequence[float]) -> float:
    """Cliff's delta of two groups: 1 if every value of the first is above every one of the other.

    Raises `ZeroDivisionError` for an empty group.
    """
    signs = np.sign(np.subtract.outer(np.asarray(of), np.asarray(to)))
    return float(signs.sum()) / (len(of) * len(to))


@lru_cache
def _narrowest(count: int) -> tuple[int, float]:
    """How many runs to leave out at each end, and the chance that the rest hold the median."""
    missed, rank = 2 / 2**count, 0  # all runs lie on one side of it
    while (more := missed + 2 * comb(count, rank + 1) / 2**count) <= 1 - LEVEL:
        missed, rank = more, rank + 1
    return rank, 1 - missed


def _medians(values: Sequence[float], random: np.random.Generator) -> NDArray[np.float64]:
    picked = random.choice(np.asarray(values, dtype=np.float64), (RESAMPLES, len(values)))
    found: NDArray[np.float64] = np.median(picked, axis=1)
    return found


def _ends(resampled: NDArray[np.float64]) -> tuple[float, float]:
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return float(low), float(high)
