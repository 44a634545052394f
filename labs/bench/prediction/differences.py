"""What was measured beside what was predicted: which layer differs, and the likely cause."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from labs.bench.prediction.whole import Prediction
from labs.wire.traffic import Traffic

HALF_A_BYTE = 0.5
CLOSE = 0.01  # of one: a count this near a whole number is that number
TENTH = 0.1  # of a poll: less is not worth a word


class Difference(NamedTuple):
    """One cell that differs: bytes predicted and measured, and a sentence on why."""

    cell: str
    predicted: float
    measured: int
    sentence: str


def difference(predicted: Prediction, measured: Traffic) -> list[Difference]:
    """Every cell that differs by half a byte or more, the largest difference first."""
    apart = {
        key: measured.cells.get(key, 0) - predicted.cells.get(key, 0)
        for key in {*predicted.cells, *measured.cells}
    }
    apart = {key: size for key, size in sorted(apart.items()) if abs(size) >= HALF_A_BYTE}
    return [
        Difference(
            key,
            predicted.cells.get(key, 0),
            measured.cells.get(key, 0),
            _sentence(key, apart, predicted, measured),
        )
        for key in sorted(apart, key=lambda key: -abs(apart[key]))
    ]


def _sentence(
    key: str, apart: Mapping[str, float], predicted: Prediction, measured: Traffic
) -> str:
    direction, layer, phase = key.split("/")
    bytes_ = f"{apart[key]:+,.0f} B {layer} {direction} ({phase})"
    cause = (
        _heads(direction, layer, apart, predicted, measured)
        or _counts(key, apart, predicted)
        or _means(key, apart, predicted)
        or _other(key, predicted)
    )
    return f"{cause}: {bytes_}"


def _heads(
    direction: str,
    layer: str,
    apart: Mapping[str, float],
    predicted: Prediction,
    measured: Traffic,
) -> str | None:
    """As many requests as predicted, but of another length."""
    expected = predicted.counts.requests
    size = sum(each for key, each in apart.items() if key.startswith(f"{direction}/http_head/"))
    if layer != "http_head" or not size or not measured.requests:
        return None
    each = size / measured.requests
    if abs(measured.requests - expected) > CLOSE or abs(each) < HALF_A_BYTE:
        return None
    whose = "request" if direction == "up" else "response"
    than = f"profile {predicted.profile} has it" if direction == "up" else "our servers answer"
    longer = f"{abs(each):.3g} B {'longer' if each > 0 else 'shorter'}"
    return f"as many requests as predicted, but a {whose} head is {longer} than {than}"


def _counts(key: str, apart: Mapping[str, float], predicted: Prediction) -> str | None:
    """So many more or fewer of what the window is made of; of several, what explains most."""
    best: tuple[int, float, str] | None = None
    for name, cells in predicted.parts.items():
        if not cells.get(key):
            continue
        times = apart[key] / cells[key]
        if abs(times - round(times)) > CLOSE * abs(times) or not round(times):
            continue
        explained = sum(
            abs(apart.get(other, 0) - times * size) < HALF_A_BYTE for other, size in cells.items()
        )
        if best is None or (explained, -abs(times)) > best[:2]:
            best = explained, -abs(times), f"{_times(round(times), name)} than predicted"
    return best[2] if best else None


def _means(key: str, apart: Mapping[str, float], predicted: Prediction) -> str | None:
    """How far from a mean over unknown phases or clocks, in polls where that says something."""
    if not isinstance(predicted.cells.get(key), float):
        return None
    for name, cells in predicted.parts.items():
        times = apart[key] / cells[key] if "poll" in name and key in cells else 0.0
        if abs(times) >= TENTH:
            word = "more" if times > 0 else "fewer"
            return f"{abs(times):.1f} {word} {_plural(name)} than the mean over unknown phases"
    return "a mean was predicted, and chance is this far from it"


def _times(times: int, name: str) -> str:
    word = "more" if times > 0 else "fewer"
    return f"{abs(times):,} {word} {_plural(name) if abs(times) > 1 else name}"


def _plural(name: str) -> str:
    ends = {"batch": "batches", "poll": "polls", "message": "messages", "heartbeat": "heartbeats"}
    return " ".join(ends.get(part, part) for part in name.split())


def _other(key: str, predicted: Prediction) -> str:
    if not predicted.cells.get(key):
        return "nothing of this kind was predicted"
    return "no whole number of anything predicted"
