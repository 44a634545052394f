"""What a network turned out to be: the figures asked for beside those that were measured."""

from __future__ import annotations

import math
from statistics import median
from typing import Literal

import msgspec

from labs.net.network import JITTER, Network
from labs.net.probe import Found, Task
from labs.net.shaper import HEAD_BYTES, SEGMENT_BYTES
from labs.net.volley import Received, Volley

Mechanism = Literal["tun", "relay"]

LOSS_NUMBER = 400  # datagrams each way to ask for the loss
LOSS_BYTES = 64
LOSS_LOAD = 0.4  # they take this share of the bandwidth: the queue must not add losses
BULK_S = 0.5  # a bulk transfer takes so long, where the network is as fast as it says
BULK_BYTES = 1_400
BULK_LOAD = 1.25  # ... at this many times the bandwidth
BULK_MOST = 6_000  # parts; past that a transfer would measure us
UDP_HEAD_BYTES = 28  # IPv4 and UDP (RFC 791, RFC 768)
Z = 1.959964  # the normal quantile of a 95 % interval

SHARED = "All clients share one link, as behind one router; real clients have one each."
CANNOT_SHOW = {
    "tun": [
        SHARED,
        "Packets are lost one by one and at random; real losses come in bunches.",
        "Jitter never reorders packets, and it is not tied to the load.",
    ],
    "relay": [
        SHARED,
        "Loss: a relay of byte streams cannot lose a packet, so nothing is repeated.",
        "Handshakes: opening a TCP connection costs no round trip, because the machine's own "
        "kernel answers at once on either side.",
        "Congestion control: TCP sees the machine's own loopback; there is no slow start, and no "
        "packet is dropped when the queue is full.",
    ],
}
"""What no run on such a network shows, in sentences."""


class Rtt(msgspec.Struct, frozen=True):
    """Round trips of small messages on one TCP connection, those that TCP had to repeat too."""

    samples: int
    least_ms: float
    median_ms: float
    p95_ms: float


class Loss(msgspec.Struct, frozen=True):
    """The share of datagrams that did not come, and its interval (Wilson 1927), 95 %."""

    sent: int
    missing: int
    share: float
    low: float
    high: float


class Shaping(msgspec.Struct, frozen=True):
    """A network as asked for (`network`), how it was made, and what was measured of it.

    The bandwidth is of IP packets, headers included. `connect_ms` is the shortest time in which
    a TCP connection was opened. `reason` says why it was not the TUN bridge, when it was not.
    """

    network: Network
    mechanism: Mechanism
    reason: str
    congestion_control: str
    rtt: Rtt
    connect_ms: float
    up_bit_s: float
    down_bit_s: float
    loss_up: Loss | None
    loss_down: Loss | None
    cannot_show: list[str]

    def rows(self) -> list[tuple[str, str, str]]:
        """What, nominal, measured: as texts for a table."""
        asked, rtt = self.network, self.rtt
        jitter = f", and {JITTER} jitter of {asked.jitter_ms:g} ms each way"
        return [
            (
                "round trip",
                f"at least {asked.rtt_ms:g} ms{jitter if asked.jitter_ms else ''}",
                f"{rtt.least_ms:.2f} ms at least, {rtt.median_ms:.2f} in the median, "
                f"{rtt.p95_ms:.2f} at p95 of {rtt.samples}",
            ),
            (
                "opening a TCP connection",
                f"at least {asked.rtt_ms:g} ms",
                f"{self.connect_ms:.2f} ms at least",
            ),
            ("bandwidth up", _mbit(asked.up_bit_s), _mbit(self.up_bit_s)),
            ("bandwidth down", _mbit(asked.down_bit_s), _mbit(self.down_bit_s)),
            ("loss up", f"{asked.loss:.2%}", _said(self.loss_up)),
            ("loss down", f"{asked.loss:.2%}", _said(self.loss_down)),
        ]


def _mbit(bit_s: float) -> str:
    return f"{bit_s / 1e6:.3g} Mbit/s"


def _said(loss: Loss | None) -> str:
    if not loss:
        return "none, it cannot be emulated"
    return f"{loss.share:.2%} ({loss.low:.2%} to {loss.high:.2%}; {loss.missing} of {loss.sent})"


def task(network: Network, mechanism: Mechanism) -> Task:
    """The exercises that measure this network, bounded in count and time."""
    slower = min(network.up_bit_s, network.down_bit_s)
    gap_s = max(0.001, (LOSS_BYTES + UDP_HEAD_BYTES) * 8 / (slower * LOSS_LOAD))
    # Fewer on a very slow link: a few seconds must do.
    number = max(20, min(LOSS_NUMBER, int(2.0 / gap_s)))
    return Task(
        loss=Volley(number, LOSS_BYTES, gap_s),
        up=_bulk(network.up_bit_s, mechanism),
        down=_bulk(network.down_bit_s, mechanism),
    )


def _bulk(bit_s: int, mechanism: Mechanism) -> Volley:
    if mechanism == "relay":
        number = bit_s * BULK_S / 8 / (SEGMENT_BYTES + HEAD_BYTES)
        return Volley(max(8, min(BULK_MOST, round(number))), SEGMENT_BYTES)
    gap_s = (BULK_BYTES + UDP_HEAD_BYTES) * 8 / bit_s / BULK_LOAD
    return Volley(max(8, min(BULK_MOST, round(BULK_S / gap_s))), BULK_BYTES, gap_s)


def shaping(
    network: Network, mechanism: Mechanism, reason: str, asked: Task, found: Found
) -> Shaping:
    """What the exercises found, in figures."""
    return Shaping(
        network=network,
        mechanism=mechanism,
        reason=reason,
        congestion_control=found.congestion_control,
        rtt=_rtt(found.rtt_s),
        connect_ms=min(found.connect_s) * 1e3,
        up_bit_s=_rate(found.up, mechanism),
        down_bit_s=_rate(found.down, mechanism),
        loss_up=_loss(asked, found.loss_up),
        loss_down=_loss(asked, found.loss_down),
        cannot_show=CANNOT_SHOW[mechanism],
    )


def _rtt(rtt_s: list[float]) -> Rtt:
    ordered = sorted(rtt_s)
    p95_s = ordered[math.ceil(0.95 * len(ordered)) - 1]
    return Rtt(len(ordered), ordered[0] * 1e3, median(ordered) * 1e3, p95_s * 1e3)


def _rate(received: Received, mechanism: Mechanism) -> float:
    """Bits a second of IP packets, from what came after the first of it."""
    if not received.took_s:
        return 0.0
    payload, head = BULK_BYTES, UDP_HEAD_BYTES
    if mechanism == "relay":
        payload, head = SEGMENT_BYTES, HEAD_BYTES
    later = received.bytes - received.first_bytes
    return later * 8 / received.took_s * (payload + head) / payload


def _loss(asked: Task, received: Received | None) -> Loss | None:
    if not received:
        return None
    sent = asked.loss.number
    missing = sent - received.number
    return Loss(sent, missing, missing / sent, *wilson(missing, sent))


def wilson(found: int, of: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927); it holds for small counts too."""
    share, weight = found / of, Z * Z / of
    middle = (share + weight / 2) / (1 + weight)
    half = Z / (1 + weight) * math.sqrt(share * (1 - share) / of + weight / (4 * of))
    return max(0.0, middle - half), min(1.0, middle + half)
