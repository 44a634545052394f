"""A poller hears of a message half an interval late, and up to a whole one.

A client asks every T, and a message comes at a moment that has nothing to do with that: the time
until the next poll is uniform in [0, T). So

    p50 = T / 2        p95 = 0.95 T        standard deviation = T / sqrt(12)

which no server and no network can better, and the answer's own transit L comes on top. "Every T"
is said of two kinds of clients. One asks by the clock, at T, 2 T, 3 T. The other pauses for T after
each answer, as `await fetch(); setTimeout(poll, T)` does; it asks every T + r, r being what a
request and its answer take, so that its delay is uniform in [0, T + r), T alone being too little:

    by the clock    p50 = T / 2 + L            T / sqrt(12)
    by a pause      p50 = (T + r) / 2 + L      (T + r) / sqrt(12)        r = 2 L

Delays of two pairs of message and client are independent even when they have the message or the
client in common, since both the moments and the phases are uniform. So a quantile q of n delays
has the standard error T sqrt(q (1 - q) / n), and their standard deviation, the kurtosis of a
uniform distribution being 1.8, that of 0.447 / sqrt(n) of itself. Four of them are allowed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from random import Random
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from labs import lab
from labs.bench.light.commands import Asking
from labs.bench.record import merged
from labs.bench.results import Run
from labs.bench.workload import WORKLOADS, Workload
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, legend, measured, theory
from labs.experiments.rig.far import FREE, talk

CLAIM = Claim(
    title="Polling is unfit for real time",
    title_ko="폴링은 실시간에 맞지 않는다",
    says="A client that polls hears of a message only when it asks the next time, so that "
    "messages are late by up to the interval.",
    says_ko="폴링하는 클라이언트는 다음에 물어볼 때에야 메시지를 알게 되므로, 메시지는 최대 폴링 "
    "간격만큼 늦는다.",
    source="The original lesson. Real time: 0.1 s, as immediate as R. B. Miller asks for in "
    '"Response time in man-computer conversational transactions", 1968.',
)

IMMEDIATE_MS = 100.0
INTERVALS_S = (0.2, 0.4, 0.8)
CLIENTS, RATE_PER_S = 40, 80.0
WINDOW_S = 0.8  # whole intervals, so that messages fall anywhere in one alike
PAUSE_S, TRANSIT_MS = 0.4, 80.0
LISTENERS, WORDS, ROUNDS = 60, 60, 4
ASKED_WITHIN = 0.08  # at the ends of ROUNDS cycles a client has half a poll more or less
WORK_MS = 10.0  # what servers and clients may add to a delay, on a machine with other work
FAR_WORK_MS = 30.0
"""The same of clients behind a relay: four processes take turns on two cores, and every delay has
six turns in it, of a request's and an answer's way through relay and client and of the server; a
client that pauses adds those of its cycle to the next. A tenth of the cycle it takes would be 56
ms, and half of the round trip, which a formula without it would miss, 80 ms of the median and 152
of p95."""


@dataclass(frozen=True)
class Spread:
    """How delays are spread, in milliseconds; of how many, and how often was asked."""

    p50_ms: float
    p95_ms: float
    sd_ms: float
    n: int
    every_s: float


Delays = dict[str, Spread]
"""By the interval in seconds; `websocket`; behind a distance `clock` and `pause`."""


class Pausing(Asking):
    """A poller that pauses for a whole interval after each answer; the first poll is at `phase`."""

    _timer: asyncio.TimerHandle | None = None

    async def _follow(self) -> None:
        self._later(self._phase * self.settings.interval_s)

    def _again(self) -> None:
        self._later(self.settings.interval_s)

    def _later(self, pause_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(pause_s, self._ask)

    def _quit(self) -> None:
        super()._quit()
        if self._timer:
            self._timer.cancel()


def uniform(every_s: float, later_ms: float = 0.0, n: int = 0) -> Spread:
    """The closed form: delays of a client that asks so often, and hears so much later."""
    every_ms = every_s * 1e3
    p50_ms, p95_ms = (share * every_ms + later_ms for share in (0.5, 0.95))
    return Spread(p50_ms, p95_ms, every_ms / sqrt(12), n, every_s)


def predict() -> Delays:
    """The closed form, for each kind of client."""
    near_n, far_n = CLIENTS * round(RATE_PER_S * WINDOW_S), LISTENERS * WORDS
    round_trip_s = 2 * TRANSIT_MS / 1e3
    return {
        **{f"{every_s:g}": uniform(every_s, n=near_n) for every_s in INTERVALS_S},
        "clock": uniform(PAUSE_S, TRANSIT_MS, far_n),
        "pause": uniform(PAUSE_S + round_trip_s, TRANSIT_MS, far_n),
    }


async def run(seed: int) -> Delays:
    """Each interval beside the server, a WebSocket too; then both kinds from afar."""
    found = {}
    for every_s in INTERVALS_S:
        taken = await lab.take_latency(_workload(interval_s=every_s), ["polling"], 1, seed)
        found[f"{every_s:g}"] = _spread(taken["polling"], every_s)
    pushed = await lab.take_latency(_workload(), ["websocket"], 1, seed)
    found["websocket"] = _spread(pushed["websocket"], 0.0)
    found["clock"] = await _afar(seed, PAUSE_S, None)
    found["pause"] = await _afar(seed, PAUSE_S + 2 * TRANSIT_MS / 1e3, Pausing)
    return found


def _workload(**settings: float) -> Workload:
    return WORKLOADS["paced"].but(
        clients=CLIENTS,
        probes=0,
        rate_per_s=RATE_PER_S,
        duration_s=WINDOW_S,
        settings=FREE | settings,
    )


def _spread(runs: Sequence[Run], every_s: float) -> Spread:
    taken = merged(run.outcome.corrected for run in runs)
    p50, p95 = (taken.get_value_at_percentile(q) / 1e3 for q in (50, 95))
    return Spread(p50, p95, taken.get_stddev() / 1e3, taken.get_total_count(), every_s)


async def _afar(seed: int, cycle_s: float, kind: Any) -> Spread:
    """Words at random moments of some cycles, at listeners that begin anywhere in one."""
    random, length_s = Random(f"{seed}/{cycle_s}"), ROUNDS * cycle_s
    phases = [random.random() * cycle_s / PAUSE_S for _ in range(LISTENERS)]
    moments = [(random.uniform(0, length_s), 0) for _ in range(WORDS)]
    async with talk(
        "polling",
        TRANSIT_MS,
        listeners=LISTENERS,
        kind=kind,
        phases=phases if kind else [phase % 1 for phase in phases],
        interval_s=PAUSE_S,
    ) as held:
        heard = await held.say(moments)
    taken_ms = np.array(heard.latencies_ms)
    p50, p95 = np.percentile(taken_ms, [50, 95])
    every_s = heard.took_s * LISTENERS / heard.polls
    return Spread(float(p50), float(p95), float(taken_ms.std()), len(taken_ms), every_s)


def judge(predicted: Delays, found: Delays) -> list[Finding]:
    """Every quantile and deviation; how often was asked; and what real time asks for."""
    findings = [each for name in predicted for each in _three(name, predicted[name], found[name])]
    for name in ("clock", "pause"):
        what, every_s = f"from poll to poll, {_words(name)}", predicted[name].every_s
        basis = f"polls answered at {LISTENERS} light clients; {_basis(name, found[name])}"
        findings.append(near(what, "s", every_s, found[name].every_s, basis, within=ASKED_WITHIN))
    quick, slow = (found[f"{INTERVALS_S[place]:g}"] for place in (0, -1))
    what, basis = f"p95 every {INTERVALS_S[0]:g} s", _basis("", quick)
    more = slow.p95_ms / found["websocket"].p95_ms
    against = f"p95 every {INTERVALS_S[-1]:g} s against a WebSocket"
    return [
        *findings,
        bounded(what, "ms", quick.p95_ms, basis, least=IMMEDIATE_MS, of="claim"),
        bounded(against, "times", more, basis, least=10, of="claim"),
    ]


def _three(name: str, expected: Spread, taken: Spread) -> list[Finding]:
    words, basis, every_ms = _words(name), _basis(name, taken), expected.every_s * 1e3
    work_ms = FAR_WORK_MS if name in ("clock", "pause") else WORK_MS
    off_ms = {q: work_ms + 4 * every_ms * sqrt(q * (1 - q) / taken.n) for q in (0.5, 0.95)}
    off_sd_ms = work_ms / 2 + 4 * expected.sd_ms * 0.447 / sqrt(taken.n)
    return [
        near(f"p50, {words}", "ms", expected.p50_ms, taken.p50_ms, basis, by=off_ms[0.5]),
        near(f"p95, {words}", "ms", expected.p95_ms, taken.p95_ms, basis, by=off_ms[0.95]),
        near(f"deviation, {words}", "ms", expected.sd_ms, taken.sd_ms, basis, by=off_sd_ms),
    ]


def _words(name: str) -> str:
    by = {"clock": f"every {PAUSE_S:g} s by the clock", "pause": f"pausing {PAUSE_S:g} s"}
    return f"{by[name]}, from afar" if name in by else f"every {name} s"


def _basis(name: str, taken: Spread) -> str:
    clock = "intended send to receipt, one monotonic clock; open loop"
    if name in ("clock", "pause"):
        return f"{clock}, relay of {TRANSIT_MS:g} ms each way; {taken.n:,} deliveries"
    return f"{clock}, {CLIENTS} light clients, Poisson; {taken.n:,} deliveries"


def plot(predicted: Delays, found: Delays) -> Figure:
    """Quantiles and deviation by how often is asked."""
    figure, (on,) = axes(right=0.68)
    shown = [f"{every_s:g}" for every_s in INTERVALS_S]
    line_s = (0.0, INTERVALS_S[-1])
    for index, (label, name, share) in enumerate(
        (
            ("p95 = 0.95 T", "p95_ms", 0.95),
            ("p50 = T / 2", "p50_ms", 0.5),
            ("T / √12", "sd_ms", 1 / sqrt(12)),
        )
    ):
        theory(on, line_s, [share * every_s * 1e3 for every_s in line_s], label, index)
        dots = [getattr(found[each], name) for each in shown]
        measured(on, INTERVALS_S, dots, f"{label.split(' =')[0]}, measured", index)
    for name, place in (("clock", 3), ("pause", 4)):
        more_s = predicted[name].every_s - PAUSE_S
        afar = [uniform(every_s + more_s, TRANSIT_MS).p50_ms for every_s in line_s]
        theory(on, line_s, afar, f"p50, {name}, {TRANSIT_MS:g} ms away", place)
        measured(on, [PAUSE_S], [found[name].p50_ms], f"p50, {name}, measured", place)
    on.set_xlabel("interval or pause, s")
    on.set_ylabel("delay, ms")
    legend(on)
    return figure


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
