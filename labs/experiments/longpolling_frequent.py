"""Long polling overloads when events are frequent: a request an event and client, up to a cap.

Let messages come at a constant rate f, and let R be what an answer and the next request take: a
round trip 2 L and some work. While f R < 1 the next poll is back before the next message, and

    polls a client and second = f        one message each        latency L from the server on

so that N clients make N f requests a second, each with its heads and its own work, where a
WebSocket is only written to. Once f R > 1 something waits for every poll that comes:

    polls a client and second = 1 / R    f R messages each       latency L + R / 2 in the median

for a poll takes what has gathered in R, which waited for anything up to that, R / 2 on average. So
the number of polls is min(f, 1/R): the overload has a cap, and batches grow in place of requests.
That cap comes from the distance of the clients, not from the server: those beside it may ask as
often as it can answer. In latency the price is 2 L in place of the one L of a transport that is
pushed.

Whoever says k messages at one instant gets two answers where nothing is coalesced: the first
message takes the poll alone, and the others wait for the next. With a window of coalescing there
is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from matplotlib.figure import Figure

from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, measured, theory
from labs.experiments.rig.far import Talk, talk

CLAIM = Claim(
    title="Long polling overloads when events are frequent",
    title_ko="이벤트가 잦으면 롱폴링은 과부하를 일으킨다",
    says="Every event ends every waiting request, and every client asks anew: the more events, "
    "the more requests, up to a cap of one a round trip.",
    says_ko="이벤트가 생길 때마다 기다리던 모든 요청이 끝나고 모든 클라이언트가 다시 요청한다. "
    "이벤트가 많을수록 요청도 많아지며, 왕복 시간마다 한 번이 한계이다.",
    source="The original lesson; RFC 6202 (2011), section 2.2, on header overhead and latency.",
)

TRANSIT_MS = 50.0
ROUND_TRIP_S = 2 * TRANSIT_MS / 1e3
LISTENERS, WINDOW_S = 12, 1.0
RATES_PER_S = (3.0, 6.0, 24.0, 48.0, 72.0)
BESIDE_PER_S = (
    6.0,
    24.0,
    48.0,
)  # where there is no distance: answers and requests are quicker still
BURSTS, BURST, APART_S = 3, 5, 0.4
COALESCE_MS = 25.0  # a burst's words are all there by then; well below a round trip
RELIEF = 0.8  # a fifth of the polls; as many messages to take in, and to write into answers
PER = "1/s"
ALONE = 0.1  # of the polls: so many messages may come together that should come alone
WORK = 0.2  # of a round trip, 20 ms: the work of three processes, on a machine with other work


@dataclass(frozen=True)
class Load:
    """What messages at one rate make: `polls` a client and second, `latency_ms` in the median.

    `batch` is how many come in one piece; `cpu_ms` what the server works for each delivery,
    counted only where it is measured.
    """

    polls: float
    batch: float
    latency_ms: float
    cpu_ms: float = 0.0


@dataclass(frozen=True)
class Frequent:
    """By messages a second: long polling far away and beside the server, a WebSocket beside it.

    `bursts` are the pieces in which a burst came, coalesced and not.
    """

    far: dict[float, Load]
    beside: dict[float, Load]
    pushed: dict[float, Load]
    bursts: dict[str, float]


def load(rate_per_s: float, transit_ms: float) -> Load:
    """The closed form: how often clients poll that are so far away, one way."""
    round_trip_s = 2 * transit_ms / 1e3
    if rate_per_s * round_trip_s < 1:
        return Load(rate_per_s, 1.0, transit_ms)
    batch, middle_ms = rate_per_s * round_trip_s, transit_ms + round_trip_s * 1e3 / 2
    return Load(1 / round_trip_s, batch, middle_ms)


def predict() -> Frequent:
    """The closed form."""
    beside = {rate: load(rate, 0.0) for rate in BESIDE_PER_S}
    return Frequent(
        far={rate: load(rate, TRANSIT_MS) for rate in RATES_PER_S},
        beside=beside,
        pushed={BESIDE_PER_S[-1]: Load(0.0, 1.0, 0.0)},
        bursts={"coalesced": 1.0, "one by one": 2.0},
    )


async def run(seed: int) -> Frequent:
    """Each rate in turn; then bursts. The schedule is a constant rate: nothing is drawn."""
    return Frequent(
        far=await _loads("longpolling", TRANSIT_MS, RATES_PER_S),
        beside=await _loads("longpolling", 0.0, BESIDE_PER_S),
        pushed=await _loads("websocket", 0.0, BESIDE_PER_S[-1:]),
        bursts={"coalesced": await _bursts(COALESCE_MS), "one by one": await _bursts(None)},
    )


async def _loads(name: str, transit_ms: float, rates: Sequence[float]) -> dict[float, Load]:
    async with talk(name, transit_ms, listeners=LISTENERS) as held:
        return {rate: await _load(held, rate, name == "longpolling") for rate in rates}


async def _load(held: Talk, rate_per_s: float, polls: bool) -> Load:
    words, before_s = round(rate_per_s * WINDOW_S), await held.server.cpu_s()
    heard = await held.say([(word / rate_per_s, 0) for word in range(words)])
    cpu_s, deliveries = await held.server.cpu_s() - before_s, words * LISTENERS
    return Load(
        polls=heard.batches / LISTENERS / WINDOW_S if polls else 0.0,
        batch=deliveries / heard.batches,
        latency_ms=median(heard.latencies_ms),
        cpu_ms=cpu_s * 1e3 / deliveries,
    )


async def _bursts(coalesce_ms: float | None) -> float:
    """In how many pieces a burst comes."""
    moments = [(burst * APART_S, 0) for burst in range(BURSTS) for _ in range(BURST)]
    async with talk(
        "longpolling", TRANSIT_MS, listeners=LISTENERS, coalesce_ms=coalesce_ms
    ) as held:
        return (await held.say(moments)).batches / LISTENERS / BURSTS


def judge(predicted: Frequent, found: Frequent) -> list[Finding]:
    """Polls, batches and latency by the rate; what the server works; bursts."""
    findings = [
        each
        for rate, expected in predicted.far.items()
        for each in _three(rate, expected, found.far[rate])
    ]
    for rate, expected in predicted.beside.items():
        what, polls = f"polls, {rate:g} messages/s, beside", found.beside[rate].polls
        # As often as somebody speaks: it is what is claimed, and our closed form as well.
        findings += [
            near(what, PER, expected.polls, polls, _basis(0), within=WORK),
            near(f"... {what}", PER, expected.polls, polls, _basis(0), within=WORK, of="claim"),
        ]
    for how, pieces in predicted.bursts.items():
        basis = f"reads of {LISTENERS} light clients; {BURSTS} bursts of {BURST}, {_way()}"
        what = f"pieces of a burst, {how}"
        findings.append(near(what, "pieces", pieces, found.bursts[how], basis, by=0.34))
    top = BESIDE_PER_S[-1]
    beside_ms, far_ms = found.beside[top].cpu_ms, found.far[top].cpu_ms
    relief, more = far_ms / beside_ms, beside_ms / found.pushed[top].cpu_ms
    basis = f"the server's CPU time by its own clock; {_basis(0)}, {top:g} messages/s"
    what = "CPU of a delivery against a WebSocket, beside"
    return [
        *findings,
        bounded("CPU of a delivery, far against beside", "times", relief, basis, most=RELIEF),
        bounded(what, "times", more, basis, least=2),
        bounded(f"... {what}", "times", more, basis, least=2, of="claim"),
    ]


def _three(rate: float, expected: Load, taken: Load) -> list[Finding]:
    words, said = round(rate * WINDOW_S), f"{rate:g} messages/s, far"
    basis, round_trip_ms = f"{_basis(TRANSIT_MS)}, {words} messages", ROUND_TRIP_S * 1e3
    # One message, one poll, and nothing is drawn: only what the machine holds up comes together.
    polls_off, batch_off, waits_ms = ALONE * expected.polls, ALONE, 0.0
    if expected.batch > 1:
        # The window need not hold a whole number of round trips: a poll more is right as well.
        polls_off = 1 / WINDOW_S + WORK * expected.polls
        batch_off = expected.batch * (WORK + 1 / (expected.polls * WINDOW_S))
        # What waits for one poll came at a constant rate, so its median is within half a gap of
        # the middle; the first of all, which has not waited, may move it by half a rank.
        waits_ms = 1e3 / rate / 2 + round_trip_ms / words / 2
    late_ms = WORK * round_trip_ms + waits_ms
    return [
        near(f"polls, {said}", PER, expected.polls, taken.polls, basis, by=polls_off),
        near(f"batch, {said}", "messages", expected.batch, taken.batch, basis, by=batch_off),
        near(f"latency, {said}", "ms", expected.latency_ms, taken.latency_ms, basis, by=late_ms),
    ]


def _basis(transit_ms: float) -> str:
    return f"reads of {LISTENERS} light clients; intended send to receipt, {_way(transit_ms)}"


def _way(transit_ms: float = TRANSIT_MS) -> str:
    return f"relay of {transit_ms:g} ms each way; open loop, {WINDOW_S:g} s at a constant rate"


def plot(predicted: Frequent, found: Frequent) -> Figure:
    """Polls and latency by the rate."""
    figure, (left, right) = axes(2, right=0.98)
    rates = [step / 2 for step in range(1, 2 * round(RATES_PER_S[-1]) + 1)]
    lines = [load(rate, TRANSIT_MS) for rate in rates]
    theory(left, rates, [line.polls for line in lines], "100 ms round trip")
    measured(left, RATES_PER_S, [found.far[rate].polls for rate in RATES_PER_S], "measured")
    upto = [0.0, BESIDE_PER_S[-1]]
    theory(left, upto, upto, "beside the server", 1)
    beside = [found.beside[rate].polls for rate in BESIDE_PER_S]
    measured(left, BESIDE_PER_S, beside, "measured beside", 1)
    left.set_ylim(top=1.7 * upto[-1])
    left.set_ylabel("polls a client and second")
    left.legend(frameon=False, fontsize=8)
    theory(right, rates, [line.latency_ms for line in lines], "")
    taken_ms = [found.far[rate].latency_ms for rate in RATES_PER_S]
    measured(right, RATES_PER_S, taken_ms, "")
    right.set_ylabel("median latency, ms")
    right.set_ylim(bottom=0)
    for on in (left, right):
        on.set_xlabel("messages a second")
    return figure


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
