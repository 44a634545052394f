"""What a chat over an event stream weighs (WHATWG HTML section 9.2, RFC 9112 section 7.1).

Up it is requests, as in `requests`. Down it is one response, whose body goes on:

    handshake   GET head; response head; one chunk: retry: 1000, and an empty line
    steady      one chunk a batch: size in hexadecimal, CR LF, the event, CR LF
    heartbeat   one chunk with a comment: a colon and an empty line

An event has the lines `event: updateMessage`, `id: epoch:offset` and `data: batch`, and an empty
line. What `data` holds is envelope and text; the rest of the event is framing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from labs.bench.prediction.requests import Requests
from labs.bench.prediction.tally import (
    ARRAY,
    SESSION_TOKEN,
    Said,
    Scene,
    Tally,
    batch,
    response,
)

HEADERS = (
    "Content-Type: text/event-stream",
    "Cache-Control: no-store",
    "X-Accel-Buffering: no",
    "Transfer-Encoding: chunked",
)
RETRY = len("retry: 1000\n\n")
COMMENT = len(":\n\n")


def chunk(size: int) -> int:
    """The framing of a chunk of so many bytes."""
    return len(f"{size:x}") + 2 * len("\r\n")


@dataclass(frozen=True)
class Streams:
    """The parts of streaming."""

    scene: Scene
    around: ClassVar[int] = ARRAY

    def handshake(self, name: str, present: Sequence[str], offset: int) -> Tally:
        """The join, then the stream."""
        place = self.scene.position(offset - 1)
        query = {"session": SESSION_TOKEN, "since": place}
        up = self.scene.head("stream", query=query, last_event_id=place)
        tally = Requests(self.scene).handshake(name, present, offset)
        tally.requests += 1
        tally.add("up", "handshake", http_head=up)
        head = response("200 OK", *HEADERS)
        return tally.add("down", "handshake", http_head=head, chunk=chunk(RETRY), framing=RETRY)

    def send(self, said: Sequence[Said]) -> Tally:
        """As over any requests."""
        return Requests(self.scene).send(said)

    def delivery(self, said: Sequence[Said]) -> Tally:
        """One batch to one client."""
        around, text = batch(said)
        place = self.scene.position(said[-1].offset)
        framing = len(f"event: updateMessage\nid: {place}\ndata: \n\n")
        size = framing + around + text
        return Tally().add(
            "down", "steady", chunk=chunk(size), framing=framing, envelope=around, text=text
        )

    def heartbeat(self) -> Tally:
        """One comment."""
        return Tally().add("down", "heartbeat", chunk=chunk(COMMENT), framing=COMMENT)

    @property
    def period_s(self) -> float:
        """From one heartbeat to the next, whatever is said between."""
        return self.scene.settings.heartbeat_s
