"""A recording as a story: who said what to the server, and what came of it.

Pieces become steps, one for each request, response, event, frame; connections become clients,
told apart by the tokens that they carry (a session of the chat, a `sid` of Engine.IO).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl

from labs.wire.dissect import Piece, dissect
from labs.wire.ledger import by_connection
from labs.wire.recording import Event, Recording

StepKind = Literal["request", "response", "push", "frame"]

TOKEN = re.compile(rb'(?:"session":"|session=|"sid":"|sid=)([^"& ]+)')
NAME = re.compile(rb'"name":("(?:[^"\\]|\\.)*")|\["newUserConnect",("(?:[^"\\]|\\.)*")')
SPOKEN = re.compile(rb'"(?:text|message)":("(?:[^"\\]|\\.)*")')
BATCH = re.compile(rb'\[\{"offset":\d+,')
OFFSET = re.compile(rb'\{"offset":(\d+)\}')
CODE = re.compile(rb'"code":"(\w+)"')
WELCOME = re.compile(rb'"epoch":"')
ASKS = re.compile(r", asks for ack (\d+)$")
TOLD = {"join": "{} joins", "leave": "{} leaves", "gap": "a gap"}
CONTROL = ("ping frame", "pong frame", "close frame")
STREAM = "event stream"
QUERY = ("since", "transport")  # what of a query tells something


@dataclass
class Step:
    """One thing that went over; `size` is all its bytes, `begun_ns` when the first passed."""

    at_ns: int
    begun_ns: int
    client: int
    connection: int
    exchange: int
    direction: str
    kind: StepKind
    phase: str
    label: str
    size: int


@dataclass
class Hold:
    """What the server keeps open, from one step to another.

    Without a `last` step it ended with its connection, at `end_ns`, or was never seen to end.
    """

    first: Step
    last: Step | None
    end_ns: int | None
    what: Literal["request", "stream", "connection"]

    @property
    def held_ns(self) -> int | None:
        """How long, None if its end was not seen."""
        end_ns = self.last.at_ns if self.last else self.end_ns
        return None if end_ns is None else end_ns - self.first.at_ns


@dataclass
class Story:
    """Clients by name, steps in order of time, and what was held open between them."""

    clients: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)


def tell(recording: Recording) -> Story:
    """The story of a recording."""
    story = Story()
    connections = by_connection(recording.events)
    each = {number: dissect(events) for number, events in connections.items()}
    each = {number: pieces for number, pieces in each.items() if pieces}
    groups = _clients(each)
    for index, group in enumerate(groups):
        pieces = [piece for number in group for piece in each[number]]
        story.clients.append(_name(pieces) or f"client {index + 1}")
        for number in group:
            steps = list(_steps(each[number], index, number))
            story.steps += steps
            story.holds += _holds(steps, _end_ns(connections[number]))
    story.steps.sort(key=lambda step: step.at_ns)
    return story


def _clients(each: dict[int, list[Piece]]) -> list[list[int]]:
    """Connections by client, in order of opening.

    One that carries no token has loaded a page, and belongs to whoever shows one next.
    """
    owner: dict[bytes, list[int]] = {}
    groups: list[tuple[int, list[int]]] = []  # since when each is known, and its connections
    strangers: list[int] = []
    shown = {number: _tokens(pieces) for number, pieces in each.items()}
    for number in sorted(each, key=lambda number: min(shown[number].values(), default=0)):
        tokens = shown[number]
        if not tokens:
            strangers.append(number)
            continue
        known = next((owner[token] for token in tokens if token in owner), None)
        if known is None:
            groups.append((min(tokens.values()), known := []))
        known.append(number)
        owner |= dict.fromkeys(tokens, known)
    if not groups:
        return [[number] for number in strangers]
    for number in strangers:
        later = (group for since, group in groups if since >= each[number][0].at_ns)
        next(later, groups[-1][1]).append(number)
    return sorted(sorted(group) for _, group in groups)


def _tokens(pieces: Sequence[Piece]) -> dict[bytes, int]:
    """The tokens that a connection carries, and when each was seen first."""
    found: dict[bytes, int] = {}
    for piece in pieces:
        if piece.phase != "page":  # its scripts speak of tokens too
            for token in TOKEN.findall(piece.said):
                found.setdefault(token, piece.at_ns)
    return found


def _name(pieces: Sequence[Piece]) -> str:
    for piece in pieces:
        if piece.direction == "up" and piece.phase == "join" and (found := NAME.search(piece.said)):
            with suppress(ValueError):
                return str(json.loads(found[1] or found[2]))
    return ""


def _steps(pieces: Sequence[Piece], client: int, connection: int) -> Iterator[Step]:
    now: dict[str, Step] = {}
    for piece in pieces:
        step = now.get(piece.direction)
        if step and _continues(piece, step):
            step.at_ns, step.size = max(step.at_ns, piece.at_ns), step.size + piece.size
            step.label = ", ".join(filter(None, (step.label, _content(piece))))
            continue
        step = Step(
            piece.at_ns,
            piece.begun_ns,
            client,
            connection,
            piece.exchange,
            piece.direction,
            _kind(piece),
            piece.phase,
            _label(piece),
            piece.size,
        )
        now[piece.direction] = step
        yield step


def _continues(piece: Piece, step: Step) -> bool:
    if piece.kind == "chunk":
        return piece.note != "last chunk" or piece.phase == step.phase
    if piece.note == "retry":
        return step.kind == "response"
    return piece.kind in ("body", "packet") and step.exchange == piece.exchange


def _kind(piece: Piece) -> StepKind:
    if piece.kind == "request":
        return "request"
    if piece.kind == "response":
        return "response"
    pushes = piece.kind in ("event", "comment") or "updateMessage" in piece.note
    return "push" if pushes and piece.direction == "down" else "frame"


def _label(piece: Piece) -> str:
    if piece.kind == "request":
        upgrades = b"websocket" in piece.said.lower().partition(b"\r\nupgrade:")[2]
        return _request(piece.note) + (", upgrade" if upgrades else "")
    if piece.kind == "response":
        streams = f", {STREAM}" if b"text/event-stream" in piece.said else ""
        return piece.note.partition(" ")[2] + streams
    if piece.kind == "chunk":
        return "end of the stream"
    if piece.kind == "opaque":
        return f"{piece.size:,} bytes not understood"
    note = piece.note
    if piece.kind == "frame":
        what, _, told = note.partition(": ")
        what = what.partition(",")[0]
        note = f"{what} {told}".rstrip() if what in CONTROL or not told else told
    return ": ".join(filter(None, (_brief(note), brings(piece.said))))


def _brief(note: str) -> str:
    return ASKS.sub(r" (ack \1)", note.removeprefix("Socket.IO event "))


def _request(line: str) -> str:
    method, target, *_ = line.split(" ")
    path, _, query = target.partition("?")
    told = ", ".join(f"{key} {value}" for key, value in parse_qsl(query) if key in QUERY)
    return f"{method} {path}" + (f" ({told})" if told else "")


def _content(piece: Piece) -> str:
    if piece.kind == "packet":
        return ": ".join(filter(None, (_brief(piece.note), brings(piece.said))))
    return brings(piece.said) if piece.kind == "body" and "content" not in piece.layers else ""


def brings(said: bytes) -> str:
    """What a body, a frame or an event tells, in a few words; empty if nothing of the chat."""
    try:
        return _brings(said)
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""  # it only looked like something of the chat


def _brings(said: bytes) -> str:
    if found := BATCH.search(said):
        text = said[found.start() :].decode(errors="replace")
        batch, _ = json.JSONDecoder().raw_decode(text)
        return ", ".join(map(_told, batch))
    if found := SPOKEN.search(said):
        return f"“{json.loads(found[1])}”"
    if found := OFFSET.search(said):
        return f"offset {found[1].decode()}"
    if found := CODE.search(said):
        return found[1].decode()
    return "session, position" if WELCOME.search(said) else ""


def _told(message: dict[str, str]) -> str:
    kind, name = message["kind"], message["name"]
    return f"{name} “{message['text']}”" if kind == "talk" else TOLD[kind].format(name)


def _end_ns(events: Sequence[Event]) -> int | None:
    ends = (event.at_ns for event in events if event.kind in ("up_end", "down_end", "reset"))
    return next(ends, None)


def _holds(steps: Sequence[Step], end_ns: int | None) -> Iterator[Hold]:
    exchanges: dict[int, list[Step]] = {}
    for step in steps:
        exchanges.setdefault(step.exchange, []).append(step)
    for exchange in exchanges.values():
        requests = [step for step in exchange if step.kind == "request"]
        if requests:
            yield _hold(requests[0], exchange, end_ns)


def _hold(request: Step, exchange: Sequence[Step], end_ns: int | None) -> Hold:
    answers = [step for step in exchange if step.kind == "response"]
    if not answers:
        return Hold(request, None, end_ns, "request")
    answer = answers[-1]  # those before it are interim
    ends = [step for step in exchange if step.phase == "close" and step.direction == "down"]
    last = ends[-1] if ends else None
    if answer.label.startswith("101"):
        return Hold(answer, last, end_ns, "connection")
    if STREAM in answer.label:
        return Hold(request, last, end_ns, "stream")
    return Hold(request, answer, None, "request")
