"""The reader's prediction: typed before the measurement, scored after it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from labs.bench.cells import short
from labs.errors import UsageError

CLOSE = 1.1  # a factor: nearer than this is well guessed


@dataclass(frozen=True)
class Guess:
    """A number in `unit`, or a word."""

    value: float | str
    unit: str = ""

    def score(self, actual: float | str) -> Score:
        """How far off it was. Raises `UsageError` where one is a number and the other a word."""
        if isinstance(self.value, str) is not isinstance(actual, str):
            raise UsageError(
                f"the guess is {self.value!r} and the answer {actual!r}; give two of a kind"
            )
        return Score(self, actual)

    def _repr_html_(self) -> str:
        return f"<p>Your guess · 당신의 예상: <b>{escape(self.words(self.value))}</b></p>"

    def words(self, value: float | str) -> str:
        """A value with its unit."""
        if isinstance(value, str):
            return value
        whole = value == round(value) or value >= 1_000
        figure = f"{value:,.0f}" if whole else short(value)
        return f"{figure} {self.unit}".strip()


@dataclass(frozen=True)
class Score:
    """A guess beside what was measured. Shows itself in English and Korean."""

    guess: Guess
    actual: float | str

    @property
    def factor(self) -> float | None:
        """How many times the guess the answer is; None for words, and where either is 0."""
        value, actual = self.guess.value, self.actual
        if isinstance(value, str) or isinstance(actual, str) or not (value and actual):
            return None
        return actual / value

    @property
    def close(self) -> bool:
        """Whether it was right: the word, or the number to a tenth."""
        if self.factor is None:
            return self.guess.value == self.actual
        return 1 / CLOSE <= self.factor <= CLOSE

    @property
    def words(self) -> tuple[str, str]:
        """The sentence, in English and in Korean."""
        mine, real = self.guess.words(self.guess.value), self.guess.words(self.actual)
        how, how_ko = self._how()
        return f"You guessed {mine}; it is {real}: {how}.", f"예상 {mine}, 실제 {real}: {how_ko}."

    def _how(self) -> tuple[str, str]:
        if self.close:
            return "well guessed", "잘 맞혔다"
        if self.factor is None:
            none = ("nothing at all", "전혀 없다")
            return none if self.actual == 0 else ("something else", "다르다")
        if self.factor > 1:
            times = short(self.factor)
            return f"the guess is {times} times too low", f"실제가 예상의 {times}배"
        times = short(1 / self.factor)
        return f"the guess is {times} times too high", f"예상이 실제의 {times}배"

    def _repr_html_(self) -> str:
        english, korean = map(escape, self.words)
        return f"<p>{english}<br>{korean}</p>"

    def __repr__(self) -> str:
        return " ".join(self.words)


def guess(value: float | str, unit: str = "") -> Guess:
    """The reader's prediction: a number in `unit`, or a word such as a transport's name.

    Raises `UsageError` for a number below 0, or no number.
    """
    if isinstance(value, str):
        return Guess(value.strip())
    if not value >= 0:
        raise UsageError(f"{value} is no amount; guess a number from 0 up")
    return Guess(value, unit)
