"""The longer a connection is held, the greater the burden of keeping it valid.

A cable is pulled: nothing passes any more, in either direction, and nobody says so. Until a side
notices, it holds a connection to nobody. Every side has something it expects every b seconds,
and a patience a after which that is overdue. The cable is pulled at a uniformly random moment of
b, so it notices

    between a and a + b    after the last thing that passed, evenly spread.

With a heartbeat h, a patience t (`timeout_s`), a poll's longest wait H and an interval I, a and b
are, by what the transports do:

                server: a, b     client: a, b
    polling     -I, I            t, I         nothing is held: the lease runs from the last request
    longpolling 0, H             t, H         the answer that has to come by then
    streaming   t, h             t, h         server: the kernel, from the first comment on
    websocket   t, h             t, h         half of it for a pong, half for the close
    socketio    t/2, h + t/2     t/2, h       a pong, which the server looks for every t/2

SPEC.md S10.7 states the ends of these spans.

What a held connection costs in memory has no closed form, but it is linear in their number n:

    RSS(n) = RSS(0) + c n.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
from matplotlib.figure import Figure

from labs import lab
from labs.bench.workload import WORKLOADS, Workload
from labs.errors import LabError
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, colour, legend, measured, theory
from labs.experiments.rig.silent import cable
from labs.settings import Settings
from labs.variants import FIVE, Client, load
from labs.wire.control import together
from labs.wire.relay import HOST

CLAIM = Claim(
    title="The longer a connection is held, the greater the burden of keeping it valid",
    title_ko="연결이 길어질수록 연결을 유효하게 유지하는 부담이 커진다",
    says="A connection that is held costs memory, and its peer may vanish without a word: then "
    "each side holds it in vain, until heartbeat_s + timeout_s are over (hold_s for a long poll).",
    says_ko="유지되는 연결은 메모리를 차지하고, 상대는 말없이 사라질 수 있다. 그러면 양쪽은 "
    "heartbeat_s + timeout_s(롱폴링은 hold_s)가 지날 때까지 헛되이 연결을 붙들고 있다.",
    source="The original lesson, on the connection's length; SPEC.md S10.7 for the bounds.",
)

SETTINGS = Settings(
    heartbeat_s=1.0, timeout_s=1.0, hold_s=1.0, interval_s=0.25, lease_s=0.5, drain_s=1.5
)
CLIENTS = 6  # they join evenly over one heartbeat, so the cable is pulled at six of its phases
LOOK_S = 0.01  # how often the clients' states are looked at
LATE_S = 0.75
"""What is added to each bound: a tenth of the lease; the kernel's clock for `TCP_USER_TIMEOUT`,
which runs from the first repetitions, 0.2 s and more after the segment (Linux); a busy machine."""

HELD = ("longpolling", "streaming", "websocket", "socketio-websocket")
FEW, MANY = 100, 300
LEAST_KIB, MOST_KIB = 4.0, 128.0
"""A connection is at least a transport, a protocol, a parser, a task and a session: some dozen
objects with their dicts. With more than the last it holds buffers that nobody asked for."""


class Wait(NamedTuple):
    """Between how many seconds after the cable was pulled a side notices."""

    least_s: float
    most_s: float


class Burden(msgspec.Struct, frozen=True, kw_only=True):
    """By `variant side`: the seconds until each client, or the server for each, had noticed.

    By variant: the server's RSS in bytes, empty and with `FEW` and `MANY` idle connections.
    """

    noticed_s: dict[str, list[float]]
    memory_bytes: dict[str, list[int]]


def predict() -> dict[str, Wait]:
    """When each side notices, by what each transport does."""
    heartbeat, timeout = SETTINGS.heartbeat_s, SETTINGS.timeout_s
    hold, interval = SETTINGS.hold_s, SETTINGS.interval_s
    waits = {
        "polling server": (-interval, interval),
        "polling client": (timeout, interval),
        "longpolling server": (0, hold),
        "longpolling client": (timeout, hold),
        "streaming server": (timeout, heartbeat),
        "streaming client": (timeout, heartbeat),
        "websocket server": (timeout, heartbeat),
        "websocket client": (timeout, heartbeat),
        "socketio server": (timeout / 2, heartbeat + timeout / 2),
        "socketio client": (timeout / 2, heartbeat),
    }
    return {side: Wait(patience, patience + period) for side, (patience, period) in waits.items()}


def stated() -> dict[str, float]:
    """Within how many seconds each side notices by SPEC.md S10.7; polling's server has nothing."""
    pushed = SETTINGS.heartbeat_s + SETTINGS.timeout_s
    held = {f"{name} {side}": pushed for name in FIVE[2:] for side in ("server", "client")}
    polled = {
        "polling client": SETTINGS.interval_s + SETTINGS.timeout_s,
        "longpolling server": SETTINGS.hold_s,
        "longpolling client": SETTINGS.hold_s + SETTINGS.timeout_s,
    }
    return {**polled, **held}


async def run(seed: int) -> Burden:
    """Pull the cables of all five at once; then hold crowds of two sizes."""
    noticed_s: dict[str, list[float]] = {}

    async def one(name: str) -> None:
        noticed_s[f"{name} server"], noticed_s[f"{name} client"] = await pulled(name, SETTINGS)

    await together(*map(one, FIVE))
    few, many = await asyncio.gather(*(_crowds(size, seed) for size in (FEW, MANY)))
    sizes = {name: [*few[name], many[name][1]] for name in HELD}
    return Burden(noticed_s=noticed_s, memory_bytes=sizes)


async def pulled(
    name: str, settings: Settings, number: int = CLIENTS
) -> tuple[list[float], list[float]]:
    """After how many seconds the server and each of so many clients notice a pulled cable.

    The server has noticed when the lease begins to run: so long before it announces a leave.
    """
    variant = load(name)
    settings = variant.settings(settings)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(variant.serve(variant.chat(settings), HOST, 0))
        line = await stack.enter_async_context(cable(HOST, urlsplit(url).port or 0))
        witness = variant.client(url, settings)
        stack.push_async_callback(witness.close)
        await witness.connect("witness")
        clients = []
        for place in range(number):
            client = variant.client(f"http://{HOST}:{line.port}", settings)
            stack.push_async_callback(client.close)
            await client.connect(f"client{place}")
            clients.append(client)
            await asyncio.sleep(settings.heartbeat_s / number)
        line.pull()
        within_s = 3 * (settings.heartbeat_s + settings.timeout_s + settings.drain_s) + 2
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.gather(_server(witness, settings, number), _clients(clients))
        except TimeoutError:
            raise LabError(f"{name}: not noticed on both sides in {within_s:g} s") from None


async def _server(witness: Client, settings: Settings, number: int) -> list[float]:
    since_s, left_s = time.time() + settings.lease_s, list[float]()
    async for message in witness.messages():
        if message.kind == "leave":
            left_s.append(message.at_ms / 1_000 - since_s)
        if len(left_s) == number:
            break
    return left_s


async def _clients(clients: Sequence[Client]) -> list[float]:
    begun_s, noticed_s = time.monotonic(), dict[int, float]()
    while len(noticed_s) < len(clients):
        for place, client in enumerate(clients):
            if client.state != "open":
                noticed_s.setdefault(place, time.monotonic() - begun_s)
        await asyncio.sleep(LOOK_S)  # a client tells its state only to who asks
    return sorted(noticed_s.values())


async def _crowds(size: int, seed: int) -> dict[str, list[int]]:
    runs = await lab.take_latency(_idle(size), HELD, rounds=1, seed=seed)
    used = {name: each[0].server for name, each in runs.items()}
    return {name: [use.empty_bytes, use.full_bytes] for name, use in used.items() if use}


def _idle(size: int) -> Workload:
    # Of ten rooms: joins cost the square of a room's size, and are not what is asked.
    quiet = {"hold_s": 60.0, "heartbeat_s": 60.0}
    return WORKLOADS["idle"].but(
        clients=size, rooms=10, probes=0, duration_s=0.5, warmup_s=0.0, settings=quiet
    )


def judge(predicted: Mapping[str, Wait], found: Burden) -> list[Finding]:
    """When each side noticed, by theory and by what is stated; what a connection costs."""
    basis = (
        f"monotonic clock (server: its own announcement, less the lease); {CLIENTS} clients, "
        f"heartbeat {SETTINGS.heartbeat_s:g} s, timeout {SETTINGS.timeout_s:g} s"
    )
    longest = {side: max(each) for side, each in found.noticed_s.items()}
    early = min(min(each) - predicted[side].least_s for side, each in found.noticed_s.items())
    return [
        *(
            bounded(
                f"{side} notices, at the latest",
                "s",
                longest[side],
                basis,
                least=wait.least_s,
                most=wait.most_s + LATE_S,
            )
            for side, wait in predicted.items()
        ),
        # Two clocks, one in whole milliseconds, and the moments in which cables are pulled.
        bounded("none before its patience is over", "s", early, basis, least=-0.05),
        *(
            bounded(
                f"{side}: within what is stated, {most_s:g} s",
                "s",
                longest[side],
                basis,
                most=most_s + LATE_S,
                of="claim",
            )
            for side, most_s in stated().items()
        ),
        *_costs(found),
    ]


def _costs(found: Burden) -> list[Finding]:
    basis = f"RSS of the server process; light clients, {FEW} and {MANY} idle connections"
    findings = []
    for name, (empty, few, many) in found.memory_bytes.items():
        slope = (many - few) / (MANY - FEW) / 1_024
        first = (few - empty) / FEW / 1_024
        kib = bounded(
            f"{name}: memory of a held connection",
            "KiB",
            slope,
            basis,
            least=LEAST_KIB,
            most=MOST_KIB,
            of="claim",
        )
        # The allocator takes memory in large pieces, and first uses are in the first hundred.
        straight = near(
            f"{name}: first {FEW} against the rest", "times", 1, first / slope, basis, within=0.5
        )
        findings += [kib, straight]
    return findings


def plot(predicted: Mapping[str, Wait], found: Burden) -> Figure:
    """The span in which each side should notice, and when it did; memory by connections."""
    figure, (on, right) = axes(2, height_in=3.4, left=0.2, right=0.74)
    figure.subplots_adjust(wspace=0.35)
    for row, (side, wait) in enumerate(predicted.items()):
        on.plot(
            [wait.least_s, wait.most_s], [row, row], "-", color=colour(0), linewidth=5, alpha=0.4
        )
        on.plot(
            found.noticed_s[side],
            [row] * len(found.noticed_s[side]),
            "o",
            color=colour(0),
            markersize=3,
        )
    on.plot(
        list(stated().values()),
        [list(predicted).index(side) for side in stated()],
        "|",
        color=colour(4),
        markersize=10,
    )
    on.set_yticks(range(len(predicted)), list(predicted))
    on.invert_yaxis()
    on.set_xlabel("noticed after, s")
    for index, (name, sizes) in enumerate(found.memory_bytes.items()):
        empty, few, many = (size / (1 << 20) for size in sizes)
        theory(
            right,
            (0, MANY),
            (empty, empty + (many - empty)),
            f"{name.partition('-')[0]}, linear",
            index,
        )
        measured(right, (0, FEW, MANY), (empty, few, many), "measured" if not index else "", index)
    right.set_xlabel("connections held")
    right.set_ylabel("server RSS, MiB")
    legend(right)
    return figure


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
