"""Polling takes 151.3 ms and a WebSocket 40.3 ms: two plus the pause over twice the transit.

A transit takes L one way. A client that pauses for d after each answer is at the server every

    C = d + 2 L    the pause, its request's way, its answer's way

and what becomes available at the server at a moment that has nothing to do with the client waits
for the next request uniformly in [0, C), and then travels:

    mean, polling      C / 2 + L = d / 2 + 2 L        standard deviation C / sqrt(12)
    mean, WebSocket    L
    ratio              2 + d / 2L

It does not matter whether a request finds no message, one or many, as long as their moments are
independent of its own (and the server keeps them all; one that shows only the latest loses the
others). With no pause at all the ratio is 2, and with a longer one it grows without bound: it
tells of the pause that was chosen more than of the protocol.

L = 40.3 ms is what the WebSocket took, and then 151.3 ms are a pause of d = 2 (151.3 - 2 L) =
141.4 ms. L and d are so solved from the source's two figures, and two figures fix two unknowns:
the findings of the claim test the network that is set up here, and only the other pauses test the
formula. None of the claim's is narrower than the theory's of the same figure.

A mean of n delays that are uniform in [0, C) has the standard error C / sqrt(12 n), which is 4 ms
here for C = 222 ms and one of several rounds; of these the one in the middle is taken, and three
standard errors are allowed, and some milliseconds for work: a poller whose every cycle is e longer
is late by e / 2 more.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from random import Random
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from labs.experiments.experiment import Claim, Experiment, Finding, near
from labs.experiments.plotting import axes, legend, measured, theory
from labs.experiments.polling_delay import Pausing
from labs.experiments.rig.far import Talk, talk

CLAIM = Claim(
    title="A reading takes 151.3 ms by polling and 40.3 ms over a WebSocket",
    title_ko="측정값이 폴링으로는 151.3 ms, 웹소켓으로는 40.3 ms 만에 온다",
    says="From one way of a transit L and a pause d after each answer, a poller hears d/2 + 2L "
    "late on average and a WebSocket L, so that polling is 2 + d/2L times as slow: 151.3 ms "
    "against 40.3 ms over a wide-area network.",
    says_ko="편도 시간이 L이고 응답을 받은 뒤 d만큼 쉬는 폴링은 평균 d/2 + 2L, 웹소켓은 L만큼 "
    "늦으니 폴링이 2 + d/2L배 느리다. 광역망에서 151.3 ms와 40.3 ms였다.",
    source='Victoria Pimentel and Bradford G. Nickerson, "Communicating and Displaying Real-Time '
    'Data with WebSocket", IEEE Internet Computing 16(4), 2012; its abstract read, its figures and '
    "the formula read in others' accounts of it.",
)

POLLED_MS, PUSHED_MS = 151.3, 40.3
TRANSIT_MS = PUSHED_MS
PAUSE_MS = 2 * (POLLED_MS - 2 * PUSHED_MS)
SHORT_MS = 1.0  # stands for no pause: a setting is not 0
PAUSES_MS = (SHORT_MS, PAUSE_MS, 2 * PAUSE_MS)

LISTENERS, ROUNDS, WORDS = 12, 3, 25
ROUND_S = 0.5
READINGS, READING_S = 8, 0.25  # the source's sensor: 4 a second
RATIO_WITHIN = 0.15  # both means may be off, each by what is allowed of it
SOLVED = "L and d are solved from the source's two figures"
WORK_MS = 6.0  # what servers, clients and a relay may add to a mean, with other work to do


@dataclass(frozen=True)
class Late:
    """How late something is heard, in milliseconds; of how many deliveries a round.

    Of several rounds it is the one in the middle.
    """

    mean_ms: float
    sd_ms: float
    n: int


Delays = dict[str, Late]
"""`websocket`; `pause 141`, by the pause in milliseconds; `4 Hz`."""


def predict() -> Delays:
    """The closed form."""
    found = {f"pause {pause_ms:.0f}": polled(pause_ms) for pause_ms in PAUSES_MS}
    return found | {
        "websocket": Late(TRANSIT_MS, 0.0, LISTENERS * WORDS),
        "4 Hz": polled(PAUSE_MS, LISTENERS * READINGS),
    }


def polled(pause_ms: float, n: int = LISTENERS * WORDS) -> Late:
    """The closed form of a poller that pauses so long, from `TRANSIT_MS` away."""
    cycle_ms = pause_ms + 2 * TRANSIT_MS
    return Late(cycle_ms / 2 + TRANSIT_MS, cycle_ms / sqrt(12), n)


async def run(seed: int) -> Delays:
    """One talk after the other, each at listeners that far away."""
    random = Random(f"{seed}/pimentel-nickerson")
    rounds = [[random.uniform(0, ROUND_S) for _ in range(WORDS)] for _ in range(ROUNDS)]
    sensed = [[index * READING_S for index in range(READINGS)]]
    found = {"websocket": await _late("websocket", rounds)}
    for pause_ms in PAUSES_MS:
        found[f"pause {pause_ms:.0f}"] = await _late("polling", rounds, Pausing, pause_ms)
    found["4 Hz"] = await _late("polling", sensed, Pausing, PAUSE_MS)
    return found


def judge(predicted: Delays, found: Delays) -> list[Finding]:
    """Every mean, the deviation, and the ratios; then the source's figures."""
    pushed, asked = found["websocket"], found[f"pause {PAUSE_MS:.0f}"]
    expected = predicted[f"pause {PAUSE_MS:.0f}"]
    both = f"{_basis(asked)}; WebSocket as many"
    return [
        *(
            near(
                f"mean, {_words(name)}",
                "ms",
                late.mean_ms,
                found[name].mean_ms,
                _basis(found[name]),
                by=_reach_ms(late),
            )
            for name, late in predicted.items()
        ),
        near(
            "deviation, a pause of 141 ms",
            "ms",
            expected.sd_ms,
            asked.sd_ms,
            _basis(asked),
            # Three standard errors of the deviation of a uniform distribution, kurtosis 1.8.
            by=WORK_MS / 2 + 3 * expected.sd_ms * 0.447 / sqrt(expected.n),
        ),
        *(
            near(
                f"ratio, {_words(f'pause {pause_ms:.0f}')}",
                "times",
                2 + pause_ms / (2 * TRANSIT_MS),
                found[f"pause {pause_ms:.0f}"].mean_ms / pushed.mean_ms,
                both,
                within=RATIO_WITHIN,
            )
            for pause_ms in PAUSES_MS
        ),
        *(
            near(
                what,
                "ms",
                said_ms,
                late.mean_ms,
                f"{_basis(late)}; {SOLVED}",
                by=_reach_ms(reach),
                of="claim",
            )
            for what, said_ms, late, reach in (
                ("polling", POLLED_MS, asked, expected),
                ("WebSocket", PUSHED_MS, pushed, predicted["websocket"]),
            )
        ),
        near(
            "polling to WebSocket",
            "times",
            POLLED_MS / PUSHED_MS,
            asked.mean_ms / pushed.mean_ms,
            f"{both}; {SOLVED}",
            within=RATIO_WITHIN,
            of="claim",
        ),
    ]


def plot(predicted: Delays, found: Delays) -> Figure:
    """Means by the pause."""
    figure, (on,) = axes(right=0.66)
    line_ms = (0.0, PAUSES_MS[-1])
    theory(on, line_ms, [polled(pause_ms).mean_ms for pause_ms in line_ms], "polling: d/2 + 2L")
    means = [found[f"pause {pause_ms:.0f}"].mean_ms for pause_ms in PAUSES_MS]
    measured(on, PAUSES_MS, means, "polling, measured")
    measured(on, [PAUSE_MS], [found["4 Hz"].mean_ms], "... of readings at 4 Hz", 2)
    theory(on, line_ms, [predicted["websocket"].mean_ms] * 2, "WebSocket: L", 1)
    measured(on, [PAUSE_MS], [found["websocket"].mean_ms], "WebSocket, measured", 1)
    on.set_ylim(bottom=0)
    on.set_xlabel("pause d, ms")
    on.set_ylabel("mean delay, ms")
    legend(on)
    return figure


async def _late(
    name: str, rounds: list[list[float]], kind: Any = None, interval_ms: float = 1_000.0
) -> Late:
    """How late words at these moments are heard; listeners are evenly spread over a cycle."""
    cycle = 1 + 2 * TRANSIT_MS / interval_ms  # in intervals, which phases are parts of
    spread = [(place + 0.5) / LISTENERS * cycle for place in range(LISTENERS)]
    async with talk(
        name,
        TRANSIT_MS,
        listeners=LISTENERS,
        kind=kind,
        phases=spread,
        interval_s=interval_ms / 1e3,
    ) as held:
        taken = [await _heard(held, moments_s) for moments_s in rounds]
    return middle(taken)


def middle(rounds: list[Late]) -> Late:
    """Of an odd number of rounds, the one whose mean is the median."""
    return sorted(rounds, key=lambda late: late.mean_ms)[len(rounds) // 2]


async def _heard(held: Talk, moments_s: list[float]) -> Late:
    heard = await held.say([(at_s, 0) for at_s in moments_s])
    taken_ms = np.array(heard.latencies_ms)
    return Late(float(taken_ms.mean()), float(taken_ms.std()), len(taken_ms))


def _reach_ms(late: Late) -> float:
    return WORK_MS + 3 * late.sd_ms / sqrt(late.n)


def _basis(late: Late) -> str:
    return (
        "intended send beside the server to receipt, one monotonic clock; open loop, relay of "
        f"{TRANSIT_MS:g} ms each way, {LISTENERS} light clients; {late.n} deliveries a round"
    )


def _words(name: str) -> str:
    if name == "websocket":
        return "WebSocket"
    if name == "4 Hz":
        return "a pause of 141 ms, readings at 4 Hz"
    return f"a pause of {name.removeprefix('pause ')} ms"


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
