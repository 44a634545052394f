"""A WebSocket is always faster? A rare message takes one transit over a long poll as well.

Whoever waits with a poll gets a message as its answer, and whoever waits with a WebSocket gets it
as a frame: both leave when the message comes, and both are on their way for one transit L. What is
left between the two is work: to read a request and write a head, or to read a frame and write two
bytes, some tenths of a millisecond. It does not grow with the distance,

    longpolling - websocket = work        whatever L is

so that in a ratio it stands out on an idle local network, where 2 L is half a millisecond, and is
nothing at 40 ms. And at the beginning it is the other way round. On a TCP connection that stands,

    longpolling   join and its answer                            1 round trip
    websocket     Upgrade and 101, then join and its answer      2 round trips

for what is said over a WebSocket has to wait for its opening handshake (RFC 6455 section 4.1: the
client sends no data before). So a newcomer is in, and knows who is there, one round trip later.
That is so of a chat whose join is a message that follows the handshake, as ours does; a server that
took the name from the handshake's URL would have let the newcomer in with the 101, after one.
A WebSocket wins where messages are frequent, which is another claim: `longpolling-frequent`.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from matplotlib.figure import Figure

from labs import lab
from labs.bench.intervals import ratio
from labs.bench.stats import of_each
from labs.bench.workload import WORKLOADS
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, measured, theory
from labs.experiments.rig.far import talk
from labs.net.network import NETWORKS

CLAIM = Claim(
    title="A WebSocket is always faster",
    title_ko="웹소켓이 항상 더 빠르다",
    says="Whatever is sent and whenever, it arrives sooner over a WebSocket than over HTTP.",
    says_ko="무엇을 언제 보내든, HTTP보다 웹소켓으로 더 빨리 도착한다.",
    source="Folklore. How often one may speak over either: RFC 6202 (2011), section 2.2; RFC 6455 "
    "(2011), section 1.1.",
)

NAMES = ("longpolling", "websocket")
LAN = NETWORKS["lan"]
ROUNDS, RATE_PER_S, WINDOW_S = 5, 16.0, 0.5  # of each, in seeded random order
TRANSIT_MS = 40.0
WORDS, APART_S, NEWCOMERS = 7, 0.15, 5
WORK_MS = 20.0  # half a transit: servers, clients and a relay, on a machine with other work
# Three transits of the LAN, and a few times the work of either, which is a millisecond or two;
# nothing is relayed, both take turns, and each is a median of medians.
LAN_WORK_MS = 5.0


@dataclass(frozen=True)
class Race:
    """By transport, in milliseconds: medians of the runs on the LAN, far away, and to be in."""

    lan_ms: dict[str, list[float]]
    far_ms: dict[str, float]
    in_ms: dict[str, float]


def predict() -> Race:
    """The closed form, in which work takes no time."""
    round_trip_ms = 2 * TRANSIT_MS
    return Race(
        lan_ms={name: [LAN.rtt_ms] for name in NAMES},
        far_ms=dict.fromkeys(NAMES, TRANSIT_MS),
        in_ms={"longpolling": round_trip_ms, "websocket": 2 * round_trip_ms},
    )


async def run(seed: int) -> Race:
    """An idle LAN, in turns; then from afar, where a transit weighs more than any work."""
    idle = WORKLOADS["paced"].but(
        clients=2,
        probes=0,
        senders=1,
        arrivals="constant",
        rate_per_s=RATE_PER_S,
        duration_s=WINDOW_S,
        warmup_s=0.1,
    )
    runs = await lab.take_latency(idle, NAMES, ROUNDS, seed, LAN.name)
    lan_ms = {name: of_each(taken, lambda found: found.p50_ms) for name, taken in runs.items()}
    far_ms, in_ms = {}, {}
    for name in NAMES:
        async with talk(name, TRANSIT_MS) as held:
            heard = await held.say([(word * APART_S, 0) for word in range(WORDS)])
            far_ms[name] = median(heard.latencies_ms)
            in_ms[name] = median([await held.come_in() for _ in range(NEWCOMERS)])
    return Race(lan_ms, far_ms, in_ms)


def judge(predicted: Race, found: Race) -> list[Finding]:
    """Rare messages near and far; the beginning; and what "always" would ask for."""
    on_lan = (
        f"intended send to receipt at 2 light clients, network lan; open loop, {RATE_PER_S:g} "
        f"messages/s at a constant rate; p50 of {len(found.lan_ms['websocket'])} runs each"
    )
    afar = f"relay of {TRANSIT_MS:g} ms each way"
    rare = f"intended send to receipt at a light client, {afar}; open loop, {WORDS} messages"
    opening = f"from a standing TCP connection to the join's answer, {afar}; {NEWCOMERS} clients"
    lan_ms = _less({name: median(each) for name, each in found.lan_ms.items()})
    apart = (
        ("on the LAN", lan_ms, on_lan, LAN_WORK_MS),
        (f"{TRANSIT_MS:g} ms away", _less(found.far_ms), rare, WORK_MS),
    )
    findings = [
        near(f"long polling less WebSocket, {where}", "ms", 0, ms, basis, by=work_ms)
        for where, ms, basis, work_ms in apart
    ]
    for name, expected_ms in predicted.in_ms.items():
        what = f"a newcomer is in, {name}"
        findings.append(near(what, "ms", expected_ms, found.in_ms[name], opening, by=WORK_MS))
    lan = ratio(found.lan_ms["longpolling"], found.lan_ms["websocket"])
    assert lan, "every run has deliveries, or it is wrong and told before"
    low = lan.value if lan.low is None else lan.low
    begun = found.in_ms["longpolling"] / found.in_ms["websocket"]
    what = "long polling by WebSocket, on the LAN, low end of 95 %"
    newcomer = "the same of a newcomer, whose join follows the handshake"
    return [
        *findings,
        bounded(what, "times", low, on_lan, least=1, of="claim"),
        bounded(newcomer, "times", begun, opening, least=1, of="claim"),
    ]


def _less(each_ms: dict[str, float]) -> float:
    return each_ms["longpolling"] - each_ms["websocket"]


def plot(predicted: Race, found: Race) -> Figure:
    """Each run on the LAN; the medians from afar."""
    figure, (left, right) = axes(2, right=0.98)
    for place, name in enumerate(NAMES):
        runs_ms = found.lan_ms[name]
        measured(left, [place] * len(runs_ms), runs_ms, f"{name}, measured", place)
    theory(left, (-0.4, 1.4), (LAN.rtt_ms, LAN.rtt_ms), "two transits", 2)
    left.set_ylabel("p50 on an idle LAN, ms")
    left.set_ylim(0, 1.6 * max(ms for runs_ms in found.lan_ms.values() for ms in runs_ms))
    left.legend(frameon=False, fontsize=8, loc="upper right")
    for place, name in enumerate(NAMES):
        shown = ((0, predicted.far_ms, found.far_ms), (1, predicted.in_ms, found.in_ms))
        for at, said_ms, taken_ms in shown:
            theory(right, (at - 0.3, at + 0.3), [said_ms[name]] * 2, "", place)
            measured(right, [at - 0.1 + 0.2 * place], [taken_ms[name]], "", place)
    right.set_xticks([0, 1], ["a rare message", "a newcomer is in"])
    right.set_ylabel(f"{TRANSIT_MS:g} ms away, ms")
    right.set_ylim(bottom=0)
    left.set_xticks([0, 1], NAMES)
    return figure


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
