"""Bytes in their cells, and what the smallest parts of the wire weigh.

Everything here is arithmetic on lengths: no server and no client is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime

import msgspec
from aiohttp.http import SERVER_SOFTWARE
from websockets.http11 import SERVER

from labs.bench.heads import ENDED, Profile
from labs.settings import Settings
from labs.wire.traffic import cell

DATE = format_datetime(datetime(2026, 1, 1, tzinfo=UTC), usegmt=True)
"""A date as RFC 9110 section 5.6.7 has it: it is always as long as this one."""

AT_MS = 13  # digits of Unix time in milliseconds, until the year 2286
SESSION = 22  # a session's token: 16 random bytes in base64
EPOCH = 8  # a room's epoch: 4 random bytes in hexadecimal digits
KEY = 16  # an idempotency key: 12 random bytes in base64
SID = 20  # Engine.IO's and Socket.IO's: 15 bytes in base64
UPGRADE_KEY = 24  # Sec-WebSocket-Key: 16 bytes in base64 (RFC 6455 section 4.1)
ACCEPT = 28  # Sec-WebSocket-Accept: a SHA-1 in base64 (RFC 6455 section 4.2.2)

Cells = dict[str, float]


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a window: `number` counts its sender's, from 1."""

    at_s: float
    offset: int
    number: int
    name: str
    text: str


@dataclass(slots=True)
class Tally:
    """Bytes by cell, and how many requests they took; parts of both where they are expected."""

    cells: Cells = field(default_factory=dict)
    requests: float = 0.0

    def add(self, direction: str, phase: str, **layers: float) -> Tally:
        """Bytes of some layers; answers the tally itself."""
        for layer, size in layers.items():
            if size:
                key = cell(direction, layer, phase)
                self.cells[key] = self.cells.get(key, 0) + size
        return self

    def take(self, other: Tally, times: float = 1.0) -> Tally:
        """Another tally on top, so many times; answers the tally itself."""
        for key, size in other.cells.items():
            self.cells[key] = self.cells.get(key, 0) + size * times
        self.requests += other.requests * times
        return self

    def without_phases(self) -> Cells:
        """Bytes by `direction/layer`."""
        found: Cells = {}
        for key, size in self.cells.items():
            direction, layer, _ = key.split("/")
            found[f"{direction}/{layer}"] = found.get(f"{direction}/{layer}", 0) + size
        return found


def response(status: str, *lines: str, length: int | None = None, server: str = "") -> int:
    """A response head of aiohttp's server: status line, fields, empty line (RFC 9112).

    It adds `Content-Length`, `Date` and `Server` to what the variant says.
    """
    every = [f"HTTP/1.1 {status}", *lines]
    if length is not None:
        every.append(f"Content-Length: {length}")
    every += [f"Date: {DATE}", f"Server: {server or SERVER_SOFTWARE}"]
    return len("\r\n".join(every)) + len(ENDED)


def frame(size: int, masked: bool = False) -> int:
    """The head of a WebSocket frame around so many bytes (RFC 6455 section 5.2).

    Two bytes; two more from 126 bytes up, eight more from 65,536; a client's mask is four.
    """
    extended = 0 if size < 126 else 2 if size < 65_536 else 8
    return 2 + extended + 4 * masked


def quoted(value: object) -> int:
    """The length of a value as JSON."""
    return len(msgspec.json.encode(value))


def spoken(text: str) -> int:
    """The length of a text in UTF-8: the layer of that name."""
    return len(text.encode())


def talk(said: Said) -> int:
    """The envelope of one message of a batch: all of its JSON but the text (SPEC.md S1).

    Quotes and escapes are envelope.
    """
    fields = f'{{"offset":{said.offset},"kind":"talk","name":,"text":,"at_ms":}}'
    escaped = quoted(said.text) - spoken(said.text)
    return len(fields) + quoted(said.name) + escaped + AT_MS


ARRAY = len("[]")


def batch(messages: Sequence[Said]) -> tuple[int, int]:
    """Envelope and text of a batch: an array, so two brackets, and a comma between each two."""
    around = ARRAY + len(messages) - 1
    return around + sum(map(talk, messages)), sum(spoken(said.text) for said in messages)


def join(name: str, offset: int) -> int:
    """The announcement of a join, as one batch: it has no text."""
    fields = f'[{{"offset":{offset},"kind":"join","name":,"text":"","at_ms":}}]'
    return len(fields) + quoted(name) + AT_MS


def command(said: Said, session: bool) -> tuple[int, int]:
    """Envelope and text of a `sendMessage` (SPEC.md S3); over HTTP it names the session."""
    fields = '{"text":,"key":""}' + (',"session":""' if session else "")
    sizes = quoted(said.text) - spoken(said.text) + KEY + SESSION * session
    return len(fields) + sizes, spoken(said.text)


def accepted(offset: int) -> int:
    """The answer to a `sendMessage`."""
    return len(f'{{"offset":{offset}}}')


@dataclass(frozen=True)
class Scene:
    """What does not change while a window lasts.

    `quiet_s` is the variant's, `stamp_bytes` the length of Engine.IO's `t`.
    """

    profile: Profile
    host: str
    settings: Settings
    quiet_s: float
    stamp_bytes: float

    def head(
        self,
        kind: str,
        path: str = "",
        length: int | None = None,
        query: Mapping[str, str] | None = None,
        **fields: str,
    ) -> float:
        """The length of a request head; a `path` stands for the profile's own target."""
        method = "GET" if length is None else "POST"
        query = dict(query or {})
        target = path or self.profile.target(kind, **query, t="")
        stamped = not path and target != self.profile.target(kind, **query, t="x")
        size = len(self.profile.request(kind, method, target, self.host, length=length, **fields))
        return size + self.stamp_bytes * stamped

    def entering(self, name: str) -> int:
        """The JSON of a `newUserConnect` (SPEC.md S2)."""
        return quoted({"name": name, "room": self.settings.room})

    def entered(self, name: str, present: Sequence[str], offset: int) -> int:
        """The JSON of its answer: `offset` is that of the join, `present` are all, it too."""
        epoch = "e" * EPOCH
        return quoted(
            {
                "session": "s" * SESSION,
                "name": name,
                "room": self.settings.room,
                "epoch": epoch,
                "head": offset,
                "since": f"{epoch}:{offset - 1}",
                "present": list(present),
                "lease_s": self.settings.lease_s,
                "quiet_s": self.quiet_s,
            }
        )

    def position(self, offset: int) -> str:
        """A position in the room's log."""
        return f"{'e' * EPOCH}:{offset}"


WEBSOCKETS = SERVER
"""What the server of `websockets` calls itself."""

SESSION_TOKEN = "s" * SESSION
SID_TOKEN = "s" * SID
KEY_TOKEN = "k" * UPGRADE_KEY
