"""Thirty bytes of text cost 494 bytes by long polling and 38 as an event: whose bytes these are.

The source adds what its browser's network tool showed of heads, u up and d down, to a text of t
bytes, or what the specifications say of framing. So its figures are of two kinds. Some follow
from framing, whoever measures:

    event        "data: " + t + two line ends         t + 8     38
    frame down   RFC 6455 section 5.2: 2 + t          t + 2     32
    frame up     a mask of 4 bytes more               t + 6     36

38 is thus the event's figure and not a WebSocket's. (Up and down again, 6 + 2, a WebSocket adds
eight bytes too; but the text then goes twice.) An HTTP/1.1 response without an end is sent in
chunks (RFC 9112 section 7.1), each with its length in hexadecimal digits and two line ends, so
the event takes 38 + 6 = 44.

The others are one browser's heads and one server's: 281 + 191 for a poll, 273 + 191 for a long
poll, 273 + 191 + 30 = 494. They are no property of a transport: the same client asks for a long
poll in the bytes in which it asks for a short one, if the address is as long. Another browser and
another server have other heads, which is no error of anybody's: so theirs are not judged, and
ours only by what labs/bench/prediction/ derives of them, those of Python and those recorded of
Chromium, which the same light client sends. And 494 B are 13 times 38 B, which is 1,200 % more
and not 1,300 %.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from matplotlib.figure import Figure

from labs import lab
from labs.bench import heads as profiles
from labs.bench.drawing import LAYER_COLOURS
from labs.bench.prediction.frames import Frames
from labs.bench.prediction.requests import LongPolls, Requests
from labs.bench.prediction.streams import Streams, chunk
from labs.bench.prediction.tally import Said, batch, frame
from labs.experiments.experiment import Claim, Experiment, Finding, near
from labs.experiments.plotting import axes, legend
from labs.experiments.rig import bare
from labs.experiments.rig.light_crowd import crowd, scene, word
from labs.wire.traffic import Traffic

CLAIM = Claim(
    title="Thirty bytes of text cost 494 bytes by long polling and 38 as an event",
    title_ko="글 30바이트가 롱 폴링으로는 494바이트, 이벤트로는 38바이트가 든다",
    says="A poll has heads of 281 bytes up and 191 down, a long poll 273 and 191; an event stream "
    "adds 8 bytes to a text and a WebSocket 2; for 30 bytes of text long polling sends 494 bytes "
    "where an event takes 38, or 1,300 % more.",
    says_ko="폴링의 헤더는 올라갈 때 281바이트, 내려올 때 191바이트이고 롱 폴링은 273바이트와 "
    "191바이트다. 이벤트 스트림은 글에 8바이트를, 웹소켓은 2바이트를 더한다. 글 30바이트를 "
    "롱 폴링은 494바이트로, 이벤트는 38바이트로 보내니 1,300 % 더 든다.",
    source='Rasmus Appelqvist and Oliver Örnmyr, "Performance comparison of XHR polling, Long '
    'polling, Server sent events and Websockets", bachelor thesis, Blekinge Institute of '
    "Technology (2017); its figures read in others' notes on it.",
)

TEXT_BYTES = 30
LONG_POLL_BYTES, EVENT_BYTES, WEBSOCKET_BYTES = 494, 38, 32
SAID_MORE = 1_300

CLIENTS, WORDS = 10, 3
FIRST = 13  # an offset of two digits, as all of them have: no head changes its length
LAYERS = ("http_head", "chunk", "framing", "envelope", "text")

CASES = {
    "polling, Python's heads": ("polling", "python"),
    "polling, Chromium's heads": ("polling", "chromium"),
    "longpolling, Python's heads": ("longpolling", "python"),
    "longpolling, Chromium's heads": ("longpolling", "chromium"),
    "streaming": ("streaming", "python"),
    "websocket": ("websocket", "python"),
}
"""What is measured of our chat: a variant, and whose heads."""

Layers = dict[str, float]
"""Bytes by direction and layer: `up/http_head`."""


@dataclass(frozen=True)
class Costs:
    """Of a word of thirty bytes to one client: our chat's, by case; and what is bare, in bytes."""

    ours: dict[str, Layers]
    frame_down: float
    frame_up: float
    event: float
    chunked: float


def predict() -> Costs:
    """The closed form."""
    event_bytes = len("data: ") + TEXT_BYTES + len("\n\n")
    return Costs(
        ours={name: _predicted(*case) for name, case in CASES.items()},
        frame_down=frame(TEXT_BYTES) + TEXT_BYTES,
        frame_up=frame(TEXT_BYTES, masked=True) + TEXT_BYTES,
        event=event_bytes,
        chunked=event_bytes + chunk(event_bytes),
    )


async def run(seed: int) -> Costs:
    """Our chat with both heads, and bare texts, all at their taps."""
    text = word(1, TEXT_BYTES)
    frames, event = await asyncio.gather(bare.frames(text), bare.event(text))
    ours = await asyncio.gather(*(_measured(*case) for case in CASES.values()))
    chunked = event.down - event.of("down", "http_head")
    return Costs(
        ours=dict(zip(CASES, ours, strict=True)),
        frame_down=frames.down,
        frame_up=frames.up,
        event=chunked - event.of("down", "chunk"),
        chunked=chunked,
    )


def judge(predicted: Costs, found: Costs) -> list[Finding]:
    """What follows from framing; what our heads weigh; the source's figures."""
    chat = f"TCP payload at the tap; {CLIENTS} light clients, {WORDS} words of {TEXT_BYTES} B"
    alone = f"TCP payload at the tap; one text of {TEXT_BYTES} B, no chat around it"
    poll, held = (found.ours[f"{name}, Chromium's heads"] for name in ("polling", "longpolling"))
    up = "up/http_head"
    more = (LONG_POLL_BYTES / EVENT_BYTES - 1) * 100
    return [
        near("a frame down, bare", "B", predicted.frame_down, found.frame_down, alone),
        near("a frame up, bare", "B", predicted.frame_up, found.frame_up, alone),
        near("an event, bare", "B", predicted.event, found.event, alone),
        near("an event in its chunk", "B", predicted.chunked, found.chunked, alone),
        *(
            near(f"all bytes, {name}", "B", sum(layers.values()), sum(each.values()), chat)
            for (name, layers), each in zip(
                predicted.ours.items(), found.ours.values(), strict=True
            )
        ),
        near("a poll's head less a long poll's", "B", 0, poll[up] - held[up], chat),
        near("a text in a frame down", "B", WEBSOCKET_BYTES, found.frame_down, alone, of="claim"),
        near("a text as an event", "B", EVENT_BYTES, found.event, alone, of="claim"),
        near("... and on the wire", "B", EVENT_BYTES, found.chunked, alone, of="claim"),
        near("494 B to 38 B", "% more", SAID_MORE, more, "the source's own figures", of="claim"),
    ]


def plot(predicted: Costs, found: Costs) -> Figure:
    """Bars of what was measured, by layer; a line at each prediction's end."""
    figure, (on,) = axes(left=0.24)
    names = list(CASES)
    begun = [0.0] * len(names)
    for layer in LAYERS:
        sizes = [_layer(found.ours[name], layer) for name in names]
        on.barh(names, sizes, left=begun, color=LAYER_COLOURS[layer], label=layer)
        begun = [start + size for start, size in zip(begun, sizes, strict=True)]
    ends = [sum(predicted.ours[name].values()) for name in names]
    on.plot(ends, names, "|", color="black", markersize=16, label="theory")
    on.axvline(LONG_POLL_BYTES, color="black", linestyle=":", linewidth=1, label="494 B")
    on.invert_yaxis()
    on.set_xlabel("measured bytes of a message of 30 bytes of text to one client")
    legend(on)
    return figure


async def _measured(variant: str, heads: str) -> Layers:
    async with (
        lab.serve(variant, interval_s=0.2) as server,
        crowd(server, CLIENTS, profiles.find(heads), TEXT_BYTES) as group,
    ):
        await server.traffic()
        for _ in range(WORDS):
            await group.say()
        passed = await server.traffic()
    return _each(passed)


def _each(passed: Traffic) -> Layers:
    """Of one word to one client. Requests are all alike, those that bring nothing too."""
    found = {
        f"down/{layer}": passed.of("down", layer, "steady") / CLIENTS / WORDS for layer in LAYERS
    }
    if passed.requests:
        found["up/http_head"] = passed.of("up", "http_head") / passed.requests
    return {key: size for key, size in found.items() if size}


def _predicted(variant: str, heads: str) -> Layers:
    where = scene(profiles.find(heads))
    said = [Said(0.0, FIRST, 1, "speaker", word(1, TEXT_BYTES))]
    if variant == "streaming":
        return Streams(where).delivery(said).without_phases()
    if variant == "websocket":
        return Frames(where).delivery(said).without_phases()
    parts = LongPolls(where) if variant == "longpolling" else Requests(where)
    return parts.ask(FIRST - 1, "steady").take(parts.bring(*batch(said))).without_phases()


def _layer(layers: Layers, layer: str) -> float:
    return sum(size for key, size in layers.items() if key.endswith(f"/{layer}"))


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
