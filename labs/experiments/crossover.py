"""Where polling carries fewer bytes than push, and where it never does.

Bytes a second of one client's connection, with r messages a second in a room of N members, polls
every T, a round trip R: labs/advise/flow.py derives them. With B for what a batch weighs besides
its messages, s for a message sent, m for one handed out, e for an empty poll:

    polling     (1 - exp(-r T)) B / T + exp(-r T) e / T  + r m + s r / N
    long poll   B / (R + exp(-r R) / r)                  + r m + s r / N      (idle ends left out)
    push        r B'  + heartbeats                       + r m + s' r / N

r m is the same everywhere. Polling pays for its heads by the clock, so that they cost nothing more
when more is said; whoever pushes each message pays for each. Hence, if r T is more than a few:

*Streaming* sends by the same POST, s' = s, and is dearer than polling from r T = B / B' on,
whatever the size of the room. *A frame* costs less to send than a POST, and that saving,
(s - s') r / N, is shared by few in a small room: polling is cheaper from

    r T = B / (B' - (s - s') / N)   on, if N > (s - s') / B', and never in a smaller room.

*Long polling* pays a whole head for each message: it is dearer from about one message an interval
on. But it can make only one poll a round trip, so that it carries at most B / R: across a long
round trip it is cheaper than streaming, once r R is more than B / B'.

What decides is not who begins to speak but who waits: polling batches what was said in T. Push that
waits as long, with a window w = T, carries r / (1 + r T) batches, and each has B' < B: then
polling is dearer at any rate, in any room in which a frame costs less than a head.

Every message is a batch here on push (coalescing is off), unless the window is T. The equations
are solved by bisection; each is then measured on both sides of its root.

Tolerances. What has digits (lengths, offsets) makes heads some bytes longer or shorter than the
mean: 2 % of polling's heads, half a byte of what stands around a pushed batch, four bytes of a
message sent. Of 1 - exp(-r T), the share of time covered by intervals of T after each message of a
Poisson process, a window W
sees a mean whose variance is

    (2 / W) (q (1 - q) / r - T q^2)       with q = exp(-r T)

to first order; three standard deviations are allowed. Two messages that come within MERGED_S, which
a busy machine may take to answer a long poll, share an answer. Across a round trip the turn of
client and server adds to it, through two relays: LATE_S.
"""

from __future__ import annotations

from math import exp, sqrt

import msgspec
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labs.advise.flow import Use, weigh
from labs.experiments.crossover_cases import (
    CASES,
    INTERVAL_S,
    MEMBERS,
    PAIRS,
    RATES,
    USUAL,
    WAITING,
    WINDOW_S,
    Case,
    carried,
    count,
    equal_per_s,
    least_members,
)
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, legend, logarithmic, measured, theory
from labs.variants import FIVE

CLAIM = Claim(
    title="Push always carries fewer bytes than polling",
    title_ko="푸시는 언제나 폴링보다 적은 바이트를 쓴다",
    says="Whoever is told when there is news needs fewer bytes than whoever asks at an interval.",
    says_ko="새 소식이 있을 때 알려 받는 쪽이, 일정한 간격으로 물어보는 쪽보다 적은 바이트를 쓴다.",
    source="Folklore; of long polling, RFC 6202 (2011), section 2.1, has the aim alone: it "
    '"attempts to minimize" latency and the use of network resources.',
)

DIGITS, DIGITS_BYTES, SENT_BYTES = 0.02, 0.5, 4
MERGED_S = 0.02
LATE_S = 0.05
DEVIATIONS = 3


class Pair(msgspec.Struct, frozen=True):
    """Two cases by their places, what should lie between them, and how far it may be off.

    In bytes of one client and second. `equal_per_s` is the rate at which both carry as much, None
    where there is none; `claimed` says that the second is push and the first is polling.
    """

    what: str
    first: int
    second: int
    difference: float
    reach: float
    equal_per_s: float | None
    claimed: bool


class Predicted(msgspec.Struct, frozen=True):
    """The pairs, and by transport the room from which on polling can be cheaper than frames."""

    pairs: list[Pair]
    least_members: dict[str, float]


Found = list[float]
"""Bytes of one client and second, in the order of the cases."""


def predict() -> Predicted:
    """The closed form."""
    least = {name: least_members(name) for name in ("websocket", "socketio")}
    return Predicted([_pair(first, second) for first, second in PAIRS], least)


async def run(seed: int) -> Found:
    """Count them at the tap, side by side; one of them across a round trip."""
    return await count(CASES, seed)


def judge(predicted: Predicted, found: Found) -> list[Finding]:
    """Each pair: the difference, and whether push carried less than polling."""
    apart = [
        near(
            f"{pair.what} ({_equal(pair)})",
            "B/s",
            pair.difference,
            found[pair.first] - found[pair.second],
            _basis(pair),
            by=pair.reach,
        )
        for pair in predicted.pairs
    ]
    claims = [
        bounded(
            _told(pair),
            "times",
            found[pair.second] / found[pair.first],
            _basis(pair),
            most=1,
            of="claim",
        )
        for pair in predicted.pairs
        if pair.claimed
    ]
    return [*apart, *claims]


def plot(predicted: Predicted, found: Found) -> Figure:
    """By rate, bytes a second, and those of push by those of polling; the axes logarithmic."""
    figure, (total, share) = axes(columns=2, height_in=3.4, right=0.74)
    figure.subplots_adjust(wspace=0.32)
    rates = [float(rate) for rate in np.geomspace(RATES[0] / 2, RATES[-1] * 2, 60)]
    lines = [(name, name, USUAL) for name in FIVE]
    lines.append(("websocket", f"websocket, {INTERVAL_S:g} s window", WAITING))
    for index, (name, label, use) in enumerate(lines):
        _draw(total, rates, name, use, found, index)
        _draw(share, rates, name, use, found, index, label)
    total.set_ylabel("bytes a second and client")
    share.set_ylabel(f"by those of polling every {INTERVAL_S:g} s")
    for on in (total, share):
        on.set_xscale("log")
        on.set_yscale("log")
        logarithmic(on.xaxis)
        logarithmic(on.yaxis)
        on.set_xlabel(f"messages/s to {MEMBERS} (log scales)")
    legend(share)
    return figure


def _draw(
    on: Axes,
    rates: list[float],
    name: str,
    use: Use,
    found: Found,
    index: int,
    label: str = "",
) -> None:
    """One transport's line and dots: its bytes, or with a label their share of polling's."""
    shared = bool(label)
    line = [carried(name, use.but(rate_per_s=rate)) for rate in rates]
    polling = [carried("polling", USUAL.but(rate_per_s=rate)) for rate in rates]
    theory(on, rates, _by(line, polling) if shared else line, label or "_", index)
    places = [(rate, Case(name, use.but(rate_per_s=rate))) for rate in RATES]
    dots = {rate: found[CASES.index(case)] for rate, case in places if case in CASES}
    polled = [found[CASES.index(Case("polling", USUAL.but(rate_per_s=rate)))] for rate in dots]
    counted = list(dots.values())
    mark = "measured" if shared and name == "polling" else "_"
    measured(on, list(dots), _by(counted, polled) if shared else counted, mark, index)


def _by(those: list[float], these: list[float]) -> list[float]:
    return [one / other for one, other in zip(those, these, strict=True)]


def _pair(first: Case, second: Case) -> Pair:
    far = f", round trip {first.use.rtt_s:g} s" if first.far else ""
    return Pair(
        f"{first.variant} less {second.variant}{_waits(second)}{_where(first.use)}{far}",
        CASES.index(first),
        CASES.index(second),
        first.expected - second.expected,
        _reach(first, second),
        equal_per_s(first, second),
        claimed=first.variant == "polling",
    )


def _reach(first: Case, second: Case) -> float:
    """How far the difference may be from what is expected, in bytes a second."""
    use, weights = first.use, weigh(first.variant)
    if first.far:
        late = 1 / use.rtt_s - 1 / (use.rtt_s + LATE_S)
        return late * weights.batch * first.spoken_s / first.window_s
    digits = (
        DIGITS * weights.batch / use.interval_s
        + DIGITS_BYTES * use.rate_per_s
        + SENT_BYTES * use.rate_per_s / use.members
    )
    spread = (weights.batch - weights.empty) / use.interval_s * _deviation(use)
    merged = use.rate_per_s**2 * MERGED_S * weights.batch
    return digits + DEVIATIONS * spread + merged * (second.variant == "longpolling")


def _deviation(use: Use) -> float:
    """The standard deviation of the share of polls that bring something."""
    nothing = exp(-use.rate_per_s * use.interval_s)
    apart = nothing * (1 - nothing) / use.rate_per_s - use.interval_s * nothing**2
    return sqrt(max(0.0, 2 / WINDOW_S * apart))


def _equal(pair: Pair) -> str:
    return "never equal" if pair.equal_per_s is None else f"equal at {pair.equal_per_s:.3g}/s"


def _told(pair: Pair) -> str:
    push = CASES[pair.second]
    return f"{push.variant}{_waits(push)} by polling{_where(push.use)}"


def _waits(case: Case) -> str:
    return f" with a window of {case.use.coalesce_s:g} s" if case.use.coalesce_s else ""


def _where(use: Use) -> str:
    room = "" if use.members == MEMBERS else f", {use.members} members"
    return f", {use.rate_per_s:g}/s{room}"


def _basis(pair: Pair) -> str:
    case = CASES[pair.first]
    return (
        f"TCP payload at the tap, both ways, of one client and second; open loop, Poisson, "
        f"{case.workload.messages} messages in {WINDOW_S:g} s, {case.use.members} clients, 1 run"
    )


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
