"""What the kernel counts of a TCP connection: Linux's `TCP_INFO`, and what a connection cost.

The fields are those of `struct tcp_info` in `linux/tcp.h`. The struct only grows, so each
field is read at its offset if the kernel's answer reaches that far (they all exist since
Linux 4.19). How the kernel counts, observed with a packet capture (`tests/capture`):

    bytes_acked      counts our SYN on the side that connects, not on the side that accepts,
                     and our FIN once it is acknowledged
    bytes_received   counts the peer's FIN
    bytes_sent       counts payload alone, and that of `bytes_retrans` again
    segs_in          counts every segment, on the side that accepts the SYN too
    segs_out         counts every segment, on the side that accepts the SYN-ACK not

Read it before the socket is closed; what comes later is in no count, which is mostly the
acknowledgement of the last FIN.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterable

import msgspec

from labs.wire.recording import Event
from labs.wire.traffic import Segments

TCP_INFO = 11  # linux/tcp.h; the socket module does not have it everywhere
ANSWER_BYTES = 1_024  # more than any kernel's struct

OFFSETS = {
    "state": ("B", 0),
    "retransmits": ("B", 2),
    "options": ("B", 5),
    "snd_mss": ("I", 16),
    "unacked": ("I", 24),
    "rtt_us": ("I", 68),
    "rttvar_us": ("I", 72),
    "total_retrans": ("I", 100),
    "bytes_acked": ("Q", 120),
    "bytes_received": ("Q", 128),
    "segs_out": ("I", 136),
    "segs_in": ("I", 140),
    "min_rtt_us": ("I", 148),
    "data_segs_in": ("I", 152),
    "data_segs_out": ("I", 156),
    "bytes_sent": ("Q", 200),
    "bytes_retrans": ("Q", 208),
}
"""Each field of `TcpInfo`: its type and its offset in bytes."""

TIMESTAMPS, SACK, WSCALE = 1, 2, 4  # linux/tcp.h: TCPI_OPT_*

IP_BYTES = {socket.AF_INET: 20, socket.AF_INET6: 40}  # RFC 791 3.1, RFC 8200 3; no options
TCP_BYTES = 20  # RFC 9293 3.1
TIMESTAMP_BYTES = 12  # RFC 7323 3.2, with two bytes of padding: on every segment
SYN_MSS_BYTES = 4  # RFC 9293 3.2; the next two are padded as Linux does
SYN_SACK_BYTES = 4  # RFC 2018 2; takes the place of the timestamps' padding where there are any
SYN_WSCALE_BYTES = 4  # RFC 7323 2.2

FULL_BYTES = 1_448  # a full segment: an Ethernet frame's 1,500 without 20 + 20 + 12
USUAL_OPTIONS = TIMESTAMPS | SACK | WSCALE


class TcpInfo(msgspec.Struct, frozen=True):
    """`TCP_INFO` of one socket, by the kernel's names; times in microseconds.

    `snd_mss` is what one segment may carry, `unacked` how many are on their way; `retransmits`
    is how often the first of them was sent again so far, `total_retrans` how many segments were
    sent again in all; `data_segs_*` count only those with payload.
    """

    state: int
    retransmits: int
    options: int
    snd_mss: int
    unacked: int
    rtt_us: int
    rttvar_us: int
    total_retrans: int
    bytes_acked: int
    bytes_received: int
    segs_out: int
    segs_in: int
    min_rtt_us: int
    data_segs_in: int
    data_segs_out: int
    bytes_sent: int
    bytes_retrans: int


def read(sock: socket.socket) -> TcpInfo | None:
    """The kernel's counts, or None where it keeps none: not Linux, an old one, no TCP socket."""
    if sys.platform != "linux":
        return None
    try:
        return parse(sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, ANSWER_BYTES))
    except OSError:
        return None


def parse(answer: bytes) -> TcpInfo | None:
    """A `struct tcp_info` of this machine's byte order, or None if it is too short."""
    try:
        found = {
            name: struct.unpack_from(f"={kind}", answer, at)[0]
            for name, (kind, at) in OFFSETS.items()
        }
    except struct.error:
        return None
    return TcpInfo(**found)


def header_bytes(options: int, family: int, *, syn: bool = False) -> int:
    """The IP and TCP header of a segment on a connection with these options negotiated.

    Acknowledgements that report a hole (SACK blocks, RFC 2018) are longer; where nothing is
    lost there are none. For a SYN this is Linux's; both sides' are taken to be alike.
    """
    plain = IP_BYTES[socket.AddressFamily(family)] + TCP_BYTES
    stamped = TIMESTAMP_BYTES if options & TIMESTAMPS else 0
    if not syn:
        return plain + stamped
    selective = SYN_SACK_BYTES if options & SACK and not stamped else 0
    scaled = SYN_WSCALE_BYTES if options & WSCALE else 0
    return plain + SYN_MSS_BYTES + stamped + selective + scaled


def segments(info: TcpInfo, family: int) -> Segments:
    """What a connection that was accepted has cost so far; the accepting side sends down."""
    return _priced(info.segs_in, info.segs_out + 1, info.options, family, estimated=False)


def estimate(events: Iterable[Event], family: int = socket.AF_INET) -> Segments:
    """What one connection may have cost, from what a tap saw, where the kernel does not say.

    It rests on full segments of 1,448 bytes, every chunk beginning a new one, on an
    acknowledgement for every second segment, and on the usual options.
    """
    sent: Counter[str] = Counter()
    for event in events:
        sent[event.kind] += max(1, -(-len(event.data) // FULL_BYTES))
    # Two of three segments that open a connection come from the client.
    up = 2 + sent["up"] + sent["up_end"] + sent["down"] // 2
    down = 1 + sent["down"] + sent["down_end"] + sent["up"] // 2
    return _priced(up, down, USUAL_OPTIONS, family, estimated=True)


def _priced(up: int, down: int, options: int, family: int, *, estimated: bool) -> Segments:
    each = header_bytes(options, family)
    more = header_bytes(options, family, syn=True) - each
    return Segments(up, down, up * each + more, down * each + more, estimated)
