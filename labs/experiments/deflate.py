"""permessage-deflate saves most of a chat's bytes, and costs 50 KiB of memory a connection.

RFC 7692 compresses each message with DEFLATE, flushed to a whole byte, less the last four bytes
(section 7.2.1). How many are left can be said to the byte beforehand: run zlib over the messages,

    alone   each by itself (no context takeover, section 7.1.1): short texts repeat little
    kept    with what went before in the window: the second message repeats most of the first

and add each frame's head. `kept` needs its window for every connection (zconf.h of zlib), each
way one of the two, with w window bits and memory level m:

    deflate   2^(w + 2) + 2^(m + 9) and some 6 KiB      w = 12, m = 5: 38 KiB
    inflate   2^w and some 7 KiB                                       11 KiB

together 49 KiB, where `alone` keeps nothing between two messages. The lab's server compresses
alone, for a frame that is made once can then go to everybody.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import AsyncExitStack
from random import Random

import msgspec
import psutil
from matplotlib.figure import Figure
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection

from labs import lab
from labs.bench.prediction.tally import frame
from labs.bench.run import START_S
from labs.bench.schedule import schedule
from labs.bench.workload import WORKLOADS, Workload
from labs.experiments.echo_host import MEMORY_LEVEL, WINDOW_BITS, Mode, port_of, serving
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, colour, legend, measured
from labs.wire.control import child
from labs.wire.relay import HOST
from labs.wire.tap import Tap, tapping

CLAIM = Claim(
    title="permessage-deflate saves most of a chat's bytes, at 50 KiB of memory a connection",
    title_ko="permessage-deflate는 채팅의 바이트를 크게 줄이는 대신 연결마다 약 50KiB를 쓴다",
    says="With the default of websockets, compressing saves most of what a chat sends. A "
    "connection takes 64 KiB of memory with it, and 14 KiB without.",
    says_ko="websockets의 기본 압축을 쓰면 채팅이 보내는 바이트의 대부분이 준다. 연결 하나는 "
    "압축하면 64KiB, 하지 않으면 14KiB의 메모리를 차지한다.",
    source="RFC 7692 (2015); documentation of websockets, Compression, and Memory and buffers.",
)

KINDS = ("paced", "korean", "large")
MODES: tuple[Mode, ...] = ("none", "alone", "kept")
MESSAGES, CLIENTS = 50, 5
FEW, MANY = 50, 200
TEXTS, TEXT_CHARS = 12, 512  # said and echoed on each connection: past a window's 4 KiB
DEFLATE_KIB = ((1 << WINDOW_BITS + 2) + (1 << MEMORY_LEVEL + 9)) / 1_024 + 6
INFLATE_KIB = (1 << WINDOW_BITS) / 1_024 + 7
CHANCE = 0.03
"""Of the lab's bytes: keys are random, and clocks and numbers of commands differ by some digits."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a pair by `kind mode`; the share left of the lab's, by kind; KiB a connection."""

    pair: dict[str, int]
    lab: dict[str, float]
    kib: dict[str, float]


def predict() -> Figures:
    """What zlib makes of the same messages; what it keeps."""
    pair = {
        f"{kind} {mode}": sum(map(_framed, packed(said(kind), mode)))
        for kind in KINDS
        for mode in MODES
    }
    kib = {"alone": 0.0, "kept": DEFLATE_KIB + INFLATE_KIB}
    return Figures(pair=pair, lab={kind: _lab_share(kind) for kind in KINDS}, kib=kib)


def packed(payloads: Sequence[bytes], mode: Mode, bits: int = WINDOW_BITS) -> list[int]:
    """The lengths of messages as they stand in frames (RFC 7692 section 7.2.1)."""
    if mode == "none":
        return [len(payload) for payload in payloads]
    sizes, packer = [], zlib.compressobj(wbits=-bits, memLevel=MEMORY_LEVEL)
    for payload in payloads:
        if mode == "alone":
            packer = zlib.compressobj(wbits=-bits, memLevel=MEMORY_LEVEL)
        sizes.append(len(packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)) - 4)
    return sizes


def said(kind: str) -> list[bytes]:
    """The messages of a workload as our server frames them, one a frame."""
    return [
        b'{"event":"updateMessage","data":[{"offset":%d,"kind":"talk","name":"client%d","text":%b,'
        b'"at_ms":%d}]}' % (CLIENTS + index + 1, tick.sender, _json(tick.text), _at_ms(tick.at_ns))
        for index, tick in enumerate(schedule(_workload(kind), 1, 1))
    ]


def _lab_share(kind: str) -> float:
    """What is left of everything: commands, their acks, and a frame to each client."""
    down, random = said(kind), Random(kind)
    ups, acks = [], []
    for index, tick in enumerate(schedule(_workload(kind), 1, 1)):
        key = random.getrandbits(96).to_bytes(12, "big").hex()[:16].encode()
        number = index // CLIENTS + 1
        ups.append(
            b'{"event":"sendMessage","data":{"text":%b,"key":"%b"},"id":%d}'
            % (_json(tick.text), key, number)
        )
        offset = CLIENTS + index + 1
        acks.append(b'{"event":"ack","data":{"offset":%d},"id":%d}' % (offset, number))

    def total(mode: Mode) -> int:
        each = [packed(part, mode, 15) for part in (down, ups, acks)]
        delivered, sent, answered = (sum(map(_framed, sizes)) for sizes in each)
        masks = 4 * len(ups)
        return delivered * CLIENTS + sent + masks + answered

    return total("alone") / total("none")


async def run(seed: int) -> Figures:
    """Pairs of the library, the lab's chat twice, crowds of three kinds."""
    pair = {f"{kind} {mode}": await passed(said(kind), mode) for kind in KINDS for mode in MODES}
    names = ("websocket", "websocket-deflate")
    cases = [(_workload(kind), name) for kind in KINDS for name in names]
    sizes = [each.windows["steady"].both for each in await lab.count_bytes(cases, seed)]
    shares = [small / large for large, small in zip(sizes[::2], sizes[1::2], strict=True)]
    kib = {str(mode): await held(mode) for mode in MODES}
    return Figures(pair=pair, lab=dict(zip(KINDS, shares, strict=True)), kib=kib)


async def passed(payloads: Sequence[bytes], mode: Mode) -> int:
    """The bytes that a server of the library sends for these messages, its upgrade left out."""

    async def tell(connection: ServerConnection) -> None:
        for payload in payloads:
            await connection.send(payload.decode())
        await connection.wait_closed()

    async with (
        serving(tell, mode) as server,
        tapping(HOST, port_of(server)) as (tap, port),
        connect(f"ws://{HOST}:{port}/", proxy=None, ping_interval=None) as client,
    ):
        for payload in payloads:
            if await client.recv() != payload.decode():
                raise AssertionError("what came out is not what went in")
        return _after_the_head(tap)


def _after_the_head(tap: Tap) -> int:
    down = b"".join(event.data for event in tap.events if event.kind == "down")
    return len(down.partition(b"\r\n\r\n")[2])


async def held(mode: Mode) -> float:
    """KiB of the server's memory for each connection: the slope between two numbers of them."""
    random = Random(mode)
    text = "".join(random.choices("abcdefghijklmnopqrstuvwxyz ", k=TEXT_CHARS))
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(child("the echo", "labs.experiments.echo_host"))
        port = (await host.ask({"mode": mode}, START_S))["port"]
        sizes = []
        for number in (FEW, MANY - FEW):
            for _ in range(number):
                client = await stack.enter_async_context(
                    connect(f"ws://{HOST}:{port}/", proxy=None, ping_interval=None)
                )
                for _ in range(TEXTS):
                    await client.send(text)
                    await client.recv()
            sizes.append(psutil.Process(host.pid).memory_info().rss)
    return (sizes[1] - sizes[0]) / (MANY - FEW) / 1_024


def judge(predicted: Figures, found: Figures) -> list[Finding]:
    """Bytes to the byte, shares, memory."""
    basis = f"TCP payload at the tap, after the upgrade; {MESSAGES} messages, one receiver"
    findings = [
        near(f"{case}: bytes of a pair", "B", size, found.pair[case], basis)
        for case, size in predicted.pair.items()
    ]
    chat = f"TCP payload at the tap, both directions; {CLIENTS} clients, {MESSAGES} messages"
    findings += [
        near(
            f"{kind}: left of the lab's bytes, alone",
            "share",
            share,
            found.lab[kind],
            chat,
            within=CHANCE,
        )
        for kind, share in predicted.lab.items()
    ]
    for kind in KINDS:
        saved = 1 - found.pair[f"{kind} kept"] / found.pair[f"{kind} none"]
        findings.append(
            bounded(f"{kind}: saved by the default", "share", saved, basis, least=0.5, of="claim")
        )
    return [*findings, *_memory(predicted, found)]


def _memory(predicted: Figures, found: Figures) -> list[Finding]:
    basis = f"RSS of a server process, slope from {FEW} to {MANY} connections that have spoken"
    bare = found.kib["none"]
    # The allocator takes memory in pieces, and structs differ by version: a quarter.
    return [
        near(
            "what keeping the windows costs",
            "KiB",
            predicted.kib["kept"],
            found.kib["kept"] - bare,
            basis,
            within=0.25,
        ),
        near(
            "what compressing alone costs",
            "KiB",
            predicted.kib["alone"],
            found.kib["alone"] - bare,
            basis,
            by=8,
        ),
        near(
            "a connection with the default",
            "KiB",
            64,
            found.kib["kept"],
            basis,
            within=0.25,
            of="claim",
        ),
        near("a connection without compression", "KiB", 14, bare, basis, within=0.25, of="claim"),
    ]


def plot(predicted: Figures, found: Figures) -> Figure:
    """What is left of each kind's bytes, by mode."""
    figure, (on,) = axes(left=0.12, right=0.75)
    for index, mode in enumerate(MODES[1:]):
        places = [place + (index - 0.5) * 0.3 for place in range(len(KINDS))]
        left = [predicted.pair[f"{kind} {mode}"] / predicted.pair[f"{kind} none"] for kind in KINDS]
        on.bar(places, left, 0.28, color=colour(index), alpha=0.35, label=f"{mode}: zlib says")
        shares = [found.pair[f"{kind} {mode}"] / found.pair[f"{kind} none"] for kind in KINDS]
        measured(on, places, shares, f"{mode}: measured", index)
    on.set_xticks(range(len(KINDS)), list(KINDS))
    on.set_ylabel("bytes left, of 1")
    on.set_ylim(0, 1)
    legend(on)
    return figure


def _workload(kind: str) -> Workload:
    # One message a frame, however busy the machine is.
    settings = {"coalesce_ms": None}
    return WORKLOADS[kind].but(clients=CLIENTS, probes=0, tail_s=0.5, settings=settings)


def _framed(size: int) -> int:
    return frame(size) + size


def _json(text: str) -> bytes:
    return msgspec.json.encode(text)


def _at_ms(at_ns: int) -> int:
    return 1_767_225_600_000 + at_ns // 1_000_000


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
