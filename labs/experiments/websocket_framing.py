"""WebSocket has less overhead than HTTP.

A WebSocket message needs a frame's head (RFC 6455 section 5.2), of two bytes for its opcode and
its length; a payload from 126 B on needs two more for the length, one from 65,536 B on eight more;
what a client sends carries four bytes of mask. So the head of a payload of n bytes is

    n           down    up          An HTTP request and its answer need a head each, which
    0-125          2     6          name what does not change from one message to the next.
    126-65,535     4     8
    65,536-       10    14

The heads are counted on a server and a client of the library `websockets`, of which the chat's
server is made: the chat itself takes no text over 2,000 characters and no frame over 32,768 B
(SPEC.md S8), so it cannot show the upper border. What the same talk costs by layer is counted on
the chat: long polling, which asks for each message once and never in vain; with the request
heads recorded of Chromium, too; and an event stream, the least that HTTP can do. Text is the same
on all, and so is most of the envelope, our JSON; its rest is that a frame must say which event it
is, and that a command over HTTP must say whose it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from labs import lab
from labs.bench.prediction.tally import frame
from labs.bench.workload import Headers, Workload
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, colour, legend, logarithmic, measured, theory
from labs.experiments.rig.paced import PACED, expected
from labs.wire.tap import tapping
from labs.wire.traffic import DIRECTIONS, LAYERS

CLAIM = Claim(
    title="WebSocket has less overhead than HTTP",
    title_ko="웹소켓은 HTTP보다 오버헤드가 적다",
    says="After its handshake a WebSocket adds 2, 4 or 10 bytes to a message on its way down, and "
    "4 more on its way up, where HTTP adds a request's and a response's head.",
    says_ko="웹소켓은 핸드셰이크가 끝나면 메시지마다 내려갈 때 2, 4, 10바이트를, 올라갈 때는 "
    "4바이트를 더 붙일 뿐이지만, HTTP는 요청과 응답의 헤더를 붙인다.",
    source="The original lesson; RFC 6455 (2011), section 5.2, on the frame's head.",
)

HOST = "127.0.0.1"
PAYLOADS = (1, 125, 126, 65_535, 65_536)
CLIENTS = 10


class Way(NamedTuple):
    """A transport, and whose request heads it is asked with."""

    variant: str
    headers: Headers


WAYS = {
    "long polling, Chromium's heads": Way("longpolling", "chromium"),
    "long polling": Way("longpolling", "python"),
    "event stream": Way("streaming", "python"),
    "WebSocket": Way("websocket", "python"),
}


@dataclass(frozen=True)
class Overhead:
    """Bytes of a frame's head by direction and payload; of a delivery by way and layer."""

    heads: dict[tuple[str, int], int]
    layers: dict[str, dict[str, float]]


def predict() -> Overhead:
    """The closed form."""
    return Overhead(
        {(way, size): frame(size, masked=way == "up") for way in DIRECTIONS for size in PAYLOADS},
        {
            name: _by_layer(expected(_talk(way), way.variant, way.headers).cells)
            for name, way in WAYS.items()
        },
    )


async def run(seed: int) -> Overhead:
    """Send frames past a tap, then let the chat talk."""
    cases = [(_talk(way), way.variant) for way in WAYS.values()]
    found = await frame_heads()
    runs = await lab.count_bytes(cases, seed)
    layers = {
        name: _by_layer(one.windows["steady"].cells) for name, one in zip(WAYS, runs, strict=True)
    }
    return Overhead(found, layers)


async def frame_heads() -> dict[tuple[str, int], int]:
    """What passes a tap beside the payloads that a bare server sends back to a client."""
    found = {}
    async with (
        serve(_echo, HOST, 0, compression=None, max_size=None, ping_interval=None) as server,
        tapping(HOST, server.sockets[0].getsockname()[1]) as (tap, port),
        connect(
            f"ws://{HOST}:{port}", compression=None, max_size=None, ping_interval=None, proxy=None
        ) as client,
    ):
        tap.mark()
        for size in PAYLOADS:
            await client.send("x" * size)
            await client.recv()
            passed = tap.mark()
            found["up", size], found["down", size] = passed.up - size, passed.down - size
    return found


async def _echo(connection: ServerConnection) -> None:
    async for text in connection:
        await connection.send(text)


def judge(predicted: Overhead, found: Overhead) -> list[Finding]:
    """Frames to the byte, layers to the byte, and which is less."""
    alone = "TCP payload at a tap in this process, less the payload; one frame each"
    findings = [
        near(f"head of {size:,} B, {way}", "B", head, found.heads[way, size], alone)
        for (way, size), head in predicted.heads.items()
    ]
    basis = f"TCP payload at the tap by layer; open loop, {PACED.messages} messages of one of "
    basis += f"{CLIENTS} light clients, a mean of {PACED.messages * CLIENTS} deliveries"
    for name, layers in predicted.layers.items():
        findings += [
            near(f"{name}, {layer}", "B", size, found.layers[name].get(layer, 0.0), basis)
            for layer, size in layers.items()
        ]
    least = overhead(found.layers["WebSocket"])
    for name in list(WAYS)[:-1]:
        times = overhead(found.layers[name]) / least
        what = f"all but the text, {name} against WebSocket"
        findings.append(bounded(what, "times", times, basis, least=1.0, of="claim"))
    return findings


def plot(predicted: Overhead, found: Overhead) -> Figure:
    """Heads by payload, and all but the text by transport."""
    figure, (left, right) = axes(2, right=0.78)
    figure.subplots_adjust(wspace=0.9)
    _plot_heads(left, predicted, found)
    places = range(len(WAYS))
    for index, (draw, of) in enumerate(((theory, predicted), (measured, found))):
        totals = [overhead(of.layers[name]) for name in WAYS]
        draw(right, totals, list(places), ("theory", "measured")[index], 2)
    right.set_yticks(places, [name.replace(", ", ",\n") for name in WAYS])
    right.set_xlim(left=0)
    right.set_xlabel("bytes a delivery but the text")
    legend(right)
    return figure


def _plot_heads(on: Axes, predicted: Overhead, found: Overhead) -> None:
    for index, way in enumerate(DIRECTIONS):
        steps = [predicted.heads[way, size] for size in PAYLOADS]
        theory(on, PAYLOADS, steps, "", index)
        measured(on, PAYLOADS, [found.heads[way, size] for size in PAYLOADS], "", index)
        on.annotate(way, (2, steps[0] + 0.4), color=colour(index), fontsize=8)
    on.set_xscale("log")
    logarithmic(on.xaxis)
    on.set_xlabel("payload, B (log scale)")
    on.set_ylabel("frame head, B")


def overhead(layers: dict[str, float]) -> float:
    """Everything but what people said."""
    return sum(size for layer, size in layers.items() if layer != "text")


def _talk(way: Way) -> Workload:
    return PACED.but(clients=CLIENTS, headers=way.headers)


def _by_layer(cells: dict[str, float] | dict[str, int]) -> dict[str, float]:
    deliveries = PACED.messages * CLIENTS
    sizes = {
        layer: sum(size for key, size in cells.items() if key.split("/")[1] == layer)
        for layer in LAYERS
    }
    return {layer: size / deliveries for layer, size in sizes.items() if size}


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
