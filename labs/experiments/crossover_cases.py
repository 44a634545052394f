"""What is counted for `crossover`: transports in pairs, each on both sides of where they are equal.

Every message is a batch on push (coalescing is off), unless the window is polling's interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np

from labs.advise.flow import Use, flow, weigh
from labs.bench.results import Run
from labs.bench.run import START_S, Plan, make, serving
from labs.bench.workload import Workload
from labs.errors import LabError
from labs.net.between import Span
from labs.net.line import Order
from labs.net.network import Network
from labs.wire.control import child

INTERVAL_S = 0.5
MEMBERS = 40
FEW = 4  # fewer than the least room in which polling can be cheaper than frames
RATES = (1.0, 5.0, 20.0, 80.0)
SIDES = {
    "longpolling": (1.0, 5.0),
    "streaming": (5.0, 20.0),
    "websocket": (20.0, 80.0),
    "socketio": (20.0, 80.0),
}
"""By transport, the rates below and above that at which it carries as much as polling."""

FAR_RTT_S, FAR_RATE, FAR_MEMBERS = 0.3, 60.0, 10
WINDOW_S = 6.0
TAIL_S = INTERVAL_S + 0.3  # in which the last message is fetched, on a busy machine too
LEAST_RATE, MOST_RATE, STEPS = 0.01, 100_000.0, 141
HALVINGS = 60  # past what a double can tell apart


@dataclass(frozen=True)
class Case:
    """One transport in one use."""

    variant: str
    use: Use
    window_s: float = WINDOW_S

    @property
    def far(self) -> bool:
        """Whether there is a round trip to speak of."""
        return self.use.rtt_s > 0

    @property
    def expected(self) -> float:
        """Bytes of one client and second."""
        return carried(self.variant, self.use)

    @property
    def workload(self) -> Workload:
        """The same for every transport of one use: so many messages in the window."""
        use, spoken_s = self.use, self.window_s - TAIL_S
        return Workload(
            name=f"crossover {use.rate_per_s:g}/s, {use.members}",
            clients=use.members,
            probes=0,
            duration_s=spoken_s,
            tail_s=TAIL_S,
            rate_per_s=use.rate_per_s * self.window_s / spoken_s,
            settings={
                "interval_s": use.interval_s,
                "coalesce_ms": use.coalesce_s * 1_000 or None,
                "heartbeat_s": use.heartbeat_s,
            },
        )


USUAL = Use(
    rate_per_s=RATES[0], members=MEMBERS, interval_s=INTERVAL_S, heartbeat_s=WINDOW_S, hold_s=25.0
)
WAITING = USUAL.but(rate_per_s=RATES[-1], coalesce_s=INTERVAL_S)
ALONE = USUAL.but(rate_per_s=RATES[-1], members=FEW)
FAR = USUAL.but(rate_per_s=FAR_RATE, members=FAR_MEMBERS)
DISTANT = FAR.but(rtt_s=FAR_RTT_S)

PAIRS = (
    *(
        (Case("polling", USUAL.but(rate_per_s=rate)), Case(name, USUAL.but(rate_per_s=rate)))
        for name, rates in SIDES.items()
        for rate in rates
    ),
    (Case("polling", ALONE), Case("websocket", ALONE)),
    (Case("polling", USUAL.but(rate_per_s=RATES[-1])), Case("websocket", WAITING)),
    (Case("longpolling", DISTANT), Case("streaming", FAR)),
)
"""Of the same use, but for who waits, and how far away."""

CASES = tuple(dict.fromkeys(case for pair in PAIRS for case in pair))


def carried(variant: str, use: Use) -> float:
    """Bytes of one client and second."""
    return flow(variant, weigh(variant), use).bytes


def equal_per_s(first: Case, second: Case) -> float | None:
    """The lowest rate above which the first carries fewer bytes than the second, if there is one.

    By bisection, between `LEAST_RATE` and `MOST_RATE`.
    """

    def apart(rate: float) -> float:
        one, other = (
            carried(case.variant, case.use.but(rate_per_s=rate)) for case in (first, second)
        )
        return one - other

    rates = [float(rate) for rate in np.geomspace(LEAST_RATE, MOST_RATE, STEPS)]
    for low, high in pairwise(rates):
        if apart(low) > 0 >= apart(high):
            return _bisected(apart, low, high)
    return None


def least_members(variant: str) -> float:
    """The room in which sending by POST costs each member what a push of each message does."""
    mine = weigh(variant)
    return (weigh("polling").sent - mine.sent) / mine.batch


async def across(case: Case, seed: int) -> Run:
    """A run behind a relay that keeps everything back for half the round trip each way.

    The tap stands on the clients' side of it. Raises `LabError` if a message met a wrong fate.
    """
    network = Network("far", case.use.rtt_s * 500, up_bit_s=10**9, down_bit_s=10**9)
    plan = Plan(case.workload, case.variant, "bytes", 1, seed)
    async with child("the shaping relay", "labs.net.shaper") as player:
        await player.ask(msgspec.to_builtins(Order(network, seed)), START_S)
        span = Span(network, seed, player, "relay")
        async with serving(plan, span) as server, child("the crowd", "labs.bench.load") as crowd:
            found = await make(plan, server, [crowd], _at_once)
    if found.outcome.wrong:
        raise LabError(f"{case.variant}, {case.workload.name}: {found.outcome.wrong[0]}")
    return found


async def _at_once() -> None:
    """A run that is alone waits for nobody."""


def _bisected(apart: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if apart(middle) > 0 else (low, middle)
    return (low + high) / 2
