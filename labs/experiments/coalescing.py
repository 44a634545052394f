"""Push without batching makes the worst latencies worse than polling, which batches by nature.

k messages for C clients are k C frames if each is written as it comes, and C if those of one
moment are written together. Where s is what a frame costs to write and to read, the last is there
after k C s or C s; p95 is .95 of the former. The server's CPU time shrinks alike, by less than k:
parsing and acknowledging what was said cost the same. A frame less saves its head and what stands
around a batch, and a comma takes the place of two brackets:

    bytes(B) = bytes(k C) - (k C - B) (head + around - 1)    for B frames in place of k C.

What is one moment is for the server to say. One turn of its loop (`coalesce_ms = 0`) holds what
was read in that turn: several frames of a WebSocket, but only one packet of Socket.IO, for its
library takes a turn for each. A window w begins with a message and takes all that come in it, so
for Poisson arrivals of rate r it holds, on average,

    1 + r w    messages a frame,

the first of which waits w, the others U(0, w): half of all no longer than w/2 (1 + rw) / (rw).
A long poll takes all there is, so without coalescing it is still fewer than k polls.

Whether push without batching is worse than polling is another question, which Socket.IO answers,
as it is both: its polling joins the packets of a burst in one answer. But each is still made,
queued and read by itself; what is spared is the write, and a request with its heads is its price.
Which of the two is more has no closed form. Single runs vary by a quarter, so it is medians of
some that are compared; those of the source differ by 3.7 times.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

import msgspec
from matplotlib.figure import Figure

from labs import lab
from labs.bench import heads
from labs.bench.prediction import predict as predict_bytes
from labs.bench.prediction.whole import FORMS
from labs.bench.results import Run
from labs.bench.schedule import schedule
from labs.bench.stats import Latency, latency, of_each
from labs.bench.workload import WORKLOADS, Workload
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, legend, logarithmic, measured, theory
from labs.variants import load

CLAIM = Claim(
    title="Dropping polling makes p95 worse, because batching goes with it",
    title_ko="폴링을 버리면 묶어 보내기도 함께 사라져 p95가 나빠진다",
    says="Polling sends what has gathered in one answer. Push that writes each message by itself "
    "makes k writes of one, and under bursts its p95 is worse for it.",
    says_ko="폴링은 모인 것을 응답 하나로 보낸다. 메시지마다 따로 쓰는 푸시는 한 번이면 될 쓰기를 "
    "k번 하고, 몰릴 때 p95가 그만큼 나빠진다.",
    source="etherpad, issue 7767 (2026): p95 of 200 authors 22 ms with the polling fallback, 82 ms "
    "over WebSocket alone; that polling had coalesced is its fourth hypothesis. Pull request "
    "7765 there calls differences of single runs noise, below the load at which p95 jumps.",
)

TICK = ("streaming", "websocket")  # those that read several messages in one turn
PUSH = (*TICK, "socketio-websocket")
# Not streaming: there the fifty POSTs that bring a burst set the pace, either way.
TIMED = "websocket"
PAIR = ("socketio-polling", "socketio-websocket")  # one library, with and without polling
ROUNDS = 3
OFF, TURN = None, 0.0
BURST, BURSTS, BURSTS_S = 50, 2, 0.6
TAIL_S = 0.3
WINDOW_MS, RATE = 50.0, 100.0
BYTE_CLIENTS, CROWD = 5, 120
LATE = 0.25
"""A timer fires late, never early: by a few of its 50 ms, and more on a busy machine."""
SAMPLING = 0.1
"""Of the mean batch: 200 messages in 33 cycles of w + Exp(1 / r) give a deviation of 2.9 %."""


class Theory(msgspec.Struct, frozen=True, kw_only=True):
    """By variant: the bytes that a frame less saves. Of a window: messages a frame, waits."""

    saved: dict[str, float]
    each: float
    p50_ms: float


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One byte run: deliveries, bytes by the closed form and measured, envelope down."""

    deliveries: int
    predicted: float
    found: int
    envelope: int
    requests: int


class Batches(msgspec.Struct, frozen=True, kw_only=True):
    """By variant and setting (`off`, `turn`, `window`); latencies in milliseconds.

    `p95_ms` and `cpu_s`, what the server took for all bursts, are of `TIMED`; `pair_ms`
    are the p95 of each run of `PAIR`.
    """

    bursts: dict[str, dict[str, Case]]
    poisson: dict[str, dict[str, Case]]
    p95_ms: dict[str, float]
    cpu_s: dict[str, float]
    waits_ms: dict[str, float]
    pair_ms: dict[str, list[float]]


def predict() -> Theory:
    """What a frame less saves, on average over the texts; and what a window does."""
    saved = {}
    for name in PUSH:
        workload = _burst(OFF)
        found = predict_bytes(workload, name, schedule(workload, 1, 1), heads.find("python"))
        assert found
        saved[name] = float(sum(found.parts["batch pushed"].values()))
    within = RATE * WINDOW_MS / 1_000
    return Theory(saved=saved, each=1 + within, p50_ms=WINDOW_MS / 2 * (1 + within) / within)


async def run(seed: int) -> Batches:
    """Bytes side by side, then latencies one at a time."""
    how = {"off": OFF, "turn": TURN, "window": WINDOW_MS}
    keys: dict[str, tuple[str, ...]] = dict.fromkeys(TICK, ("off", "turn"))
    keys["longpolling"] = ("off",)
    keys["socketio-websocket"] = ("off", "turn", "window")
    cases = [("bursts", name, key, _burst(how[key])) for name in keys for key in keys[name]]
    cases += [("poisson", "websocket", key, _poisson(how[key])) for key in ("off", "window")]
    runs = await lab.count_bytes([(workload, name) for _, name, _, workload in cases], seed)
    counted: dict[str, dict[str, dict[str, Case]]] = {"bursts": {}, "poisson": {}}
    for (kind, name, key, _), each in zip(cases, runs, strict=True):
        counted[kind].setdefault(name, {})[key] = _case(each)
    p95_ms, cpu_s = {}, {}
    for key in ("off", "turn"):
        timed = (await lab.take_latency(_burst(how[key], CROWD), [TIMED], 1, seed))[TIMED]
        p95_ms[key] = _taken(timed).p95_ms
        cpu_s[key] = sum(each.server.cpu * each.window_s for each in timed if each.server)
    return Batches(
        **counted,
        p95_ms=p95_ms,
        cpu_s=cpu_s,
        waits_ms=await _waits_ms(seed),
        pair_ms=await _pair_ms(seed),
    )


async def _pair_ms(seed: int) -> dict[str, list[float]]:
    """The p95 of each run over polling alone and over a WebSocket alone, with no coalescing."""
    runs = await lab.take_latency(_burst(OFF, CROWD), PAIR, ROUNDS, seed)
    return {name: of_each(taken, lambda found: found.p95_ms) for name, taken in runs.items()}


async def _waits_ms(seed: int) -> dict[str, float]:
    """The median latency with and without the window."""
    found = {}
    for key, window_ms in (("off", OFF), ("window", WINDOW_MS)):
        runs = await lab.take_latency(_poisson(window_ms), ["websocket"], 1, seed)
        found[key] = _taken(runs["websocket"]).p50_ms
    return found


def judge(predicted: Theory, found: Batches) -> list[Finding]:
    """Frames and bytes, then what they do to latency."""
    basis = (
        f"TCP payload at the tap; one sender, {BURSTS} bursts of {BURST}, {BYTE_CLIENTS} clients"
    )
    findings = [finding for name in PUSH for finding in _framed(name, predicted, found, basis)]
    what = "socketio-websocket, one turn: frames of a burst"
    packets = _of_a_burst("socketio-websocket", found, "turn")
    # The library may yet find two packets in one turn.
    findings.append(near(what, "frames", BURST, packets, basis, within=0.1))
    return [*findings, *_polled(found, basis), *_timed(predicted, found)]


def _framed(name: str, predicted: Theory, found: Batches, basis: str) -> list[Finding]:
    cases, off = found.bursts[name], found.bursts[name]["off"]
    merged = "turn" if name in TICK else "window"
    fewer = off.deliveries - frames(name, cases, merged)
    saved = (off.found - cases[merged].found) / fewer if fewer else 0.0
    each, one = _of_a_burst(name, found, merged), f"{name}, one {merged}: frames of a burst"
    alone, less = f"{name}, off: bytes of one frame a message", f"{name}: bytes a frame less saves"
    return [
        near(alone, "B", off.predicted, off.found, basis),
        bounded(one, "frames", each, basis, least=1, most=BURST / 5),
        near(less, "B", predicted.saved[name], saved, basis, within=0.05),
    ]


def _of_a_burst(name: str, found: Batches, key: str) -> float:
    return frames(name, found.bursts[name], key) / BYTE_CLIENTS / BURSTS


def frames(name: str, cases: Mapping[str, Case], key: str) -> float:
    """How many frames went down: each less than one a message takes its own brackets along."""
    around = FORMS[load(name).package].parts.around  # type: ignore[attr-defined]
    fewer = (cases["off"].envelope - cases[key].envelope) / (around - len(","))
    return float(cases["off"].deliveries - fewer)


def _polled(found: Batches, basis: str) -> list[Finding]:
    polls = (found.bursts["longpolling"]["off"].requests - BURST * BURSTS) / BYTE_CLIENTS / BURSTS
    what = "longpolling, off: polls of a burst"
    return [bounded(what, "polls", polls, basis, least=1, most=BURST / 5, of="claim")]


def _timed(predicted: Theory, found: Batches) -> list[Finding]:
    cases = found.poisson["websocket"]
    each = cases["window"].deliveries / frames("websocket", cases, "window")
    model = f"websocket, {RATE:g} messages/s, Poisson, window {WINDOW_MS:g} ms"
    crowd = f"{CROWD} clients, {BURSTS} bursts of {BURST}"
    basis = f"monotonic clock, intended moment of sending; {crowd}"
    findings = [
        bounded(
            f"a window of {WINDOW_MS:g} ms: messages a frame",
            "messages",
            each,
            f"frames at the tap; {model}",
            least=predicted.each * (1 - SAMPLING),
            most=predicted.each * (1 + SAMPLING + LATE),
        ),
        bounded(
            f"a window of {WINDOW_MS:g} ms: what it adds to the median",
            "ms",
            found.waits_ms["window"] - found.waits_ms["off"],
            f"monotonic clock; {model}",
            least=predicted.p50_ms * (1 - SAMPLING),
            most=predicted.p50_ms * (1 + SAMPLING + LATE),
        ),
    ]
    ratio = found.cpu_s["off"] / found.cpu_s["turn"]
    what = f"{TIMED}: the server's CPU for the bursts, off against one turn"
    findings.append(bounded(what, "times", ratio, f"CPU time; {crowd}", least=1.5))
    ratio = found.p95_ms["off"] / found.p95_ms["turn"]
    what = f"{TIMED}: p95 of a burst, off against one turn"
    findings.append(bounded(what, "times", ratio, basis, least=1.2))
    return [*findings, _compared(found, basis)]


def _compared(found: Batches, basis: str) -> Finding:
    polled_ms, pushed_ms = (median(found.pair_ms[name]) for name in PAIR)
    what = "socketio: p95 of a burst, push without batching against polling"
    basis = f"{basis}; median of {ROUNDS} runs each, coalescing off"
    return bounded(what, "times", pushed_ms / polled_ms, basis, least=1, of="claim")


def plot(predicted: Theory, found: Batches) -> Figure:
    """p95 of a burst by transport, off and one turn; frames of a burst."""
    figure, (on, right) = axes(2, left=0.09, right=0.7)
    figure.subplots_adjust(wspace=0.35, bottom=0.3)
    places = range(len(PUSH))
    for index, key in enumerate(("off", "turn")):
        each = [_of_a_burst(name, found, key) for name in PUSH]
        theory(
            on,
            places,
            [BURST if key == "off" or name not in TICK else 1 for name in PUSH],
            "",
            index,
        )
        measured(on, places, each, "", index)
        shown = "a message" if key == "off" else "a turn"
        theory(right, [], [], f"a frame {shown}, theory", index)
        measured(right, [0], [found.p95_ms[key]], f"a frame {shown}, measured", index)
    for place, name in enumerate(PAIR, 1):
        taken_ms = found.pair_ms[name]
        measured(right, [place] * len(taken_ms), taken_ms, "", 0)
    compared = (TIMED, *(name.replace("-", ",\n") for name in PAIR))
    for each_axes, names in ((on, [name.partition("-")[0] for name in PUSH]), (right, compared)):
        each_axes.set_xticks(range(len(names)), names, rotation=20)
        each_axes.set_yscale("log")
        logarithmic(each_axes.yaxis)
    on.set_ylabel("frames of a burst (log scale)")
    right.set_ylabel("p95, ms (log scale)")
    legend(right)
    return figure


def _burst(coalesce_ms: float | None, clients: int = BYTE_CLIENTS) -> Workload:
    # What one sender may say at once is limited; here it is not what is asked.
    settings = {"coalesce_ms": coalesce_ms, "rate_burst": 10 * BURST * BURSTS}
    return WORKLOADS["burst"].but(
        clients=clients,
        senders=1,
        probes=0,
        rate_per_s=BURST * BURSTS / BURSTS_S,
        burst_messages=BURST,
        duration_s=BURSTS_S,
        tail_s=TAIL_S,
        settings=settings,
    )


def _poisson(coalesce_ms: float | None) -> Workload:
    return WORKLOADS["paced"].but(
        clients=BYTE_CLIENTS,
        probes=0,
        duration_s=2.0,
        rate_per_s=RATE,
        tail_s=TAIL_S,
        settings={"coalesce_ms": coalesce_ms},
    )


def _case(run: Run) -> Case:
    steady = run.windows["steady"]
    return Case(
        deliveries=run.outcome.fates["delivered"],
        predicted=sum(run.predicted.values()),
        found=steady.both,
        envelope=steady.of("down", "envelope", "steady"),
        requests=steady.requests,
    )


def _taken(runs: list[Run]) -> Latency:
    taken = latency([each.outcome.corrected for each in runs])
    assert taken  # messages were sent, and none was lost
    return taken


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
