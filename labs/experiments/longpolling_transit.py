"""A long poll reacts at once: a rare message is there after one transit from the server.

The server holds a poll of every client. A message takes L from its sender up, and as the answer
to the polls that wait another L down to everybody: 2 L from mouth to ear, 1 L of it from the server
on, and not a moment of waiting for anybody to ask. A WebSocket's frame takes the same way, and the
same time; so do all messages but those that come within a round trip 2 L of the one before (see
`rfc6202-transits`); a fifth of a second from one to the next is longer than that here. A poller
is half its interval later (see `polling-delay`).

The first word of a sender over HTTP takes a round trip more: its poll occupies the one connection
that it has, and another must be opened. Here it has been said before the window.

Nothing goes faster than the network, so 2 L is the least; what servers and clients work comes on
top, and is told by the difference of several L: their latencies lie on a line of slope two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from labs import lab
from labs.bench.record import merged
from labs.bench.results import Run
from labs.bench.workload import WORKLOADS
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, legend, measured, theory
from labs.experiments.rig.far import network_file

CLAIM = Claim(
    title="Long polling reacts in real time",
    title_ko="롱폴링은 실시간으로 반응한다",
    says="Because the server answers a waiting request the moment there is something to say, a "
    "message arrives as soon as the network carries it.",
    says_ko="서버는 전할 것이 생기는 순간 기다리던 요청에 응답하므로, 메시지는 네트워크가 나르는 "
    "즉시 도착한다.",
    source="The original lesson; RFC 6202 (2011), section 2.2, on average latency.",
)

TRANSITS_MS = (10.0, 30.0, 60.0)
NAMES = ("longpolling", "websocket")
CLIENTS, RATE_PER_S, WINDOW_S = 3, 5.0, 1.0
WORK_MS = 15.0  # servers and clients, on a machine with other work
SLOPE = 0.3  # 15 ms in 50, if that work comes at one end of the line and not at the other
ROUNDED = 0.999  # a histogram keeps three digits


@dataclass(frozen=True)
class Reaction:
    """The latencies of a run in milliseconds: the least, the median, of how many."""

    least_ms: float
    p50_ms: float
    n: int


Reactions = dict[str, dict[float, Reaction]]
"""By variant and transit."""


def predict() -> Reactions:
    """The closed form: twice the transit."""
    n = round(RATE_PER_S * WINDOW_S) * CLIENTS
    alike = {transit_ms: Reaction(2 * transit_ms, 2 * transit_ms, n) for transit_ms in TRANSITS_MS}
    return dict.fromkeys(NAMES, alike)


async def run(seed: int) -> Reactions:
    """Rare messages, over both, at each distance."""
    found: Reactions = {name: {} for name in NAMES}
    workload = WORKLOADS["paced"].but(
        clients=CLIENTS,
        probes=0,
        arrivals="constant",
        rate_per_s=RATE_PER_S,
        duration_s=WINDOW_S,
        senders=1,
        warmup_s=0.4,  # words that open the connection on which the others go up
    )
    for transit_ms in TRANSITS_MS:
        with network_file(transit_ms) as network:
            taken = await lab.take_latency(workload, NAMES, 1, seed, network)
        for name, runs in taken.items():
            found[name][transit_ms] = _reaction(runs)
    return found


def _reaction(runs: Sequence[Run]) -> Reaction:
    taken = merged(run.outcome.corrected for run in runs)
    least_ms, p50_ms = taken.get_min_value() / 1e3, taken.get_value_at_percentile(50) / 1e3
    return Reaction(least_ms, p50_ms, taken.get_total_count())


def slope(reactions: Mapping[float, Reaction]) -> float:
    """How much latency a transit adds: the line through the medians by least squares."""
    medians_ms = [reaction.p50_ms for reaction in reactions.values()]
    return float(np.polyfit(list(reactions), medians_ms, 1)[0])


def judge(predicted: Reactions, found: Reactions) -> list[Finding]:
    """Both at every distance; the slope; and from the server on, in transits."""
    findings = [
        each
        for name in NAMES
        for transit_ms, expected in predicted[name].items()
        for each in _two(name, transit_ms, expected, found[name][transit_ms])
    ]
    for name in NAMES:
        what, rise = f"latency by transit, {name}", slope(predicted[name])
        basis = _basis(CLIENTS, f"medians at {len(TRANSITS_MS)} distances")
        findings.append(near(what, "transits", rise, slope(found[name]), basis, by=SLOPE))
    far_ms = TRANSITS_MS[-1]
    polled, pushed = (found[name][far_ms] for name in NAMES)
    basis = _basis(CLIENTS, f"{polled.n} deliveries, {far_ms:g} ms each way")
    onward, times = (polled.p50_ms - far_ms) / far_ms, polled.p50_ms / pushed.p50_ms
    within = WORK_MS / far_ms
    return [
        *findings,
        near("from the server on", "transits", 1, onward, basis, by=within, of="claim"),
        near("against a WebSocket", "times", 1, times, basis, within=within / 2, of="claim"),
    ]


def _two(name: str, transit_ms: float, expected: Reaction, taken: Reaction) -> list[Finding]:
    basis, least_ms = _basis(CLIENTS, f"{taken.n} deliveries"), expected.least_ms * ROUNDED
    most_ms, said = expected.p50_ms + WORK_MS, f"{name}, {transit_ms:g} ms each way"
    return [
        bounded(f"the quickest, {said}", "ms", taken.least_ms, basis, least=least_ms),
        bounded(f"p50, {said}", "ms", taken.p50_ms, basis, least=least_ms, most=most_ms),
    ]


def _basis(clients: int, of: str) -> str:
    return (
        f"intended send to receipt at {clients} light clients, one monotonic clock, emulated "
        f"network; open loop, {RATE_PER_S:g} messages/s at a constant rate, {of}"
    )


def plot(predicted: Reactions, found: Reactions) -> Figure:
    """The median by the transit."""
    figure, (on,) = axes(right=0.66)
    line_ms = [0.0, TRANSITS_MS[-1]]
    theory(on, line_ms, [2 * transit_ms for transit_ms in line_ms], "two transits")
    for index, name in enumerate(NAMES):
        medians_ms = [found[name][transit_ms].p50_ms for transit_ms in TRANSITS_MS]
        measured(on, TRANSITS_MS, medians_ms, f"{name}, measured", index)
    theory(on, line_ms, [500 + 2 * transit_ms for transit_ms in line_ms], "polling every 1 s", 2)
    on.set_xlabel("one transit, ms")
    on.set_ylabel("p50 from send to receipt, ms")
    legend(on)
    return figure


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
