"""A message upstream costs a frame on a WebSocket, a POST over HTTP.

On a WebSocket both sides write whenever they like (RFC 6455 section 1.2), so what a client says is
one masked frame, and its answer another. Over HTTP it is a request, and both have a head. For a
text of n bytes, all but n is known beforehand (labs/bench/prediction):

    up      head of the POST + {"text":...,"key":...,"session":...}     Chromium's, Python's
            6, 8 or 14 + {"event":"sendMessage","data":{...},"id":...}  frame

and the way down likewise: the answer, and the message itself, which comes to its sender too. As n
grows the ratio goes to 1: overhead is a matter of short messages.

"At any time" has a second half. An HTTP/1.1 connection answers one request after the other (RFC
9112 section 9.3.2), so a request that is held, and each that is sent before the last was answered,
needs a connection of its own: a stream, and messages one after the other or k at one moment, need

    2 and 1 + k over HTTP,    1 and 1 on a WebSocket.

RFC 6455 section 1.1 speaks of a new connection for each incoming message. It is so for those of
one moment; those that wait for each other share one, which stays open (RFC 9112 section 9.3).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from matplotlib.figure import Figure

from labs import lab
from labs.bench import heads
from labs.bench.light import Light, light
from labs.bench.prediction import predict as predict_bytes
from labs.bench.schedule import Tick
from labs.bench.workload import Headers, Workload
from labs.errors import LabError
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, legend, logarithmic, measured, theory
from labs.wire.control import together
from labs.wire.traffic import Traffic

CLAIM = Claim(
    title="Both sides may speak at any time on a WebSocket",
    title_ko="웹소켓에서는 양쪽이 언제든 보낼 수 있다",
    says="A client that has something to say sends a frame on the connection that is there, where "
    "HTTP needs a request with its head and, meanwhile, a connection for it.",
    says_ko="클라이언트는 이미 열린 연결로 프레임 하나를 보내면 되지만, HTTP에서는 헤더가 딸린 "
    "요청과 그동안 쓸 연결이 따로 필요하다.",
    source="The original lesson; RFC 6455 (2011), section 1.1, on what a bidirectional "
    "conversation needs over HTTP.",
)

LENGTHS = (10, 100, 1_900)
AT_ONCE = 5
WAIT_S = 10.0
QUIET = Workload(
    name="one-message",
    clients=1,
    probes=0,
    duration_s=1.0,
    tail_s=0.0,
    arrivals="constant",
    rate_per_s=1.0,
    settings={"heartbeat_s": 60.0},
)


class Way(NamedTuple):
    """A transport, and whose request heads its client sends."""

    variant: str
    headers: Headers


WAYS = {
    "POST, Chromium's heads": Way("streaming", "chromium"),
    "POST, Python's heads": Way("streaming", "python"),
    "frame": Way("websocket", "python"),
}


@dataclass(frozen=True)
class Cost:
    """Of one message: its bytes both ways, its requests."""

    up: float
    down: float
    requests: float


@dataclass(frozen=True)
class Upstream:
    """Costs by way and length of the text.

    Connections by way, and by how many messages were under way at most.
    """

    costs: dict[tuple[str, int], Cost]
    connections: dict[tuple[str, int], int]


def predict() -> Upstream:
    """The closed form."""
    costs = {(name, size): _expected(way, size) for name, way in WAYS.items() for size in LENGTHS}
    connections = {
        (name, most): 1 if name == "frame" else 1 + most for name in WAYS for most in (1, AT_ONCE)
    }
    return Upstream(costs, connections)


async def run(seed: int) -> Upstream:
    """Say something on each way, past a tap; side by side, for only bytes are counted."""
    found = Upstream({}, {})
    await together(*(_say(name, way, found) for name, way in WAYS.items()))
    return found


async def _say(name: str, way: Way, found: Upstream) -> None:
    async with lab.serve(way.variant, **QUIET.settings) as server:
        heard = Heard()
        client = _client(server, way, heard)
        await client.connect("client0")
        await heard.say(client, [LENGTHS[0]])  # and what joining brings has come before
        connections = (await server.traffic()).connections
        for size in LENGTHS:
            await heard.say(client, [size])
            passed = await server.traffic()
            connections += passed.connections
            found.costs[name, size] = _cost(passed)
        found.connections[name, 1] = connections
        await heard.say(client, [LENGTHS[0]] * AT_ONCE)
        found.connections[name, AT_ONCE] = connections + (await server.traffic()).connections
        await client.close()


class Heard:
    """A sink that knows when everything has come which was said."""

    def __init__(self) -> None:
        self._said = 0
        self._come: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)

    def arrived(self, client: int, index: int, offset: int, at_ns: int) -> None:
        """A message came."""
        self._come[index].set()

    def foreign(self, client: int) -> None:
        """A message that is not ours: there is nobody else."""

    def broke(self, client: int, at_ns: int) -> None:
        """The connection is over; whoever waits finds that nothing comes."""

    async def say(self, client: Light, sizes: list[int]) -> None:
        """Say texts of so many bytes at one moment, until all are answered and have come.

        Raises `LabError` when that takes too long.
        """
        numbers = range(self._said, self._said + len(sizes))
        self._said += len(sizes)
        said = [client.send(_text(each, size)) for each, size in zip(numbers, sizes, strict=True)]
        try:
            async with asyncio.timeout(WAIT_S):
                await asyncio.gather(*said, *(self._come[each].wait() for each in numbers))
        except (TimeoutError, OSError) as error:
            raise LabError(f"a message did not come within {WAIT_S:g} s: {error}") from None


def judge(predicted: Upstream, found: Upstream) -> list[Finding]:
    """Bytes, requests, connections to the last one; a frame is less than a POST."""
    basis = "TCP payload at the tap; one light client, one message at a time"
    findings = []
    for (name, size), cost in predicted.costs.items():
        seen, what = found.costs[name, size], f"{name}, {size:,} B of text"
        findings += [
            near(f"{what}, up", "B", cost.up, seen.up, basis),
            near(f"{what}, down", "B", cost.down, seen.down, basis),
        ]
    for name in WAYS:
        requests = sum(found.costs[name, size].requests for size in LENGTHS) / len(LENGTHS)
        expected = predicted.costs[name, LENGTHS[0]].requests
        findings.append(near(f"requests a message, {name}", "requests", expected, requests, basis))
    for (name, most), connections in predicted.connections.items():
        basis_at_once = f"connections at the tap; so many messages under way at most: {most}"
        what = f"connections, {name}, {most} at once"
        seen_open = found.connections[name, most]
        findings.append(near(what, "connections", connections, seen_open, basis_at_once))
    for name in ("POST, Chromium's heads", "POST, Python's heads"):
        times = _times(found, name, LENGTHS[0])
        what = f"up, {LENGTHS[0]} B of text, {name} against frame"
        findings.append(bounded(what, "times", times, basis, least=1.0, of="claim"))
    return findings


def plot(predicted: Upstream, found: Upstream) -> Figure:
    """Bytes up by the length of the text."""
    figure, (on,) = axes(right=0.7)
    lengths = sorted({*LENGTHS, *range(10, 100, 10), *range(100, 1_900, 100)})
    for index, (name, way) in enumerate(WAYS.items()):
        theory(on, lengths, [_expected(way, size).up for size in lengths], f"{name}, theory", index)
        seen = [found.costs[name, size].up for size in LENGTHS]
        measured(on, LENGTHS, seen, f"{name}, measured", index)
    on.set_xscale("log")
    on.set_yscale("log")
    logarithmic(on.xaxis)
    logarithmic(on.yaxis)
    on.set_xlabel("text, B (log scale)")
    on.set_ylabel("bytes up (log scale)")
    legend(on)
    return figure


def _times(found: Upstream, name: str, size: int) -> float:
    return found.costs[name, size].up / found.costs["frame", size].up


def _expected(way: Way, size: int) -> Cost:
    ticks = [Tick(0, 0, _text(0, size))]
    found = predict_bytes(QUIET, way.variant, ticks, heads.find(way.headers))
    assert found
    return _cost(Traffic(0, int(found.counts.requests), found.cells))  # type: ignore[arg-type]


def _cost(traffic: Traffic) -> Cost:
    return Cost(traffic.up, traffic.down, traffic.requests)


def _text(number: int, size: int) -> str:
    return f"#{number} ".ljust(size, "x")


def _client(server: lab.Served, way: Way, heard: Heard) -> Light:
    kind = light(server.variant)
    assert kind
    profile = heads.find(way.headers)
    return kind(0, server.url, server.settings, profile, heard, phase=0.0)


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
