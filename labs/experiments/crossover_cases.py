"""What is counted for `crossover`: transports in pairs, each on both sides of where they are equal.

Every message is a batch on push (coalescing is off), unless the window is polling's interval.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
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
from labs.wire.control import child, together

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
    def spoken_s(self) -> float:
        """How long messages are said in the window."""
        return self.window_s - TAIL_S

    @property
    def clocked(self) -> bool:
        """Whether requests are made by the clock, not by the message."""
        return self.far or self.variant == "polling"

    @property
    def expected(self) -> float:
        """Bytes of one client and second.

        Across a round trip, that is at most one answer each while anything is said, and one more.
        """
        carries = carried(self.variant, self.use)
        if not self.far:
            return carries
        rests = 1 - (self.spoken_s + self.use.rtt_s) / self.window_s
        return carries - rests * (carries - self.by_message)

    @property
    def by_message(self) -> float:
        """The part of it that each message has, however it is handed out."""
        weights = weigh(self.variant)
        return self.use.rate_per_s * (weights.message + weights.sent / self.use.members)

    def counted(self, both: int, steady_s: float) -> float:
        """Bytes of one client and second, from all of a window that may have ended late.

        More polls go by in a longer window, but not more messages.
        """
        each = both / self.use.members / self.window_s
        if not self.clocked:
            return each
        return self.by_message + (each - self.by_message) * self.window_s / steady_s

    @property
    def workload(self) -> Workload:
        """The same for every transport of one use: so many messages in the window."""
        use, spoken_s = self.use, self.spoken_s
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


async def count(cases: Sequence[Case], seed: int) -> list[float]:
    """Bytes of one client and second, of each case; all windows begin when everyone has joined.

    For processes that start take the machine from those that keep time. Raises `LabError` if a
    message met a wrong fate.
    """
    ready, found = asyncio.Barrier(len(cases)), dict[Case, float]()

    async def one(case: Case) -> None:
        run = await made(case, seed, ready)
        found[case] = case.counted(run.windows["steady"].both, run.steady_s)

    await together(*(one(case) for case in cases))
    return [found[case] for case in cases]


async def made(case: Case, seed: int, ready: asyncio.Barrier) -> Run:
    """The run of a case, through a tap on the clients' side of whatever is far."""
    plan = Plan(case.workload, case.variant, "bytes", 1, seed)

    async def joined() -> None:
        await ready.wait()

    async with AsyncExitStack() as stack:
        span = await stack.enter_async_context(_away(case, seed)) if case.far else None
        server = await stack.enter_async_context(serving(plan, span))
        crowd = await stack.enter_async_context(child("the crowd", "labs.bench.load"))
        run = await make(plan, server, [crowd], joined)
    if run.outcome.wrong:
        raise LabError(f"{case.variant}, {case.workload.name}: {run.outcome.wrong[0]}")
    return run


@asynccontextmanager
async def _away(case: Case, seed: int) -> AsyncIterator[Span]:
    """A relay before the server that keeps everything back for half the round trip each way."""
    network = Network("far", case.use.rtt_s * 500, up_bit_s=10**9, down_bit_s=10**9)
    async with child("the shaping relay", "labs.net.shaper") as player:
        await player.ask(msgspec.to_builtins(Order(network, seed)), START_S)
        yield Span(network, seed, player, "relay")


def _bisected(apart: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if apart(middle) > 0 else (low, middle)
    return (low + high) / 2
