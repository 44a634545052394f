"""What was measured beside what was predicted: which layer differs, and the likely cause.

Causes are looked for in this order: polls that stood open at the end of the window and were
answered after it; as many requests as predicted, but with other heads; more or fewer heartbeats,
which all have one size; more or fewer batches for the same messages, which the envelope tells: each
has brackets where a message more has a comma. What is left is chance, for a mean, or unexplained.
"""

from __future__ import annotations

from typing import NamedTuple

from labs.bench.prediction.whole import Prediction
from labs.wire.traffic import Traffic

HALF_A_BYTE = 0.5
TENTH = 0.1  # of anything: less, of a mean, is chance
ENVELOPE = "down/envelope/steady"
ASKED_FOR_NEWS, ASKED_FOR_NOTHING = "up/http_head/steady", "up/http_head/heartbeat"
NOTHING = "down/http_head/heartbeat"
OPEN = "polls that stood open at the end of the window were answered after it, with news"


class Difference(NamedTuple):
    """One cell that differs: bytes predicted and measured, and a sentence on why."""

    cell: str
    predicted: float
    measured: int
    sentence: str


def difference(predicted: Prediction, measured: Traffic) -> list[Difference]:
    """Every cell that differs by half a byte or more, the largest difference first."""
    comparison = _Comparison(predicted, measured)
    largest_first = sorted(comparison.apart, key=lambda key: -abs(comparison.apart[key]))
    return [comparison.difference(key) for key in largest_first]


class _Comparison:
    """A prediction and a measurement. `apart` is measured less predicted, by cell."""

    def __init__(self, predicted: Prediction, measured: Traffic) -> None:
        self.predicted, self.measured = predicted, measured
        found = {
            key: measured.cells.get(key, 0) - predicted.cells.get(key, 0)
            for key in {*predicted.cells, *measured.cells}
        }
        self.apart = {key: size for key, size in sorted(found.items()) if abs(size) >= HALF_A_BYTE}
        requests_apart = measured.requests - predicted.counts.requests
        self.same_requests = measured.requests > 0 and abs(requests_apart) < HALF_A_BYTE
        self.heartbeat, *others = predicted.parts
        self.batch = others[0] if others else ""
        self.batches = self._batches()
        self.open = self._stood_open()

    def difference(self, key: str) -> Difference:
        """One cell, and why."""
        why = (
            self._open(key)
            or self._heads(key)
            or self._heartbeats(key)
            or self._merged(key)
            or self._rest(key)
        )
        direction, layer, phase = key.split("/")
        size = self.apart[key]
        sentence = f"{why}: {size:+,.0f} B {layer} {direction} ({phase})"
        at, real = self.predicted.cells.get(key, 0), self.measured.cells.get(key, 0)
        return Difference(key, at, real, sentence)

    def _batches(self) -> float:
        """How many more there were than predicted, if it was the same that was said."""
        if not self.batch or any("/text/" in key for key in self.apart):
            return 0.0
        each = self.predicted.parts[self.batch][ENVELOPE]
        return self.apart.get(ENVELOPE, 0.0) / each

    def _stood_open(self) -> float:
        """Bytes of requests for nothing which are fewer, though as often nothing was answered."""
        size, each = self.apart.get(ASKED_FOR_NOTHING, 0.0), self._each(ASKED_FOR_NOTHING)
        as_often = self._each(NOTHING) and NOTHING not in self.apart
        return size if as_often and size < -each / 2 else 0.0

    def _each(self, key: str) -> float:
        return self.predicted.parts[self.heartbeat].get(key, 0.0)

    def _open(self, key: str) -> str | None:
        asked = key == ASKED_FOR_NOTHING or (key == ASKED_FOR_NEWS and not self.batches)
        return OPEN if self.open and asked else None

    def _heads(self, key: str) -> str | None:
        direction, layer, _ = key.split("/")
        heads = f"{direction}/http_head/"
        size = sum(each for other, each in self.apart.items() if other.startswith(heads))
        if layer != "http_head" or not self.same_requests:
            return None
        each = size / self.measured.requests
        if abs(each) < HALF_A_BYTE or (direction == "down" and self.batches):
            return None
        whose = "request" if direction == "up" else "response"
        than = f"profile {self.predicted.profile} has it" if direction == "up" else "our servers'"
        longer = f"{abs(each):.3g} B {'longer' if each > 0 else 'shorter'}"
        return f"as many requests as predicted, but a {whose} head is {longer} than {than}"

    def _heartbeats(self, key: str) -> str | None:
        each = self._each(key)
        return self._times(self.apart[key] / each, self.heartbeat, key) if each else None

    def _merged(self, key: str) -> str | None:
        each = self.predicted.parts[self.batch].get(key) if self.batches else None
        if not each:
            return None
        if "/http_head/" not in key:
            return self._times(self.batches, self.batch, key)
        # By themselves, for a poll may also bring nothing but an ack.
        opened = self.open if key == ASKED_FOR_NEWS else 0.0
        why = self._times((self.apart[key] + opened) / each, self.batch, key)
        return f"{why}, and {OPEN}" if opened and why else why

    def _times(self, times: float, part: str, key: str) -> str | None:
        """So many more or fewer of a part; what was predicted whole differs by whole ones."""
        whole = not isinstance(self.predicted.cells.get(key, 0), float)
        if abs(times) < TENTH:
            return None
        many = f"{abs(times):,.0f}" if whole else f"{abs(times):,.1f}"
        name = part if many == "1" else _plural(part)
        than = "than predicted" if whole else "than the mean over unknown phases"
        return f"{many} {'more' if times > 0 else 'fewer'} {name} {than}"

    def _rest(self, key: str) -> str:
        if isinstance(self.predicted.cells.get(key), float):
            return "a mean was predicted, and chance is this far from it"
        if not self.predicted.cells.get(key):
            return "nothing of this kind was predicted"
        return "no whole number of anything predicted"


def _plural(name: str) -> str:
    ends = {"batch": "batches", "poll": "polls", "heartbeat": "heartbeats"}
    return " ".join(ends.get(part, part) for part in name.split())
