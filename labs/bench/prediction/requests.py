"""What a chat over HTTP requests weighs: polling, long polling, and streaming's way up.

A command is a POST, answered at once (SPEC.md S10.1):

    up      head + {"name":…,"room":…}                    join
            head + {"text":…,"key":…,"session":…}         steady
    down    head + the answer's JSON

A poll is a GET of /updateMessage?session=…&since=…:

    up      head, which grows with the digits of `since`
    down    200, head + [message,message…]                steady
            204, head alone                               heartbeat, its request head too
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from labs.bench.prediction.tally import (
    ARRAY,
    SESSION_TOKEN,
    Said,
    Scene,
    Tally,
    accepted,
    batch,
    command,
    response,
)

JSON = ("Cache-Control: no-store", "Content-Type: application/json")


@dataclass(frozen=True)
class Requests:
    """The parts of polling and long polling."""

    scene: Scene
    around: ClassVar[int] = ARRAY

    def handshake(self, name: str, present: Sequence[str], offset: int) -> Tally:
        """There is no transport to open: a handshake is the join."""
        up, down = self.scene.entering(name), self.scene.entered(name, present, offset)
        tally = Tally(requests=1)
        tally.add(
            "up",
            "join",
            http_head=self.scene.head("command", "/newUserConnect", up),
            envelope=up,
        )
        return tally.add(
            "down", "join", http_head=response("200 OK", *JSON, length=down), envelope=down
        )

    def send(self, said: Sequence[Said]) -> Tally:
        """Messages of one sender at one instant: a request each."""
        tally = Tally()
        for one in said:
            tally.take(self._send(one))
        return tally

    def _send(self, said: Said) -> Tally:
        around, text = command(said, session=True)
        head = self.scene.head("command", "/sendMessage", around + text)
        down = accepted(said.offset)
        tally = Tally(requests=1).add("up", "steady", http_head=head, envelope=around, text=text)
        return tally.add(
            "down", "steady", http_head=response("200 OK", *JSON, length=down), envelope=down
        )

    def ask(self, since: int, phase: str) -> Tally:
        """The request of a poll by a client that has seen everything up to `since`."""
        query = {"session": SESSION_TOKEN, "since": self.scene.position(since)}
        return Tally(requests=1).add("up", phase, http_head=self.scene.head("poll", query=query))

    def bring(self, around: int, text: int) -> Tally:
        """An answer with a batch of so much envelope and text."""
        head = response("200 OK", *JSON, length=around + text)
        return Tally().add("down", "steady", http_head=head, envelope=around, text=text)

    def nothing(self) -> Tally:
        """An answer with nothing: 204 (RFC 9110 section 15.3.5)."""
        return Tally().add(
            "down", "heartbeat", http_head=response("204 No Content", "Cache-Control: no-store")
        )


class LongPolls(Requests):
    """The parts of long polling: the same, but a poll waits, and ends at last with nothing."""

    renewed = True
    """Whether every answer begins the period anew."""

    @property
    def period_s(self) -> float:
        """How long a poll waits."""
        return self.scene.settings.hold_s

    def answers(self, said: Sequence[Said], own: Sequence[Said]) -> list[Tally]:
        """What is handed out at one moment: one batch. An ack has come by its POST."""
        return [self.bring(*batch(said))]

    def idle(self) -> Tally:
        """The end of a poll that waited for nothing."""
        return self.nothing()

    def idle_after(self) -> Tally:
        """The client does no more than ask again."""
        return Tally()
