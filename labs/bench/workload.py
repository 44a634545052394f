"""Workloads: what a crowd does, as data. The same seed gives every variant the same crowd."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Any, Literal

from labs.errors import UsageError
from labs.settings import Settings

Arrivals = Literal["none", "constant", "poisson", "burst"]

_RANGES: dict[str, tuple[float, float]] = {
    "clients": (1, 1_000),
    "duration_s": (0.5, 600),
    "rate_per_s": (0, 10_000),
    "burst_messages": (1, 10_000),
    "chars_median": (1, 1_000),
    "chars_sigma": (0, 3),
    "chars_most": (1, 1_900),
    "korean_share": (0, 1),
    "tail_s": (0, 60),
    "late_s": (0.01, 600),
    "drain_s": (0.1, 600),
}
"""What each number of a workload may be."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of load, on one room. Raises `UsageError` for a value out of range.

    `question` is what it answers. Everyone sits in one room and a random one talks.
    """

    name: str
    question: str
    question_ko: str
    clients: int = 20
    duration_s: float = 2.0  # from the first intended moment to the last
    arrivals: Arrivals = "poisson"
    rate_per_s: float = 25.0  # messages a second, all senders together
    burst_messages: int = 50  # burst: said at one instant, rate_per_s / burst_messages a second
    chars_median: float = 24.0  # the length of a text: lognormal, in characters
    chars_sigma: float = 0.6  # ... the standard deviation of its logarithm
    chars_most: int = 200  # ... and its longest
    korean_share: float = 0.5  # of the messages; the others are English
    tail_s: float = 1.0  # byte runs go on counting this long after the last message
    late_s: float = 3.0  # delivered after this long is late
    drain_s: float = 5.0  # not delivered after this long is lost
    headers: Literal["python"] = "python"  # whose request heads: those of our Python clients
    settings: dict[str, Any] = field(default_factory=dict)  # of server and clients

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise UsageError(
                    f"workload {self.name}: {name} is {value:g}; give {least:g} to {most:g}"
                )
        if self.arrivals != "none" and not self.messages:
            raise UsageError(f"workload {self.name}: rate_per_s is too low for a single message")
        unknown = set(self.settings) - set(Settings.__slots__)
        if unknown:
            raise UsageError(f"workload {self.name}: no setting is called {sorted(unknown)[0]!r}")
        Settings(**self.settings)

    @property
    def messages(self) -> int:
        """How many messages one run sends: whole bursts, where it sends bursts."""
        if self.arrivals == "none":
            return 0
        wanted = self.rate_per_s * self.duration_s
        if self.arrivals == "burst":
            return max(1, round(wanted / self.burst_messages)) * self.burst_messages
        return round(wanted)

    @property
    def deliveries(self) -> int:
        """How many deliveries one run asks for: each message to everyone, its sender too."""
        return self.messages * self.clients

    @property
    def load_model(self) -> str:
        """The load in one phrase, for captions."""
        if self.arrivals == "none":
            return f"{self.clients} clients in one room, nobody talks, {self.duration_s:g} s"
        how = {
            "constant": f"{self.rate_per_s:g} messages/s at a constant rate",
            "poisson": f"{self.rate_per_s:g} messages/s, Poisson arrivals",
            "burst": f"bursts of {self.burst_messages} messages at one instant, "
            f"{self.rate_per_s:g} messages/s on average",
        }[self.arrivals]
        return (
            f"{self.clients} clients in one room, {how}, random senders, "
            f"{self.chars_median:g} characters in the median, {self.korean_share:.0%} Korean, "
            f"{self.duration_s:g} s"
        )


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "idle",
            "What does staying connected cost while nobody talks?",
            "아무도 말하지 않을 때, 연결을 유지하는 데 얼마가 드는가?",
            arrivals="none",
            # Of one length, so that the window holds each client's quiet period once.
            duration_s=15.0,
            tail_s=0.0,
            settings={"hold_s": 15.0, "heartbeat_s": 15.0},
        ),
        Workload(
            "paced",
            "What does a message cost, and how soon is it there, in an ordinary conversation?",
            "보통의 대화에서 메시지 하나의 비용은 얼마이고, 얼마나 빨리 도착하는가?",
        ),
        Workload(
            "burst",
            "What happens when many people speak at the same instant?",
            "많은 사람이 같은 순간에 말하면 어떻게 되는가?",
            duration_s=1.0,
            arrivals="burst",
            rate_per_s=100.0,
        ),
    )
}
"""The workloads that have a name."""


def find(name: str) -> Workload:
    """The workload of this name; raises `UsageError` with the nearest one."""
    if name not in WORKLOADS:
        near = difflib.get_close_matches(name, WORKLOADS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(WORKLOADS)}"
        raise UsageError(f"no workload is called {name!r}; {hint}")
    return WORKLOADS[name]
