"""An event stream, byte for byte (WHATWG HTML section 9.2.5 and 9.2.6).

Of an event with data, the values of its `data` fields are envelope and text; field names,
line ends, and the lines `event` and `id` are framing. A block without data is framing whole:
`retry` belongs to the handshake, comments and empty lines keep the connection alive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from labs.wire.dissect import said
from labs.wire.dissect.pieces import Kind, Meaning

LINE = re.compile(rb"([^\r\n]*)(\r\n|\r|\n)?")
BOM = b"\xef\xbb\xbf"


class Block(NamedTuple):
    """Lines up to an empty one, that included; `end` counts from the start of the stream."""

    end: int
    kind: Kind
    meaning: Meaning
    said: bytes


def blocks(stream: bytes) -> Iterator[Block]:
    """The blocks of a stream, the last one perhaps cut off; together they are all its bytes."""
    begin, fields = 0, dict[bytes, list[bytes]]()
    for line in LINE.finditer(stream):
        if line.start() == line.end():
            continue
        if line[1]:
            name, _, value = line[1].removeprefix(BOM if not line.start() else b"").partition(b":")
            fields.setdefault(name, []).append(value.removeprefix(b" "))
            continue
        yield _block(stream, begin, line.end(), fields)
        begin, fields = line.end(), {}
    if begin < len(stream):
        yield _block(stream, begin, len(stream), fields)


def _block(stream: bytes, begin: int, end: int, fields: dict[bytes, list[bytes]]) -> Block:
    raw, size = stream[begin:end], end - begin
    if b"data" not in fields:
        phase = "handshake" if b"retry" in fields else "heartbeat"
        kind: Kind = "event" if b"retry" in fields else "comment"
        note = "retry" if b"retry" in fields else "comment"
        return Block(end, kind, Meaning(phase, {"framing": size}, note), raw)
    data, name = fields[b"data"], fields.get(b"event", [b"message"])[-1]
    inside = sum(map(len, data))
    text = said.of_event(name.decode(errors="replace"), b"\n".join(data))
    layers = {"framing": size - inside, **said.split(inside, text)}
    note = f"event {name.decode(errors='replace')}"
    return Block(end, "event", Meaning("steady", layers, note), raw)
