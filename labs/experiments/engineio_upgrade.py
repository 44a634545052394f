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
client, which upgrades before it connects. The official JavaScript client, with which the lesson was
taught, asks for the WebSocket, posts its 40 and polls, all after one round trip. But once it has
been asked for the WebSocket the server's library answers polls with nothing (a noop), and keeps
what there is until the upgrade is over, 3.5 round trips after the beginning. If the poll came
before the upgrade's request it brought 40{...}, the join waits at the server, and the first message
comes after 4; otherwise even 40{...} had to wait, and it comes after 5. Without an upgrade both
clients need the same.

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
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from matplotlib.figure import Figure

from labs import lab
from labs.bench import heads
from labs.bench.light import Light, light
from labs.bench.prediction import handshake
from labs.bench.workload import Headers
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near, true
from labs.experiments.plotting import axes, colour, legend, measured, theory
from labs.experiments.rig.browser import Browser, browsing
from labs.experiments.rig.official_client import first_message_s, loaded
from labs.experiments.upstream import Heard
from labs.net.network import Network
from labs.net.shaper import NetworkShape, Nobody
from labs.settings import Settings
from labs.wire.control import together
from labs.wire.relay import Direction, End, Piece, WayOut, relaying

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
OFFICIAL = {"socketio": (4, 5), "socketio-websocket": (3, 3), "socketio-polling": (3, 3)}
"""Round trips of the official client, at least and at most."""
REQUESTS = {"socketio": 2, "socketio-websocket": 1, "socketio-polling": 7}
STAMPED = {"socketio": 2, "socketio-websocket": 1, "socketio-polling": 3}  # of them, with a `t`
STAMP_SLACK = 2  # bytes
PROFILES: tuple[Headers, ...] = ("python", "chromium")
DISTANCE = Network("far", delay_ms=100, up_bit_s=1_000_000_000, down_bit_s=1_000_000_000)
ROUNDS = 3
WORD_BYTES = 10
SLACK = 0.5  # of a round trip: nearest to this whole number

Sizes = dict[tuple[str, Headers], float]
"""Bytes by configuration and header profile."""


@dataclass(frozen=True)
class Opening:
    """What it takes to come in: bytes of opening and join, requests, round trips.

    Round trips are those of the Python client, and of the official one in a browser. `first` is
    the transport of the first request, by configuration, and `switched` whether the connection
    became a WebSocket.
    """

    sizes: Sizes
    requests: dict[str, float]
    round_trips: dict[str, float]
    official: dict[str, float]
    first: dict[str, str]
    switched: dict[str, bool]


class Far(NetworkShape):
    """A network on which an end may come late, to somebody who has gone meanwhile."""

    def __call__(self, direction: Direction, source: End, out: WayOut) -> WayOut:
        """Put the link of this direction before a way out."""

        def put_out(piece: Piece) -> None:
            with suppress(OSError):  # it must not hold up the others on this link
                out(piece)

        return super().__call__(direction, source, put_out)


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
    official = {name: float(least) for name, (least, _) in OFFICIAL.items()}
    return Opening(sizes, {**REQUESTS}, {**ROUND_TRIPS}, official, first, switched)


async def run(seed: int) -> Opening:
    """Count what a client sends, then see how long one far away waits; side by side."""
    found = Opening({}, {}, {}, {}, {}, {})
    async with browsing() as browser:
        in_front = asyncio.Lock()
        await together(*(_open(name, seed, browser, in_front, found) for name in ROUND_TRIPS))
    return found


async def _open(
    name: str, seed: int, browser: Browser, in_front: asyncio.Lock, found: Opening
) -> None:
    async with lab.serve(name, heartbeat_s=60.0) as server:
        await _count(name, server, found)
        there = urlsplit(server.direct_url).port or 80
        async with relaying(HOST, there, Nobody(), shape=Far(DISTANCE, seed)) as relay:
            url, rtt_s = f"http://{HOST}:{relay.port}", DISTANCE.rtt_ms / 1_000
            waits_s = [await _python_s(server, url, f"python{each}") for each in range(ROUNDS)]
            found.round_trips[name] = min(waits_s) / rtt_s
            # One after the other: a tab behind another one is hidden, and its timers are slow.
            async with in_front, loaded(browser, url, server.settings) as tab:
                rooms = [server.settings.but(room=f"browser{each}") for each in range(ROUNDS)]
                waits_s = [await first_message_s(tab, one) for one in rooms]
            found.official[name] = min(waits_s) / rtt_s


async def _count(name: str, server: lab.Served, found: Opening) -> None:
    """Past the tap: a client of each profile comes and stays, then one comes and goes."""
    clients = {profile: _client(server, profile, profile) for profile in PROFILES}
    for profile, (client, heard) in clients.items():
        await client.connect("client0")
        # A word goes up only after the POST of the join was answered, so that this is counted.
        await heard.say(client, [WORD_BYTES])
        passed = await server.traffic()
        found.sizes[name, profile] = passed.of(phase="handshake") + passed.of(phase="join")
    for client, _ in clients.values():
        await client.close()
    await server.traffic()
    passing, _ = _client(server, "python", "passing")
    await passing.connect("client0")
    await passing.close()
    found.requests[name] = (await server.traffic()).requests
    up = [event.data for event in (await server.recording()).events if event.kind == "up"]
    found.first[name] = "websocket" if b"transport=websocket" in up[0] else "polling"
    found.switched[name] = any(b"\r\nUpgrade: websocket\r\n" in each for each in up)


def _client(server: lab.Served, profile: Headers, room: str) -> tuple[Light, Heard]:
    """A light client in a room of its own, so that nobody is there, and what it hears."""
    kind = light(server.variant)
    assert kind
    settings, heard = server.settings.but(room=room), Heard()
    return kind(0, server.url, settings, heads.find(profile), heard, phase=0.0), heard


async def _python_s(server: lab.Served, url: str, room: str) -> float:
    """From the Python client's first step until its first message is there."""
    loop = asyncio.get_running_loop()
    client = server.variant.client(url, server.settings.but(room=room))
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
    by_page = f"a page's clock in Chromium; {DISTANCE.rtt_ms:g} ms a round trip, least of {ROUNDS}"
    for name, (least, most) in OFFICIAL.items():
        what, seen = f"until the first message, official client, {name}", found.official[name]
        findings.append(
            bounded(what, "round trips", seen, by_page, least=least - SLACK, most=most + SLACK)
        )
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
        draw(left, [of.official[name] for name in names], places, "", 2)
        for place, profile in enumerate(PROFILES):
            sizes = [of.sizes[name, profile] for name in names]
            draw(right, sizes, places, f"{profile}, {word}", place)
    left.annotate("Python", (4.1, 0.55), color=colour(6), fontsize=8)
    left.annotate("official", (3.7, 0), color=colour(2), fontsize=8, ha="right")
    left.set_yticks(places, names)
    right.set_yticks(places, [""] * len(places))
    left.set_xlim(left=0)
    right.set_xlim(left=0)
    left.set_xlabel("round trips to first message")
    right.set_xlabel("bytes until it has joined")
    legend(right)
    return figure


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
