"""Socket.IO polls first and then upgrades, unless it is told to take the WebSocket at once.

A client that comes in, hears its first message, which announces itself, and leaves, makes these
requests and waits for these round trips, one after the other (Engine.IO protocol 4, Socket.IO
protocol 5; labs/bench/prediction/packets.py has the bytes):

    socketio                              socketio-websocket      socketio-polling
    GET, answered 0{...}           1      GET, 101, 0{...}   1    GET, answered 0{...}           1
    GET, 101                       1                              POST 40, a poll brings 40{...} 1
    2probe, 3probe, 5              1                              POST the join, a poll
    40, 40{...}                    1      40, 40{...}        1      brings its ack and the first
    join, ack and first message    1      join, ...          1      message                      1
                                                                  a poll that stands, POST 41
    2 requests, 5 round trips             1 request, 3            7 requests, 3

So the upgrade costs a request and two round trips before anything is said. That is the Python
client, which upgrades before it connects. The official JavaScript client connects by polling and
upgrades meanwhile: its first message is as soon as with polling.

Round trips are the time to the first message, divided by that of the network. What the processes
do comes on top and never makes it shorter, so the least of some tries is taken, and must be nearer
to the number predicted than to any other. The network is a relay here, which cannot delay TCP's own
handshake: each first connection costs one round trip more.

Bytes are known but for `t`, the clock's time as Python writes it, in a query: 18 characters, and
one less for each zero at its end. Fewer than 16 has one in 370; two bytes are allowed for each.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from urllib.parse import urlsplit

from matplotlib.figure import Figure

from labs import lab
from labs.bench import heads
from labs.bench.light import light
from labs.bench.prediction import handshake
from labs.bench.workload import Headers
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near, true
from labs.experiments.plotting import axes, legend, measured, theory
from labs.experiments.upstream import Heard
from labs.net.network import Network
from labs.net.shaper import NetworkShape, Nobody
from labs.settings import Settings
from labs.wire.control import together
from labs.wire.relay import relaying

CLAIM = Claim(
    title="Socket.IO polls first, and then upgrades",
    title_ko="Socket.IO는 폴링으로 시작해 업그레이드한다",
    says="Socket.IO opens with HTTP polling and changes to a WebSocket afterwards; with "
    "`transports: ['websocket']` it takes the WebSocket at once, and is there sooner.",
    says_ko="Socket.IO는 먼저 HTTP 폴링으로 연결한 뒤 웹소켓으로 바꾼다. `transports: "
    "['websocket']`을 주면 처음부터 웹소켓을 쓰고, 그만큼 빨리 연결된다.",
    source="The original lesson; the Engine.IO protocol, version 4, on upgrading.",
)

HOST = "127.0.0.1"
ROUND_TRIPS = {"socketio": 5, "socketio-websocket": 3, "socketio-polling": 3}
REQUESTS = {"socketio": 2, "socketio-websocket": 1, "socketio-polling": 7}
STAMPED = {"socketio": 2, "socketio-websocket": 1, "socketio-polling": 3}  # of them, with a `t`
STAMP_SLACK = 2  # bytes
PROFILES: tuple[Headers, ...] = ("python", "chromium")
DISTANCE = Network("far", delay_ms=100, up_bit_s=1_000_000_000, down_bit_s=1_000_000_000)
ROUNDS = 3
SLACK = 0.5  # of a round trip: nearest to this whole number

Sizes = dict[tuple[str, Headers], float]
"""Bytes by configuration and header profile."""


@dataclass(frozen=True)
class Opening:
    """What it takes to come in: bytes of opening and join, requests, round trips.

    `first` is the transport of the first request, by configuration, and `switched` whether the
    connection became a WebSocket.
    """

    sizes: Sizes
    requests: dict[str, float]
    round_trips: dict[str, float]
    first: dict[str, str]
    switched: dict[str, bool]


def predict() -> Opening:
    """The closed form."""
    sizes: Sizes = {
        (name, profile): sum(
            handshake(
                name, heads.find(profile), "client0", settings=Settings(room=profile)
            ).values()
        )
        for name in ROUND_TRIPS
        for profile in PROFILES
    }
    first = dict.fromkeys(ROUND_TRIPS, "polling") | {"socketio-websocket": "websocket"}
    switched = {name: name != "socketio-polling" for name in ROUND_TRIPS}
    requests, trips = dict(REQUESTS), dict(ROUND_TRIPS)
    return Opening(sizes, {**requests}, {**trips}, first, switched)


async def run(seed: int) -> Opening:
    """Count what a client sends, then see how long one far away waits; side by side."""
    found = Opening({}, {}, {}, {}, {})
    await together(*(_open(name, seed, found) for name in ROUND_TRIPS))
    return found


async def _open(name: str, seed: int, found: Opening) -> None:
    async with lab.serve(name, heartbeat_s=60.0) as server:
        for profile in PROFILES:
            found.sizes[name, profile], found.requests[name] = await _come_and_go(server, profile)
        up = [event.data for event in (await server.recording()).events if event.kind == "up"]
        found.first[name] = "websocket" if b"transport=websocket" in up[0] else "polling"
        found.switched[name] = any(b"\r\nUpgrade: websocket\r\n" in each for each in up)
        waits_s = [await _first_message_s(server, seed + each) for each in range(ROUNDS)]
        found.round_trips[name] = min(waits_s) / (DISTANCE.rtt_ms / 1_000)


async def _come_and_go(server: lab.Served, profile: Headers) -> tuple[int, int]:
    """What a client costs: the bytes until it has joined, and the requests until it has left."""
    kind = light(server.variant)
    assert kind
    settings = server.settings.but(room=profile)  # a room of its own, so that nobody is there
    client = kind(0, server.url, settings, heads.find(profile), Heard(), phase=0.0)
    await client.connect("client0")
    came = await server.traffic()
    await client.close()
    went = await server.traffic()
    # The answer to the POST of a join may come after what a poll has brought.
    size = came.of(phase="handshake") + came.of(phase="join") + went.of(phase="join")
    return size, came.requests + went.requests


async def _first_message_s(server: lab.Served, seed: int) -> float:
    """From a client's first step until the first message is there, through a network."""
    loop, there = asyncio.get_running_loop(), urlsplit(server.direct_url)
    shape = NetworkShape(DISTANCE, seed)
    async with relaying(HOST, there.port or 80, Nobody(), shape=shape) as relay:
        settings = server.settings.but(room=f"far{seed}")
        client = server.variant.client(f"http://{HOST}:{relay.port}", settings)
        begun_s = loop.time()
        await client.connect("client0")
        await anext(client.messages())
        waited_s = loop.time() - begun_s
        await client.close()
    return waited_s


def judge(predicted: Opening, found: Opening) -> list[Finding]:
    """Requests exactly, bytes but for the clock's digits, round trips to the nearest one."""
    findings: list[Finding] = []
    counted = "at the tap; one client that comes, hears its first message, and leaves"
    timed = f"monotonic clock; relay of {DISTANCE.rtt_ms:g} ms a round trip, the least of {ROUNDS}"
    for name in ROUND_TRIPS:
        requests, trips = predicted.requests[name], predicted.round_trips[name]
        findings += [
            near(f"requests, {name}", "requests", requests, found.requests[name], counted),
            near(
                f"until the first message, {name}",
                "round trips",
                trips,
                found.round_trips[name],
                timed,
                by=SLACK,
            ),
        ]
    for (name, profile), size in predicted.sizes.items():
        what, slack = f"opening and join, {name}, {profile}", STAMPED[name] * STAMP_SLACK
        seen = found.sizes[name, profile]
        findings.append(near(what, "B", size, seen, f"TCP payload {counted}", by=slack))
    return [*findings, *_claimed(predicted, found)]


def _claimed(predicted: Opening, found: Opening) -> list[Finding]:
    basis = "request lines and heads at the tap"
    said: defaultdict[str, str] = defaultdict(lambda: "first request is a poll")
    said["socketio-websocket"] = "first request is a WebSocket's"
    findings = []
    for name in ROUND_TRIPS:
        first = found.first[name] == predicted.first[name]
        switched = found.switched[name] == predicted.switched[name]
        becomes = "becomes a WebSocket" if predicted.switched[name] else "stays on polling"
        findings += [
            true(f"{name}: {said[name]}", first, basis, of="claim"),
            true(f"{name}: {becomes}", switched, basis, of="claim"),
        ]
    trips = found.round_trips
    sooner = trips["socketio"] - trips["socketio-websocket"]
    what = "sooner by taking the WebSocket at once"
    return [*findings, bounded(what, "round trips", sooner, basis, least=1.0, of="claim")]


def plot(predicted: Opening, found: Opening) -> Figure:
    """Round trips and bytes of each configuration."""
    figure, (left, right) = axes(2, left=0.2, right=0.72)
    names, places = list(ROUND_TRIPS), list(range(len(ROUND_TRIPS)))
    for index, (draw, of) in enumerate(((theory, predicted), (measured, found))):
        word = ("theory", "measured")[index]
        draw(left, [of.round_trips[name] for name in names], places, "", 6)
        for place, profile in enumerate(PROFILES):
            sizes = [of.sizes[name, profile] for name in names]
            draw(right, sizes, places, f"{profile}, {word}", place)
    left.set_yticks(places, names)
    right.set_yticks(places, [""] * len(places))
    left.set_xlim(left=0)
    right.set_xlim(left=0)
    left.set_xlabel("round trips to first message")
    right.set_xlabel("bytes until it has joined")
    legend(right)
    return figure


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
