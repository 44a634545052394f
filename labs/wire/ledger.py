"""The ledger: every byte of a recording in its cell of direction, layer and phase.

A piece (a head, a frame, an event) belongs to the window in which it was complete. What it was
for may be known only later: the head of a poll is counted where it went up, in the phase that
its answer gives it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from labs.wire.dissect import Side, sides
from labs.wire.recording import Event
from labs.wire.traffic import Traffic, cell


def account(
    events: Sequence[Event], ends_ns: Sequence[tuple[str, int | None]]
) -> dict[str, Traffic]:
    """What passed in each window, by name.

    `ends_ns` names the windows in order of time, each with the monotonic moment it ends at, that
    moment included. None is for the last one: it takes all the rest, and then the sum over the
    windows is every byte there is. Raises `ValueError` for windows in another order.
    """
    books = _Books(ends_ns)
    for connection in by_connection(events).values():
        books.enter(connection)
    return books.closed(events)


def by_connection(events: Iterable[Event]) -> dict[int, list[Event]]:
    """The events of each connection, in order of opening."""
    found: defaultdict[int, list[Event]] = defaultdict(list)
    for event in events:
        found[event.connection].append(event)
    return dict(found)


class _Books:
    def __init__(self, ends_ns: Sequence[tuple[str, int | None]]) -> None:
        self.names = [name for name, _ in ends_ns]
        self.ends_ns = [end for _, end in ends_ns if end is not None]
        self.endless = any(end is None for _, end in ends_ns)
        if [end for _, end in ends_ns[: len(self.ends_ns)]] != sorted(self.ends_ns):
            raise ValueError("windows end in order of time, and only the last one never (None)")
        self._cells: list[Counter[tuple[str, str, str]]] = [
            Counter() for _ in range(len(self.ends_ns) + 1)
        ]  # the last is what comes after them all
        self._requests = Counter[int]()
        self._connections = Counter[int]()

    def window(self, at_ns: int) -> int:
        return bisect_left(self.ends_ns, at_ns)

    def enter(self, connection: Sequence[Event]) -> None:
        for event in connection:
            if event.kind == "opened":
                self._connections[self.window(event.at_ns)] += 1
        for side in sides(connection):
            self._side(side)

    def _side(self, side: Side) -> None:
        for piece in side.pieces:
            window = bisect_left(self.ends_ns, piece.at_ns)
            cells = self._cells[window]
            if piece.kind == "request":
                self._requests[window] += 1
            for layer, size in piece.layers.items():
                cells[piece.direction, layer, piece.phase] += size

    def closed(self, events: Iterable[Event]) -> dict[str, Traffic]:
        total = sum(len(event.data) for event in events if event.kind in ("up", "down"))
        found = {
            name: Traffic(
                self._connections[index],
                self._requests[index],
                {cell(*key): size for key, size in sorted(self._cells[index].items()) if size},
            )
            for index, name in enumerate(self.names)
        }
        counted = sum(traffic.both for traffic in found.values())
        if self.endless and counted != total:
            raise AssertionError(f"{counted} bytes are in the ledger, {total} passed")
        return found
