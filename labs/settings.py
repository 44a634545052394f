"""Everything about a chat that can be configured: plain data, units in the names.

A server and a client read the same `Settings`; a *configuration* of a variant (say
`socketio-polling`) is a few of these values under a name of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from labs.errors import UsageError

POSITIVE = (
    "interval_s",
    "hold_s",
    "heartbeat_s",
    "timeout_s",
    "lease_s",
    "rate_per_s",
    "retention",
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The knobs of one chat server and of its clients. Raises `UsageError` for a bad value."""

    # The chat
    room: str = "lobby"
    retention: int = 1_000  # messages a room keeps; older ones become a gap
    lease_s: float = 10.0  # silence after which a lost client is announced as gone
    # The transports
    interval_s: float = 1.0  # polling: from the start of one poll to the start of the next
    hold_s: float = 25.0  # longpolling: how long a poll may wait for something to say
    heartbeat_s: float = 15.0  # streaming, websocket, socketio: the longest silence
    timeout_s: float = 10.0  # how long past that (or past any request) a peer counts as alive
    coalesce_ms: float | None = 0.0  # one flush per this window; 0 = one loop tick; None = off
    recycle_bytes: int = 8_388_608  # streaming: a response this long ends and is resumed
    recycle_s: float = 3_600.0  # streaming: so does one this old
    compress: bool = False  # permessage-deflate, or Content-Encoding on answers; no event stream
    path: str = "/socket.io"  # socketio: where Engine.IO lives, on both sides
    transports: tuple[str, ...] = ("polling", "websocket")  # socketio: in the order tried
    # The limits (SPEC.md section 8)
    name_chars: int = 32
    text_chars: int = 2_000
    body_bytes: int = 32_768  # one request body, frame or packet
    hard_bytes: int = 1_048_576  # past this the transport itself ends the exchange
    rate_per_s: float = 50.0  # requests a session may make, sustained
    rate_burst: int = 100  # ... and at once
    sessions: int = 10_000  # sessions a room
    rooms: int = 1_000
    connections: int = 20_000  # open connections an address
    stall_s: float = 15.0  # a connection that takes nothing for this long is a slow consumer
    drain_s: float = 5.0  # how long a stopping server waits for its clients to go
    allow_origins: tuple[str, ...] = ()  # origins other than the page's own
    page: str = ""  # a folder with a page of one's own, served in place of ours

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, int | float) and not 0 <= value < math.inf:
                raise UsageError(f"{name} is {value}; give a number from 0 up")
        for name in POSITIVE:
            if not getattr(self, name):
                raise UsageError(f"{name} is 0; give a positive number")
        if self.interval_s >= self.lease_s:
            raise UsageError(
                f"interval_s ({self.interval_s:g}) must be shorter than lease_s "
                f"({self.lease_s:g}), or pollers would be announced as gone between two polls"
            )
        unknown = set(self.transports) - {"polling", "websocket"}
        if unknown or not self.transports:
            raise UsageError(
                f"transports is {','.join(self.transports) or 'empty'}; "
                "give polling, websocket, or polling,websocket"
            )
        if self.page and not Path(self.page, "index.html").is_file():
            raise UsageError(f"page is {self.page!r}; give a folder with an index.html in it")
        if not self.path.startswith("/") or len(self.path) < 2:
            raise UsageError(f"path is {self.path!r}; give one like /socket.io")

    def but(self, **changes: object) -> Settings:
        """A copy with some values changed."""
        return replace(self, **changes)  # type: ignore[arg-type]
