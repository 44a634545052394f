"""A recording, readably: what each connection said and heard, in order of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from labs.errors import UsageError
from labs.wire.dissect import Piece, dissect
from labs.wire.ledger import account, by_connection
from labs.wire.recording import Event, Recording
from labs.wire.traffic import LAYERS, PHASES, Traffic

SHOWN_CHARS = 300  # of a body, a frame, an event
READABLE = 20  # with more than one character in so many broken, bytes are no text
INDENT = " " * 12
ENDINGS = {
    "opened": "the client connects",
    "up_end": "the client will send no more",
    "down_end": "the server will send no more",
    "reset": "reset",
}


def shown(recording: Recording, connection: int | None = None) -> Iterator[str]:
    """The lines of a recording, of all connections or of one.

    Times are milliseconds since its first event. Raises `UsageError` if there is no such
    connection.
    """
    each = by_connection(recording.events)
    if connection is not None:
        if connection not in each:
            raise UsageError(f"no connection {connection} is in it; {_which(each)}")
        each = {connection: each[connection]}
    events = [event for one in each.values() for event in one]
    traffic = account(events, [("all", None)])["all"]
    yield _headline(recording, traffic, len(each))
    start_ns = min((event.at_ns for event in recording.events), default=0)
    for number, one in each.items():
        yield ""
        yield f"connection {number}"
        yield from _connection(one, start_ns)
    yield ""
    yield from table(traffic)


def table(traffic: Traffic) -> Iterator[str]:
    """Bytes by layer, then by phase, up and down; rows without any are left out."""
    for title, names in (("layer", LAYERS), ("phase", PHASES)):
        yield f"{title:<12}{'up':>12}{'down':>12}{'both':>12}"
        for name in names:
            both = traffic.of(**{title: name})
            if both:
                up = traffic.of("up", **{title: name})
                yield f"{name:<12}{up:>12,}{both - up:>12,}{both:>12,}"
        yield f"{'all':<12}{traffic.up:>12,}{traffic.down:>12,}{traffic.both:>12,}"
        yield ""


def printable(text: str) -> str:
    """Text that cannot disturb a terminal: what is not to be seen is escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "replace").decode()
        for char in text
    )


def _headline(recording: Recording, traffic: Traffic, connections: int) -> str:
    title = printable(recording.head.title) or "A recording"
    return (
        f"{title}, {printable(recording.head.made_at)}: {_count(connections, 'connection')}, "
        f"{_count(traffic.requests, 'request')}, {traffic.up:,} B up, {traffic.down:,} B down"
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _which(each: dict[int, list[Event]]) -> str:
    return f"there are {min(each)} to {max(each)}" if each else "nothing was recorded"


def _connection(events: Sequence[Event], start_ns: int) -> Iterator[str]:
    told: list[tuple[int, list[str]]] = [
        (event.at_ns, [ENDINGS[event.kind]]) for event in events if event.kind in ENDINGS
    ]
    told += [(piece.at_ns, list(_piece(piece))) for piece in dissect(events)]
    for at_ns, (first, *more) in sorted(told, key=lambda one: one[0]):
        yield f"{(at_ns - start_ns) / 1e6:>10.1f}  {first}"
        for line in more:
            yield f"{INDENT}    {line}"


def _piece(piece: Piece) -> Iterator[str]:
    layers = ", ".join(f"{name} {size:,}" for name, size in piece.layers.items() if size)
    head = piece.kind in ("request", "response")
    what = printable(piece.note) if head else _what(piece)
    yield f"{piece.direction:<5} {what}  [{piece.phase}: {layers}]"
    if head:
        yield from (printable(line) for line in _fields(piece.said))
    elif piece.said:
        yield _said(piece.said)


def _what(piece: Piece) -> str:
    # A frame's note begins with what it is; a packet's or a body's says what is in it.
    note = printable(piece.note)
    return note if piece.kind in note else f"{piece.kind}: {note}"


def _fields(head: bytes) -> Iterator[str]:
    """The fields of a head, folded lines in one (RFC 9112 section 5.2)."""
    field = ""
    for line in head.decode("latin-1").splitlines()[1:]:
        if line[:1] in (" ", "\t"):
            field += f" {line.strip()}"
            continue
        if field:
            yield field
        field = line
    if field:
        yield field


def _said(said: bytes) -> str:
    text = said.decode(errors="replace")
    if text.count("\N{REPLACEMENT CHARACTER}") > len(text) / READABLE:
        text = said.hex(" ")
    more = f" ... {len(text) - SHOWN_CHARS:,} more" if len(text) > SHOWN_CHARS else ""
    return printable(text[:SHOWN_CHARS]) + more
