"""A long poll takes one network transit, and three where it has just been answered (RFC 6202).

Let L be a transit, one way, and let nothing else take time. A message that finds a poll waiting
is its answer, and is there after L. Then the server has no poll of this client until that answer
has come and the next request too, 2 L later. A message that comes x after the first one waits for
it, and its latency from the server on is

    3 L - x    for 0 < x < 2 L,        L    from there on

so that it is above two transits for half of that time, and the most is 3 L, just after an answer
has left: answer, next request, answer. A transport that need not be asked takes L always.

What the average is depends on how often somebody speaks. Let messages be Poisson with a of them in
a round trip 2 L. A blind time ends without any with probability exp(-a), and is followed by
another otherwise; so a message that finds a poll is followed by exp(a) blind times, in which there
are a exp(a) messages with a mean latency of 2 L. All together

    mean = L (1 + 2 a exp(a)) / (1 + a exp(a))

"Close to one network transit" is right for rare messages, a word that the source does not use.
With one in ten round trips the average is 1.10 transits, with one in each 1.73 already, and it goes
to two.

The longest wait is a maximum, so it is taken of single waits. 0.1 transits after an answer has left
3 L - x is 2.9 transits, and it takes work besides, which only adds: the client asks again at once,
but not in no time. So 2.9 is the least that may be seen where the source's "over three" is right:
three transits, counted from the answer, and work. A server that kept a second poll would show 1.
The source adds that TCP's repeats of lost packets may
take longer still; nothing is lost here.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, sqrt
from random import Random
from statistics import mean, median

from matplotlib.figure import Figure

from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, measured, theory
from labs.experiments.rig.far import Talk, talk

CLAIM = Claim(
    title="Long polling takes one transit, and three at worst",
    title_ko="롱폴링은 보통 한 번, 최악에는 세 번의 전송 시간이 걸린다",
    says="The average latency of long polling is close to one network transit (of rare messages, "
    "as we read it; the source does not say so), but the maximal latency is over three: the "
    "answer, the next request, the answer to that.",
    says_ko="롱폴링의 평균 지연은 네트워크를 한 번 건너는 시간에 가깝지만(원문에는 없으나 메시지가 "
    "드물 때의 이야기로 읽는다), 최대 지연은 응답, 다음 요청, 그 응답까지 세 번을 넘는다.",
    source="RFC 6202 (2011), section 2.2, Maximal Latency.",
)

TRANSIT_MS = 80.0
SPACINGS = (0.1, 0.5, 1.0, 1.5, 2.5, 3.0)  # between two messages, in transits
TIMES = {"longpolling": 5, "websocket": 3, "streaming": 3}  # every pair is said so often
PAIR_S = 6 * TRANSIT_MS / 1e3  # from one pair to the next: the poll is back long before
STREAMS = {0.1: (24, 2.4), 1.0: (24, 1.2), 2.0: (10, 1.2)}
"""Messages in a round trip, with the rooms that speak at once, and for how many seconds."""
WARM_S = 4 * TRANSIT_MS / 1e3  # a stream is not looked at until two round trips have passed

WORK = 0.2  # of a transit, 16 ms: the work of three processes, on a machine with other work


@dataclass(frozen=True)
class Transits:
    """Latencies from the server on, in transits.

    `second` is that of the second of two messages, by transport and spacing; `first` that of the
    first, by transport; `average` by messages in a round trip, and `words` how many that rests on.
    These are medians and means; `longest` is the longest of single waits for a poll.
    """

    first: dict[str, float]
    second: dict[str, dict[float, float]]
    average: dict[float, float]
    words: dict[float, int]
    longest: float


def after(spacing: float) -> float:
    """The latency of a message so long after one that was answered; all in transits."""
    return 3 - spacing if 0 < spacing < 2 else 1.0


def average(rate: float) -> float:
    """The mean latency, in transits, of a Poisson stream with so many in a round trip."""
    blind = rate * exp(rate)
    return (1 + 2 * blind) / (1 + blind)


def error(rate: float, words: int) -> float:
    """Four standard errors of that mean.

    Latencies are 1, or uniform in 1 to 3, whose mean square is 13/3. Messages of one round trip
    are not quite independent; by simulation that adds less than a tenth.
    """
    blind = rate * exp(rate) / (1 + rate * exp(rate))
    variance = 1 - blind + blind * 13 / 3 - average(rate) ** 2
    return 4 * 1.1 * sqrt(variance / words)


def predict() -> Transits:
    """The closed form."""
    polled = {spacing: after(spacing) for spacing in SPACINGS}
    pushed = dict.fromkeys(SPACINGS, 1.0)
    return Transits(
        first=dict.fromkeys(TIMES, 1.0),
        second={name: polled if name == "longpolling" else pushed for name in TIMES},
        average={rate: average(rate) for rate in STREAMS},
        words={rate: round(rate * _streams(rate)) for rate in STREAMS},
        longest=max(polled.values()),
    )


async def run(seed: int) -> Transits:
    """Say pairs, over each transport; then streams of words over long polling."""
    first: dict[str, float] = {}
    second: dict[str, dict[float, float]] = {}
    streams: dict[float, list[float]] = {}
    longest = 0.0
    for name, times in TIMES.items():
        rooms = max(rooms for rooms, _ in STREAMS.values())
        async with talk(name, TRANSIT_MS, rooms=rooms) as held:
            first[name], second[name], most = await _pairs(held, times)
            if name == "longpolling":
                longest = most
                for rate in STREAMS:
                    streams[rate] = await _stream(held, rate, seed)
    return Transits(
        first=first,
        second=second,
        average={rate: mean(found) for rate, found in streams.items()},
        words={rate: len(found) for rate, found in streams.items()},
        longest=longest,
    )


async def _pairs(held: Talk, times: int) -> tuple[float, dict[float, float], float]:
    """Two words in each of some rooms, as far apart as that room's spacing, a few times.

    Answers the median of first ones, those of second ones by spacing, and the longest of these.
    """
    rooms, pause_s = range(len(SPACINGS)), PAIR_S / len(SPACINGS)
    begins = [(turn * PAIR_S + room * pause_s, room) for turn in range(times) for room in rooms]
    later = [(at_s + SPACINGS[room] * TRANSIT_MS / 1e3, room) for at_s, room in begins]
    heard = (await held.say([*begins, *later])).latencies_ms
    transits = [one_ms / TRANSIT_MS for one_ms in heard]
    seconds = transits[len(begins) :]
    medians = {
        spacing: median(seconds[room :: len(SPACINGS)]) for room, spacing in enumerate(SPACINGS)
    }
    return median(transits[: len(begins)]), medians, max(seconds)


async def _stream(held: Talk, rate: float, seed: int) -> list[float]:
    """Poisson streams in several rooms at once; their latencies in transits."""
    random, (rooms, length_s) = Random(f"{seed}/{rate}"), STREAMS[rate]
    per_s = rate / (2 * TRANSIT_MS / 1e3)
    moments = []
    for room in range(rooms):
        at_s = random.expovariate(per_s)
        while at_s < WARM_S + length_s:
            moments.append((at_s, room))
            at_s += random.expovariate(per_s)
    heard = zip(moments, (await held.say(moments)).latencies_ms, strict=True)
    return [one_ms / TRANSIT_MS for (at_s, _), one_ms in heard if at_s >= WARM_S]


def _streams(rate: float) -> float:
    rooms, length_s = STREAMS[rate]
    return rooms * length_s / (2 * TRANSIT_MS / 1e3)


def judge(predicted: Transits, found: Transits) -> list[Finding]:
    """Each spacing, each rate; and the source's one and three transits."""
    basis = f"light clients behind a relay of {TRANSIT_MS:g} ms each way; intended send to receipt"
    polls = found.second["longpolling"]
    pairs = f"{basis}; open loop, median of {TIMES['longpolling']} pairs"
    findings = [
        near(
            f"second message, {spacing:g} transits after the first",
            "transits",
            predicted.second["longpolling"][spacing],
            polls[spacing],
            pairs,
            by=WORK,
        )
        for spacing in SPACINGS
    ]
    for name in ("websocket", "streaming"):
        middle, many = median(found.second[name].values()), f"{basis}; open loop, median of all"
        findings.append(near(f"second message, {name}", "transits", 1, middle, many, by=WORK))
    for rate, taken in found.average.items():
        findings.append(_mean(rate, predicted.average[rate], taken, found.words[rate], basis))
    rare, alone = min(found.average), found.first["longpolling"]
    single = f"{basis}; open loop, of {TIMES['longpolling'] * len(SPACINGS)} single waits"
    least = predicted.longest
    return [
        *findings,
        near("a message alone", "transits", 1, alone, pairs, by=WORK),
        bounded("the longest wait", "transits", found.longest, single, least=least),
        _close(rare, predicted.average[rare], found.average[rare], found.words[rare], basis),
        bounded(
            "the longest wait: three, less 0.1, and work",
            "transits",
            found.longest,
            single,
            least=least,
            of="claim",
        ),
    ]


def _mean(rate: float, expected: float, taken: float, words: int, basis: str) -> Finding:
    what = f"mean of {rate:g} messages a round trip"
    model = f"{basis}; open loop, Poisson, {words} messages"
    return near(what, "transits", expected, taken, model, by=_reach(rate, words))


def _close(rate: float, expected: float, taken: float, words: int, basis: str) -> Finding:
    """The source's "close to one", as wide as to hold all that theory allows, and no wider."""
    what = f"mean of rare messages ({rate:g} a round trip)"
    model, by = f"{basis}; open loop, Poisson, {words} messages", _reach(rate, words)
    return near(what, "transits", 1, taken, model, by=expected - 1 + by, of="claim")


def _reach(rate: float, words: int) -> float:
    return WORK / 2 + error(rate, words)


def plot(predicted: Transits, found: Transits) -> Figure:
    """The second message by its spacing; the mean by the rate."""
    figure, (left, right) = axes(2, right=0.98)
    spacings = [0.0, *(at / 100 for at in range(1, 200)), 2.0, SPACINGS[-1]]
    theory(left, spacings, [1.0 if not at else after(at) for at in spacings], "long polling")
    polls = found.second["longpolling"]
    measured(left, SPACINGS, [polls[at] for at in SPACINGS], "long polling, measured")
    theory(left, (0, SPACINGS[-1]), (1, 1), "WebSocket", 1)
    pushed = found.second["websocket"]
    measured(left, SPACINGS, [pushed[at] for at in SPACINGS], "WebSocket, measured", 1)
    left.set_xlabel("after the message before, transits")
    left.set_ylabel("latency, transits")
    rates = [at / 20 for at in range(1, 61)]
    theory(right, rates, [average(rate) for rate in rates], "")
    measured(right, list(found.average), list(found.average.values()), "")
    right.set_xlabel("messages a round trip")
    right.set_ylabel("mean latency, transits")
    for on in (left, right):
        on.set_ylim(0, 3.4)
    left.legend(frameon=False, fontsize=8, loc="upper right")
    return figure


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
