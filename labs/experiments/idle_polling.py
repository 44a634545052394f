"""Polling makes traffic when nothing happens.

A poller asks every T seconds whether there is something. While nobody talks each of its polls is
a request head and an empty answer's head, of u and d bytes, so that a silent minute costs

    (60 / T) (u + d)    bytes for each client,

and half the interval costs twice as much. u and d are known beforehand, from the client's request
head and from the answer `204 No Content` (labs/bench/prediction/requests.py). A WebSocket of the
same chat says a ping and a pong of some bytes every heartbeat.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from labs import lab
from labs.bench import heads
from labs.bench.prediction import predict as predict_bytes
from labs.bench.workload import WORKLOADS, Workload
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, legend, logarithmic, measured, theory

CLAIM = Claim(
    title="Polling makes traffic when nothing happens",
    title_ko="폴링은 아무 일이 없어도 트래픽을 만든다",
    says="A client that polls makes requests all the time, whether there is news or not, and the "
    "more of them the shorter its interval.",
    says_ko="폴링하는 클라이언트는 새 소식이 있든 없든 계속 요청을 보내며, 간격이 짧을수록 더 많이 "
    "보낸다.",
    source="The original lesson; RFC 6202 (2011), section 2.1, on the cost of short polling.",
)

INTERVALS_S = (0.25, 0.5, 1.0, 2.0)
WINDOW_S = (
    6.0  # three times the longest interval: the window holds each one a whole number of times
)
CLIENTS = 10
EDGES = 0.02  # on a busy machine a poll of the moment before falls into the window: one of 24

Bytes = dict[str, float]
"""Bytes of an idle minute and client; by the interval in seconds, or `websocket`."""


def predict() -> Bytes:
    """The closed form."""
    return {name: _per_minute(variant, workload) for name, variant, workload in _cases()}


async def run(seed: int) -> Bytes:
    """Count them, at the tap."""
    cases = _cases()
    runs = await lab.count_bytes([(workload, variant) for _, variant, workload in cases], seed)
    return {
        name: run.windows["steady"].both / CLIENTS * 60 / WINDOW_S
        for (name, _, _), run in zip(cases, runs, strict=True)
    }


def judge(predicted: Bytes, found: Bytes) -> list[Finding]:
    """Each interval, and what half of it costs."""
    basis = f"TCP payload at the tap; {CLIENTS} silent clients, {WINDOW_S:g} s"
    findings = [
        near(f"idle minute, {_words(name)}", "B", predicted[name], found[name], basis, within=EDGES)
        for name in predicted
    ]
    longest, shortest = f"{INTERVALS_S[-1]:g}", f"{INTERVALS_S[0]:g}"
    times = INTERVALS_S[-1] / INTERVALS_S[0]
    ratio = found[shortest] / found[longest]
    what = f"{shortest} s against {longest} s"
    more = found["1"] / found["websocket"]
    return [
        *findings,
        near(what, "times", times, ratio, basis, within=EDGES, of="claim"),
        bounded("1 s against a WebSocket", "times", more, basis, least=10, of="claim"),
    ]


def plot(predicted: Bytes, found: Bytes) -> Figure:
    """Bytes a minute by interval, both axes logarithmic."""
    figure, (on,) = axes(right=0.7)
    shown = [f"{interval_s:g}" for interval_s in INTERVALS_S]
    theory(on, INTERVALS_S, [predicted[each] for each in shown], "60 / T × (u + d)")
    measured(on, INTERVALS_S, [found[each] for each in shown], "polling, measured")
    theory(on, INTERVALS_S, [predicted["websocket"]] * len(shown), "WebSocket: pings", 3)
    measured(on, INTERVALS_S[:1], [found["websocket"]], "WebSocket, measured", 3)
    on.set_xscale("log")
    on.set_yscale("log")
    logarithmic(on.xaxis)
    logarithmic(on.yaxis)
    on.set_xlabel("interval, s (log scale)")
    on.set_ylabel("bytes a minute and client (log scale)")
    legend(on)
    return figure


def _cases() -> list[tuple[str, str, Workload]]:
    polls = [
        (f"{interval_s:g}", "polling", _idle(interval_s=interval_s)) for interval_s in INTERVALS_S
    ]
    return [*polls, ("websocket", "websocket", _idle(heartbeat_s=WINDOW_S / 2))]


def _idle(**settings: float) -> Workload:
    return WORKLOADS["idle"].but(clients=CLIENTS, duration_s=WINDOW_S, settings=settings)


def _per_minute(variant: str, workload: Workload) -> float:
    found = predict_bytes(workload, variant, [], heads.find("python"))
    assert found
    return float(sum(found.per_idle_minute.values()))


def _words(name: str) -> str:
    return "WebSocket" if name == "websocket" else f"interval {name} s"


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
