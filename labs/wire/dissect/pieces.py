"""One connection's bytes each way, and the pieces they are taken apart into."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from labs.wire.recording import Event

Direction = Literal["up", "down"]
Kind = Literal[
    "request", "response", "body", "chunk", "event", "comment", "frame", "packet", "opaque"
]
Layers = Mapping[str, int]


class Piece(msgspec.Struct, frozen=True, gc=False):
    """Bytes that belong together, complete at `at_ns`, and how they divide by layer.

    `end` is where they end in the bytes of their direction; `begun_ns` is when the first of
    them passed. `said` is what they carry, freed of chunks, masks and compression. `exchange`
    counts the HTTP exchanges of the connection from 0; frames go by the one that opened them.
    """

    at_ns: int
    begun_ns: int
    direction: Direction
    kind: Kind
    phase: str
    layers: Layers
    end: int
    note: str
    said: bytes
    exchange: int

    @property
    def size(self) -> int:
        """Bytes on the socket."""
        return sum(self.layers.values())


class Meaning(NamedTuple):
    """What some bytes are for, and how they divide by layer."""

    phase: str
    layers: Layers
    note: str = ""


class Side:
    """One direction of a connection: all its bytes, and when each of them had passed.

    Parsers go forward from `taken` and hand over what they find with `add`. The pieces of a
    side always cover its bytes: `opaque` takes what nobody understood.
    """

    def __init__(self, direction: Direction, events: Iterable[Event]) -> None:
        parts = [event for event in events if event.kind == direction and event.data]
        self.direction = direction
        self.data = b"".join([event.data for event in parts])
        self.taken = 0
        self.pieces: list[Piece] = []
        self._times_ns = [event.at_ns for event in parts]
        self._ends: list[int] = []
        end = 0
        for event in parts:
            end += len(event.data)
            self._ends.append(end)

    def moment_ns(self, end: int) -> int:
        """When the first `end` bytes had passed, for an `end` from 1 up."""
        return self._times_ns[bisect_left(self._ends, end)]

    def add(
        self,
        end: int,
        kind: Kind,
        meaning: Meaning,
        said: bytes = b"",
        exchange: int = 0,
        begin: int | None = None,
    ) -> None:
        """A piece that is complete with the byte before `end`; empty ones are left out."""
        size = sum(meaning.layers.values())
        if not size:
            return
        at_ns = self.moment_ns(end)
        begin = end - size if begin is None else begin
        # Most pieces pass in one event, and a look into the middle is saved.
        begun_ns = at_ns if size == 1 else self.moment_ns(begin + 1)
        self.pieces.append(
            Piece(
                at_ns,
                begun_ns,
                self.direction,
                kind,
                meaning.phase,
                meaning.layers,
                end,
                meaning.note,
                said,
                exchange,
            )
        )

    def rest(self, layer: str, phase: str, exchange: int, note: str) -> None:
        """Everything that is left, in one layer."""
        left = self.data[self.taken :]
        self.taken = len(self.data)
        kind: Kind = "opaque" if layer == "opaque" else "body"
        self.add(self.taken, kind, Meaning(phase, {layer: len(left)}, note), left, exchange)


def in_order(sides: Sequence[Side]) -> list[Piece]:
    """The pieces of both directions in order of time; at one moment, requests go first."""
    each = [piece for side in sides for piece in sorted(side.pieces, key=lambda one: one.end)]
    return sorted(each, key=lambda piece: piece.at_ns)
