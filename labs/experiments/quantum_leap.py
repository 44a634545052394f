"""A WebSocket needs 2 bytes where polling needs 871: what was counted, and what was left out.

A round trip of polling has a request head and an answer's head, h bytes together; N clients that
make one each second move

    8 h N    bit/s    (h = 871: 6,968,000 for 1,000 clients, in proportion for more)

and a WebSocket that brings each of them a message a second adds 8 f N, f being the head of a
frame. So far the source is right, for the heads alone. It errs in this:

    "Mbps"        696,800,000 bit/s are 696.8 Mbit/s; its 665 are units of 2^20 bits.
    both ways     2 bytes were the 0x00 and 0xFF around a frame of the draft of its day. By RFC
                  6455 section 5.2 a server's frame has a head of 2 bytes up to 125 bytes of
                  payload, 4 up to 65,535, then 10; a client's has a mask of 4 more: 2 + 4 = 6.
    "500:1"       871 / 2 = 435.5, by its own figures.
    what is sent  The message itself, P bytes, and TCP's and IP's heads are left out. They weigh
                  alike on both, and they are most of what a WebSocket sends: in place of h / f

                      (h + P + s) / (f + P' + s')    s, s' of at least 40 bytes a segment

                  which is a number of one digit.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from matplotlib.figure import Figure

from labs import lab
from labs.bench import heads as profiles
from labs.bench.heads import Profile
from labs.bench.prediction.tally import Said, batch, frame
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, legend, logarithmic, measured, theory
from labs.experiments.rig.light_crowd import Crowd, crowd, heads, padded, requests, word
from labs.wire.traffic import Traffic

CLAIM = Claim(
    title="871 bytes of heads a poll, 2 bytes of frame a message: a quantum leap",
    title_ko="폴링은 헤더만 871바이트, 웹소켓은 프레임 2바이트: 비약적 도약",
    says="1,000, 10,000 and 100,000 clients that poll once a second move 6,968,000, 69,680,000 and "
    "696,800,000 bit/s (665 Mbps) of heads; over WebSockets the same takes 16,000, 160,000 and "
    "1,600,000 bit/s, a reduction of 500 to 1 or more.",
    says_ko="1초에 한 번 폴링하는 클라이언트 1,000, 10,000, 100,000명은 헤더로만 초당 "
    "6,968,000, 69,680,000, 696,800,000비트(665 Mbps)를 쓰지만, 웹소켓은 16,000, 160,000, "
    "1,600,000비트면 되어 500분의 1 이하로 줄어든다.",
    source='Peter Lubbers and Frank Greco, "HTML5 Web Sockets: A Quantum Leap in Scalability for '
    'the Web" (2010); its figures read where others quote them. Frames: RFC 6455, section 5.2.',
)

HEADS_BYTES, FRAME_BYTES = 871, 2
CROWDS = (1_000, 10_000, 100_000)
POLLED_BIT_S = (6_968_000, 69_680_000, 696_800_000)
PUSHED_BIT_S = (16_000, 160_000, 1_600_000)
MBPS, LEAST_REDUCTION = 665, 500
TCP_IP_BYTES = 40  # RFC 791, RFC 9293: the heads of a segment without options

CLIENTS, TWICE = 10, 20
SECONDS = 4
FIRST = 22  # an offset of two digits, as all of them have: no head changes its length


@dataclass(frozen=True)
class Cost:
    """Bytes by what they are for, of one message to one client, all exchanges included.

    `heads` are those of HTTP or of frames; `payload` is the JSON with the message in it;
    `segments` are the heads of TCP and IP, both ways.
    """

    heads: float
    payload: float
    segments: float = 0.0

    @property
    def whole(self) -> float:
        """Everything."""
        return self.heads + self.payload + self.segments


@dataclass(frozen=True)
class Leap:
    """A message by polling and over a WebSocket; and the head of a frame that goes up.

    `a_second` are the heads' bytes a second of the crowd of `CLIENTS` pollers and of the one of
    `TWICE` as many.
    """

    polled: Cost
    pushed: Cost
    up_bytes: float
    a_second: tuple[float, float]


def predict() -> Leap:
    """The closed form. Of TCP and IP it has the least: a segment for each head that goes."""
    size = sum(batch([_said()]))
    pushed_size = len('{"event":"updateMessage","data":}') + size
    return Leap(
        polled=Cost(HEADS_BYTES, size, 2 * TCP_IP_BYTES),
        pushed=Cost(frame(pushed_size), pushed_size, TCP_IP_BYTES),
        up_bytes=frame(0, masked=True),
        a_second=(HEADS_BYTES * CLIENTS, HEADS_BYTES * TWICE),
    )


async def run(seed: int) -> Leap:
    """Crowds of both kinds side by side, one word a second to each."""
    (polled, once), (_, twice), (pushed, up_bytes) = await asyncio.gather(
        _poll(CLIENTS), _poll(TWICE), _push(CLIENTS)
    )
    return Leap(polled, pushed, up_bytes, (once, twice))


def judge(predicted: Leap, found: Leap) -> list[Finding]:
    """The heads to the byte; then the source's figures, and what it left out."""
    padding = f"Chromium's heads of polling, padded to {HEADS_BYTES} B"
    crowds = f"{CLIENTS} light clients, {SECONDS} words"
    basis = f"TCP payload at the tap; {crowds}, one a second; {padding}"
    kernel = f"TCP_INFO at the tap, on loopback; {crowds}; {padding}"
    polled, pushed = found.polled, found.pushed
    # A busy machine may push one poll of the smaller crowd past the end of the window.
    once, slip = found.a_second[0] / CLIENTS, 1 / (CLIENTS * SECONDS)
    growth = found.a_second[1] / found.a_second[0]
    own = polled.heads / pushed.heads
    return [
        near("heads of a round trip", "B", predicted.polled.heads, polled.heads, basis),
        near("head of a frame down", "B", predicted.pushed.heads, pushed.heads, basis),
        near("head of a frame up", "B", predicted.up_bytes, found.up_bytes, basis),
        near("payload, polling", "B", predicted.polled.payload, polled.payload, basis),
        near("payload, WebSocket", "B", predicted.pushed.payload, pushed.payload, basis),
        near("twice the clients", "times", TWICE / CLIENTS, growth, basis, within=2 * slip),
        bounded(
            "TCP and IP, a message over a WebSocket",
            "B",
            pushed.segments,
            kernel,
            least=predicted.pushed.segments,
        ),
        *(
            near(
                f"heads of polling, {count:,} clients",
                "bit/s",
                says,
                8 * once * count,
                basis,
                within=slip,
                of="claim",
            )
            for count, says in zip(CROWDS, POLLED_BIT_S, strict=True)
        ),
        *(
            near(
                f"frame heads, {count:,} clients",
                "bit/s",
                says,
                8 * pushed.heads * count,
                basis,
                of="claim",
            )
            for count, says in zip(CROWDS, PUSHED_BIT_S, strict=True)
        ),
        # A figure given without a fraction is right within a half, and the measured rate in a slip.
        near(
            f"heads of polling, {CROWDS[-1]:,} clients",
            "Mbit/s",
            MBPS,
            8 * once * CROWDS[-1] / 1e6,
            basis,
            by=0.5 + slip * MBPS,
            of="claim",
        ),
        near("head of a client's frame", "B", FRAME_BYTES, found.up_bytes, basis, of="claim"),
        bounded(
            "heads of polling to those of frames",
            "times",
            own,
            basis,
            least=LEAST_REDUCTION,
            of="claim",
        ),
        bounded(
            "all that passes, polling to WebSocket",
            "times",
            polled.whole / pushed.whole,
            kernel,
            least=LEAST_REDUCTION,
            of="claim",
        ),
    ]


def plot(predicted: Leap, found: Leap) -> Figure:
    """Bits a second by clients: the heads alone, and everything that passes."""
    figure, (on,) = axes(left=0.18, right=0.64)
    lines = (
        ("heads of polling", predicted.polled.heads, found.polled.heads),
        ("heads of frames", predicted.pushed.heads, found.pushed.heads),
        ("all of polling", predicted.polled.whole, found.polled.whole),
        ("all of a WebSocket", predicted.pushed.whole, found.pushed.whole),
    )
    for index, (name, expected, counted) in enumerate(lines):
        least = ", at least" if name.startswith("all") else ""
        theory(on, CROWDS, [8 * expected * n for n in CROWDS], f"{name}{least}", index)
        measured(on, CROWDS, [8 * counted * n for n in CROWDS], f"{name}, measured", index)
    on.set_xscale("log")
    on.set_yscale("log")
    logarithmic(on.xaxis)
    logarithmic(on.yaxis)
    on.set_xlabel("clients, in proportion to a small crowd (log scale)")
    on.set_ylabel("bit/s (log scale)")
    legend(on)
    return figure


def profile() -> Profile:
    """A browser whose poll and the head of the answer with a word in it are 871 bytes."""
    browser = profiles.find("chromium")
    parts, (around, text) = requests(browser), batch([_said()])
    plain = heads(parts.ask(FIRST, "steady")) + heads(parts.bring(around, text))
    return padded(browser, HEADS_BYTES - int(plain))


async def _poll(clients: int) -> tuple[Cost, float]:
    """What a word costs by polling, and the bytes of heads a second."""
    async with (
        lab.serve("polling", interval_s=1.0) as server,
        crowd(server, clients, profile()) as group,
    ):
        passed, segments = await _say(group)
    words = clients * SECONDS
    up = passed.of("up", "http_head") / passed.requests
    cost = Cost(up + _down(passed, "http_head") / words, _payload(passed) / words, segments / words)
    return cost, passed.of(layer="http_head") / SECONDS


async def _push(clients: int) -> tuple[Cost, float]:
    """What a word costs over a WebSocket, and the head of a frame that goes up."""
    async with (
        lab.serve("websocket") as server,
        crowd(server, clients, profiles.find("chromium")) as group,
    ):
        passed, segments = await _say(group)
        await group.clients[0].send("up")
        up = (await server.traffic()).of("up", "framing", "steady")
    words = clients * SECONDS
    return Cost(_down(passed, "framing") / words, _payload(passed) / words, segments / words), up


async def _say(group: Crowd) -> tuple[Traffic, int]:
    """A word a second; what passed the tap, and the bytes of TCP's and IP's heads for it."""
    await group.boundary()
    before = await group.segments()
    await group.server.traffic()
    for _ in range(SECONDS):
        await group.say()
        await group.boundary()
    passed, after = await group.server.traffic(), await group.segments()
    up = after.header_bytes_up - before.header_bytes_up
    return passed, up + after.header_bytes_down - before.header_bytes_down


def _down(passed: Traffic, layer: str) -> int:
    return passed.of("down", layer, "steady")


def _payload(passed: Traffic) -> int:
    return _down(passed, "envelope") + _down(passed, "text")


def _said() -> Said:
    return Said(0.0, FIRST, 1, "speaker", word(1))


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
