"""What passed over the wire, as numbers: every byte has a direction, a layer and a phase.

Layers, from the socket upwards:

    http_head   request and response heads (RFC 9112 sections 2 to 5), the empty line included
    chunk       the framing of a chunked body (RFC 9112 section 7.1)
    framing     WebSocket frame heads (RFC 6455 section 5.2), the field names and line ends of an
                event stream (WHATWG HTML 9.2), Engine.IO and Socket.IO packet types, ack numbers
                and event names
    envelope    our JSON around a text: commands, answers, and the other fields of a message
    text        what people said, in UTF-8
    content     the body of anything else: pages, scripts
    opaque      what was not understood; it is never dropped

Phases, by what an exchange is for, whenever it happens:

    page        loading the page and its files
    handshake   opening the transport: an upgrade, the head of a stream, Engine.IO's open and probe
    join        newUserConnect and its answer
    steady      what people say, up and down, acks included
    heartbeat   staying connected while there is nothing to say: pings and pongs, comments,
                polls that bring nothing
    close       disconnect and its answer, close frames, the end of a chunked body
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

DIRECTIONS = ("up", "down")
LAYERS = ("http_head", "chunk", "framing", "envelope", "text", "content", "opaque")
PHASES = ("page", "handshake", "join", "steady", "heartbeat", "close")


def cell(direction: str, layer: str, phase: str) -> str:
    """The key of a kind of bytes in `Traffic.cells`."""
    return f"{direction}/{layer}/{phase}"


class Segments(msgspec.Struct, frozen=True):
    """TCP's own cost: segments and the bytes of their TCP and IP headers, each way.

    `estimated` says that the kernel gave no count, and what it rests on then: full segments of
    1,448 bytes, and an acknowledgement for every second one.
    """

    up: int = 0
    down: int = 0
    header_bytes_up: int = 0
    header_bytes_down: int = 0
    estimated: bool = False

    def __add__(self, other: Segments) -> Segments:
        return Segments(
            self.up + other.up,
            self.down + other.down,
            self.header_bytes_up + other.header_bytes_up,
            self.header_bytes_down + other.header_bytes_down,
            self.estimated or other.estimated,
        )


class Traffic(msgspec.Struct, frozen=True):
    """What passed: `connections` opened, `requests` made, bytes by `cell`.

    The bytes are TCP's payload, each counted once: their sum is what the sockets carried.
    """

    connections: int = 0
    requests: int = 0
    cells: dict[str, int] = {}

    def of(self, direction: str = "", layer: str = "", phase: str = "") -> int:
        """Bytes of a direction, a layer, a phase; any where none is named."""
        wanted = (direction, layer, phase)
        return sum(
            size
            for key, size in self.cells.items()
            if all(part in ("", found) for part, found in zip(wanted, key.split("/"), strict=True))
        )

    @property
    def up(self) -> int:
        """Bytes from the clients."""
        return self.of("up")

    @property
    def down(self) -> int:
        """Bytes from the server."""
        return self.of("down")

    @property
    def both(self) -> int:
        """Bytes in both directions."""
        return sum(self.cells.values())

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.connections + other.connections,
            self.requests + other.requests,
            added([self.cells, other.cells]),
        )


def added(each: Iterable[dict[str, int]]) -> dict[str, int]:
    """Cells of several kinds of traffic together."""
    total: Counter[str] = Counter()
    for cells in each:
        total.update(cells)
    return dict(total)
