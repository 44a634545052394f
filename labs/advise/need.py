"""What is needed of a chat, as plain data; and how durations and rates are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil

from labs.errors import UsageError

UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
PERIODS_S = {"s": 1.0, "min": 60.0, "h": 3_600.0}
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_POWER = r"(e[+-]?\d+)?"

_RANGES: dict[str, tuple[float, float]] = {
    "clients": (1, 200_000),
    "rooms": (1, 200_000),
    "rate_per_s": (0, 100_000),
    "rtt_s": (0, 60),
    "max_latency_s": (0.001, 600),
    "chars": (1, 1_900),
}
"""What each number of a need may be."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """A chat that somebody wants. Raises `UsageError` for a value out of range.

    `rate_per_s` are the messages said in each room, by all its members together; everyone there
    reads them all. `rtt_s` is the round trip between a client and the server, `max_latency_s`
    within what 95 % of deliveries must be there, from the moment somebody sent. `chars` is the
    median length of a text. `behind_proxy` says that something on the way refuses the upgrade to
    WebSocket, `browser` that the clients are Chromium, whose request heads are longer.
    """

    clients: int = 100
    rate_per_s: float = 1.0
    rooms: int = 1
    rtt_s: float = 0.05
    max_latency_s: float = 1.0
    chars: int = 24
    behind_proxy: bool = False
    browser: bool = False

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                wrong = "too large" if value > most else "too small"
                raise UsageError(
                    f"{name} is {value:,.10g}, {wrong}; give {least:g} to {most:,.10g}"
                )
        if self.rooms > self.clients:
            raise UsageError(
                f"{_many(self.rooms, 'room')} for {_many(self.clients, 'client')}; give fewer rooms"
            )

    @property
    def members(self) -> int:
        """How many sit in the fullest room."""
        return ceil(self.clients / self.rooms)

    @property
    def profile(self) -> str:
        """Whose request heads."""
        return "chromium" if self.browser else "python"

    def __str__(self) -> str:
        where = "one room" if self.rooms == 1 else f"{self.rooms:,} rooms"
        return (
            f"{_many(self.clients, 'client')} in {where}, {self.rate_per_s:,.10g} messages/s in "
            f"each, {_many(self.chars, 'character')} in the median; round trip "
            f"{duration(self.rtt_s)}; 95 % of deliveries within {duration(self.max_latency_s)}; "
            f"heads of {self.profile}"
            + ("; a proxy refuses the upgrade to WebSocket" if self.behind_proxy else "")
        )


def seconds(option: str, text: str) -> float:
    """A duration: `80ms`, `0.5s`, `2min`, or `2` for seconds. Raises `UsageError`."""
    found = re.fullmatch(rf"\s*{_NUMBER}\s*(us|ms|s|min)?\s*", text)
    if not found:
        raise UsageError(f"{option} is {text!r}; give a duration like 80ms, 0.5s or 2 (seconds)")
    return float(found[1]) * UNITS_S[found[2] or "s"]


def rate_per_s(option: str, text: str) -> float:
    """A rate: `0.2` or `0.2/s`, `12/min`, `100/h`. Raises `UsageError`."""
    found = re.fullmatch(rf"\s*{_NUMBER}{_POWER}\s*(?:/\s*(s|min|h))?\s*", text)
    if not found:
        raise UsageError(f"{option} is {text!r}; give a rate like 0.2, 0.2/s or 12/min")
    return float(found[1] + (found[2] or "")) / PERIODS_S[found[3] or "s"]


def duration(value_s: float) -> str:
    """A duration as a person writes it."""
    # 0.9995 s would be 1e+03 ms to three digits.
    return f"{value_s:.3g} s" if value_s >= 0.9995 else f"{value_s * 1_000:.3g} ms"


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
