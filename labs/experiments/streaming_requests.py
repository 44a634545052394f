"""Streaming brings every event without a request.

One person says M messages to a room of n clients, one after the other. Up, each message is one
POST, whatever the transport. Down, a long poll is answered once a message and must be asked again,
by every client; a stream was asked for once, before. So the requests of a message are

    1 + n    with long polling        1    with streaming

and its bytes, with u and d the heads of a poll and of its answer, b the batch in them, c the
framing of a chunk and an event, and p the POST with its answer (labs/bench/prediction):

    p + n (u + d + b)                 p + n (c + b)

All of it is known beforehand, so requests and bytes must come out to the last one. The server's
CPU is not: it is compared as a ratio. To hand out a message by a stream is one write of bytes
that were made once for all clients; by a long poll it is a write of an answer of one's own and a
read of the next request. At two system calls for one, and more work around them, it must be at
least twice as dear. The POST, the same for both, stands in both figures, which brings them closer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from labs import lab
from labs.bench.results import Run
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, legend, logarithmic, measured, theory
from labs.experiments.rig.paced import PACED, expected

CLAIM = Claim(
    title="Streaming brings every event without a request",
    title_ko="스트리밍은 이벤트마다 새 요청이 필요 없다",
    says="With HTTP streaming the client asks once and the server goes on answering, so that "
    "there is no new request for each event as there is with long polling.",
    says_ko="HTTP 스트리밍에서는 클라이언트가 한 번만 요청하고 서버가 계속 응답하므로, 롱 폴링처럼 "
    "이벤트마다 새로 요청하지 않아도 된다.",
    source="The original lesson; RFC 6202 (2011), section 3.1, on HTTP streaming.",
)

KINDS = {"longpolling": "long polling", "streaming": "streaming"}
SIZES = (2, 8, 32)
BUSY = PACED.but(
    name="requests-and-cpu", clients=100, warmup_s=0.0, duration_s=1.0, rate_per_s=10.0
)
ROUNDS = 2
TIMES_LEAST = 2.0

Case = tuple[str, int]
"""A transport, and how many clients."""


@dataclass(frozen=True)
class Cost:
    """Of one message: requests; and bytes, the POST's too, of handing it to one client."""

    requests: float
    delivery_bytes: float


@dataclass(frozen=True)
class Found:
    """What was measured; `cpu_us` is the server's CPU time of one delivery, by transport."""

    costs: dict[Case, Cost]
    cpu_us: dict[str, float]


def predict() -> dict[Case, Cost]:
    """The closed form."""
    return {(kind, size): _expected(kind, size) for kind in KINDS for size in SIZES}


async def run(seed: int) -> Found:
    """Count requests and bytes at the tap, then take the CPU of a busier room without it."""
    cases = [(kind, size) for kind in KINDS for size in SIZES]
    runs = await lab.count_bytes([(PACED.but(clients=size), kind) for kind, size in cases], seed)
    busy = await lab.take_latency(BUSY, list(KINDS), ROUNDS, seed)
    return Found(
        {case: _counted(one, case[1]) for case, one in zip(cases, runs, strict=True)},
        {kind: _cpu_us(runs) for kind, runs in busy.items()},
    )


def judge(predicted: dict[Case, Cost], found: Found) -> list[Finding]:
    """Requests and bytes exactly, the CPU at least twice."""
    findings = []
    for (kind, size), cost in predicted.items():
        basis = f"TCP payload at the tap; open loop, {PACED.messages} messages at a constant rate"
        what, seen = f"{KINDS[kind]}, {size} clients", found.costs[kind, size]
        findings += [
            near(f"requests a message, {what}", "requests", cost.requests, seen.requests, basis),
            near(f"bytes a delivery, {what}", "B", cost.delivery_bytes, seen.delivery_bytes, basis),
        ]
    asked = found.costs["streaming", SIZES[-1]].requests - 1
    basis = f"requests of {SIZES[-1]} clients at the tap, without the sender's POST"
    findings.append(
        near("new requests an event, streaming", "requests", 0, asked, basis, of="claim")
    )
    deliveries = BUSY.messages * BUSY.clients
    basis = (
        f"the server's own CPU clock, no tap; {BUSY.load_model}; "
        f"{ROUNDS} runs of {deliveries:,} deliveries"
    )
    times = found.cpu_us["longpolling"] / found.cpu_us["streaming"]
    what = "CPU a delivery, long polling against streaming"
    return [*findings, bounded(what, "times", times, basis, least=TIMES_LEAST)]


def plot(predicted: dict[Case, Cost], found: Found) -> Figure:
    """Requests a message and bytes a delivery, by the number of clients."""
    figure, (left, right) = axes(2, right=0.75)
    for index, (kind, name) in enumerate(KINDS.items()):
        known = [predicted[kind, size] for size in SIZES]
        seen = [found.costs[kind, size] for size in SIZES]
        theory(left, SIZES, [each.requests for each in known], f"{name}, theory", index)
        measured(left, SIZES, [each.requests for each in seen], f"{name}, measured", index)
        theory(right, SIZES, [each.delivery_bytes for each in known], f"{name}, theory", index)
        measured(right, SIZES, [each.delivery_bytes for each in seen], f"{name}, measured", index)
    for on, words in ((left, "requests a message"), (right, "bytes a delivery")):
        on.set_xscale("log")
        on.set_yscale("log")
        logarithmic(on.xaxis)
        logarithmic(on.yaxis)
        on.set_xlabel("clients (log scale)")
        on.set_ylabel(f"{words} (log scale)")
    figure.subplots_adjust(wspace=0.45)
    legend(right)
    return figure


def _expected(kind: str, size: int) -> Cost:
    found = expected(PACED.but(clients=size), kind)
    return _cost(found.counts.requests, sum(found.cells.values()), size)


def _counted(run: Run, size: int) -> Cost:
    return _cost(run.windows["steady"].requests, run.windows["steady"].both, size)


def _cost(requests: float, size_bytes: float, clients: int) -> Cost:
    return Cost(requests / PACED.messages, size_bytes / (PACED.messages * clients))


def _cpu_us(runs: Sequence[Run]) -> float:
    used_s = sum(run.server.cpu * run.window_s for run in runs if run.server)
    return used_s / (len(runs) * BUSY.messages * BUSY.clients) * 1e6


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
