"""A peer that died without a word is held for ping interval + ping timeout, 40 or 45 s by default.

Both libraries ping their clients every I and expect a pong within T: `websockets` with 20 and
20 s, Socket.IO with 25 and 20 s. On the wire (RFC 6455 section 5.5) that is

    websockets   ping 2 + 4 B down, pong 2 + 4 + 4 B up (mask)           16 B, 180 an hour
                 and as much again where the client is the library too   32 B
    Engine.IO    2 in a text frame, 3 B down; 3 masked, 7 B up           10 B, 144 an hour

in TCP payload. A peer dies at some moment between two pongs; after the last one nothing can be
wrong before I + T are over. What the libraries do then takes longer than the sum says:

    websockets   I + T, and it closes; the program hears of it when the close has not been
                 answered within C (close_timeout, 10 s): I + T + C
    Engine.IO    python-engineio looks for late pongs in rounds of T: I + T to I + 2 T

so a dead peer is held up to 50 s and 65 s. Everything is measured with times a twentieth as long.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from math import ceil

import msgspec
from matplotlib.figure import Figure

from labs.errors import LabError
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, colour, legend
from labs.experiments.rig.pinging import (
    Defaults,
    Peers,
    answering,
    defaults,
    engine_server,
    websockets_server,
)
from labs.experiments.rig.silent import Cable, cable
from labs.wire.relay import HOST

CLAIM = Claim(
    title="A dead peer is held for ping interval + ping timeout: 40 s or 45 s by default",
    title_ko="죽은 상대는 핑 간격 + 핑 제한 시간, 기본값으로 40초나 45초 동안 붙들려 있다",
    says="By default Socket.IO pings every 25 s and websockets every 20 s, and each waits 20 s for "
    "the pong: whoever dies without a word is held up to 45 s or 40 s.",
    says_ko="기본값에서 Socket.IO는 25초마다, websockets는 20초마다 핑을 보내고 20초 동안 퐁을 "
    "기다린다. 말없이 죽은 상대는 최대 45초, 40초 동안 붙들려 있다.",
    source="Socket.IO 4 server options (pingInterval, pingTimeout) and the documentation of "
    "websockets on keepalive, both as their defaults are commonly added up.",
)

SCALE = 20  # a measured second stands for so many
INTERVALS = 3  # that are watched for their bytes
CLIENTS = 8  # they join evenly over one interval
HOUR_S = 3_600
LATE_S = 0.3
"""What a busy machine may add to a moment; six seconds at full length."""
LIBRARIES = ("websockets", "socketio")


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What one library did, at the short times.

    Of each client, from its last pong: `closed_s` until the library gave it up, `told_s` until
    the program heard of it. `sizes` are the bytes of each read while nobody spoke, by direction.
    """

    defaults: Defaults
    sizes: dict[str, list[int]]
    closed_s: list[float]
    told_s: list[float]


class Theory(msgspec.Struct, frozen=True):
    """One library: bytes of a ping and its pong; from a last pong until the program knows."""

    bytes_each: int
    stated: Defaults
    least_s: float
    most_s: float


def predict() -> dict[str, Theory]:
    """From what is stated of the defaults: 20 + 20 s, and 10 to close; 25 + 20 s."""
    sockets, engine = Defaults(20, 20, 10), Defaults(25, 20)
    closed_s, late_s = 20 + 20 + 10, 25 + 20 + 20
    return {
        "websockets": Theory((2 + 4) + (2 + 4 + 4), sockets, closed_s, closed_s),
        "socketio": Theory((2 + 1) + (2 + 4 + 1), engine, 25 + 20, late_s),
    }


async def run(seed: int) -> dict[str, Watched]:
    """Both at once: they mostly wait."""
    found = await asyncio.gather(*map(watch, LIBRARIES))
    return dict(zip(LIBRARIES, found, strict=True))


async def watch(library: str, clients: int = CLIENTS, scale: float = SCALE) -> Watched:
    """A server of a library with silent clients, whose cable is pulled."""
    full, peers = defaults(library), Peers()
    short = Defaults(full.interval_s / scale, full.timeout_s / scale, full.close_s / scale)
    serving = websockets_server if library == "websockets" else engine_server
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(serving(short, peers))
        line = await stack.enter_async_context(cable(HOST, port))
        for _ in range(clients):
            await stack.enter_async_context(answering(line.port))
            await asyncio.sleep(short.interval_s / clients)
        # Clear of all pings: those of the first client are due when the last has waited.
        await asyncio.sleep(short.interval_s / clients / 2)
        begun_ns = time.monotonic_ns()
        await asyncio.sleep(INTERVALS * short.interval_s)
        sizes = _sizes(line, begun_ns)
        line.pull()
        within_s = 3 * (short.interval_s + 2 * short.timeout_s + short.close_s)
        try:
            await asyncio.wait_for(peers.all_gone(), within_s)
        except TimeoutError:
            raise LabError(f"{library} still held a dead peer after {within_s:g} s") from None
        last_s = {
            event.connection: event.at_ns / 1e9 for event in line.tap.events if event.kind == "up"
        }
    return Watched(
        defaults=full,
        sizes=sizes,
        closed_s=sorted(at_s - last_s[place] for place, at_s in peers.closed_s.items()),
        told_s=sorted(at_s - last_s[place] for place, at_s in peers.told_s.items()),
    )


def _sizes(line: Cable, begun_ns: int) -> dict[str, list[int]]:
    since = [event for event in line.tap.events if event.data and event.at_ns >= begun_ns]
    return {way: [len(one.data) for one in since if one.kind == way] for way in ("down", "up")}


def judge(predicted: dict[str, Theory], found: dict[str, Watched]) -> list[Finding]:
    """The defaults as installed, the bytes of an hour, and how long the dead are held."""
    findings = []
    for library, stated in predicted.items():
        findings += _installed(library, stated.stated, found[library].defaults)
        findings += _hour(library, stated, found[library])
        findings += _held(library, stated, found[library])
    return findings


def _installed(library: str, stated: Defaults, installed: Defaults) -> list[Finding]:
    basis = f"read from the installed {library}"
    pairs = [("ping interval", stated.interval_s, installed.interval_s)]
    pairs.append(("ping timeout", stated.timeout_s, installed.timeout_s))
    return [
        near(f"{library}: {what}", "s", said_s, is_s, basis, of="claim")
        for what, said_s, is_s in pairs
    ]


def _hour(library: str, stated: Theory, watched: Watched) -> list[Finding]:
    pings = len(watched.sizes["down"])
    basis = f"TCP payload at the tap; {CLIENTS} silent clients, {pings} pings of the server"
    each = (sum(watched.sizes["down"]) + sum(watched.sizes["up"])) / pings
    hour = HOUR_S / stated.stated.interval_s
    return [
        near(f"{library}: a ping and its pong", "B", stated.bytes_each, each, basis),
        near(
            f"{library}: an hour, one side pinging",
            "B",
            stated.bytes_each * hour,
            each * hour,
            basis,
        ),
        # The window begins and ends between two clients' pings, which are evenly spread. Those
        # fall out, or in, whose moments a busy machine may move across its end.
        near(
            f"{library}: pings in {INTERVALS} intervals",
            "pings",
            CLIENTS * INTERVALS,
            pings,
            basis,
            by=ceil(LATE_S * SCALE * CLIENTS / stated.stated.interval_s),
        ),
    ]


def _held(library: str, stated: Theory, watched: Watched) -> list[Finding]:
    basis = (
        f"monotonic clock, from the last pong at the tap; {len(watched.told_s)} clients, "
        f"times 1/{SCALE} of the defaults, shown in full"
    )
    early, late = min(watched.told_s) * SCALE, max(watched.told_s) * SCALE
    slack_s = LATE_S * SCALE
    added_s = stated.stated.interval_s + stated.stated.timeout_s
    # The moments of pongs are those of the tap, a little before the library reads them.
    return [
        bounded(
            f"{library}: given up at the soonest",
            "s",
            min(watched.closed_s) * SCALE,
            basis,
            least=added_s - 0.5,
            most=stated.most_s,
        ),
        bounded(
            f"{library}: the program hears, at the soonest",
            "s",
            early,
            basis,
            least=stated.least_s - 0.5,
        ),
        bounded(
            f"{library}: the program hears, at the latest",
            "s",
            late,
            basis,
            most=stated.most_s + slack_s,
        ),
        bounded(
            f"{library}: held {added_s:g} s at the most",
            "s",
            late,
            basis,
            most=added_s + slack_s,
            of="claim",
        ),
    ]


def plot(predicted: dict[str, Theory], found: dict[str, Watched]) -> Figure:
    """How long the dead were held: the claim, the theory, the measurement."""
    figure, (on,) = axes(left=0.14, right=0.65)
    for row, (library, stated) in enumerate(predicted.items()):
        first = row == 0
        added_s = stated.stated.interval_s + stated.stated.timeout_s
        span = [stated.least_s, stated.most_s]
        on.plot(
            [added_s],
            [row],
            "|",
            color=colour(4),
            markersize=24,
            label="claim: I + T" if first else None,
        )
        on.plot(
            span,
            [row, row],
            "-",
            color=colour(0),
            linewidth=7,
            alpha=0.4,
            label="theory: the program hears" if first else None,
        )
        for shown, index, what in (
            (found[library].closed_s, 2, "given up"),
            (found[library].told_s, 0, "the program hears"),
        ):
            on.plot(
                [at_s * SCALE for at_s in shown],
                [row] * len(shown),
                "o",
                color=colour(index),
                markersize=4,
                label=f"measured: {what}" if first else None,
            )
    on.set_yticks(range(len(predicted)), list(predicted))
    on.set_ylim(-0.6, len(predicted) - 0.4)
    on.set_xlim(left=0)
    on.set_xlabel("after the last pong, s at the default times")
    legend(on)
    return figure


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
