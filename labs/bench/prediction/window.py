"""A window as the models see it: its rooms, what is due in it, what it is found to weigh.

Beside it the protocols that the parts of a transport follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Protocol

import msgspec

from labs.bench.prediction.tally import Said, Tally


class Counts(msgspec.Struct):
    """What the bytes of a window rest on, all clients together; parts where it is expected.

    `polls` are answers to polls, `polls_with_news` those that brought a batch or an ack.
    `batches` are handed out, one client counting each; `heartbeats` are pings, comments, and
    polls that brought nothing.
    """

    messages: float = 0
    deliveries: float = 0
    requests: float = 0
    polls: float = 0
    polls_with_news: float = 0
    batches: float = 0
    acks: float = 0
    heartbeats: float = 0


@dataclass(frozen=True)
class Room:
    """One room in a window: its clients by number, what they say, the log's head before."""

    members: Sequence[int]
    said: Sequence[Said]
    head: int


@dataclass
class Window:
    """What passes in a window of `length_s`.

    `due_s` says when each client's first poll, heartbeat or end of a held poll is due, None where
    that is unknown. `sending` and `delivering` take polls whole, with the request that asked.
    """

    length_s: float
    due_s: Sequence[float | None]
    age_s: float
    tally: Tally = field(default_factory=Tally)
    sending: Tally = field(default_factory=Tally)  # of it all, what the messages' senders cost
    delivering: Tally = field(default_factory=Tally)  # ... and handing them out
    counts: Counts = field(default_factory=Counts)

    def first_s(self, client: int, period_s: float) -> float:
        """When something is due that happens every period, the first a period after the join."""
        due_s = self.due_s[client]
        return period_s - self.age_s % period_s if due_s is None else due_s

    def times(self, due_s: float, period_s: float) -> int:
        """How often it happens, if it is due then."""
        return max(0, ceil((self.length_s - due_s) / period_s))


class Parts(Protocol):
    """What every transport has; `around` is the envelope of a batch without messages."""

    around: int

    def handshake(self, name: str, present: Sequence[str], offset: int) -> Tally:
        """One client opens the transport and joins, its join being at `offset`."""

    def send(self, said: Sequence[Said]) -> Tally:
        """Messages of one sender at one instant, and what answers them there and then."""


class Pushed(Parts, Protocol):
    """A transport on which the server speaks when it likes."""

    @property
    def period_s(self) -> float:
        """From one heartbeat to the next."""

    def delivery(self, said: Sequence[Said]) -> Tally:
        """One batch to one client."""

    def heartbeat(self) -> Tally:
        """Everything of one heartbeat."""


class Held(Parts, Protocol):
    """A transport on which a poll waits for something to say."""

    renewed: bool

    @property
    def period_s(self) -> float:
        """From one end without news to the next."""

    def ask(self, since: int, phase: str) -> Tally:
        """The request of a poll."""

    def answers(self, said: Sequence[Said], own: Sequence[Said]) -> list[Tally]:
        """The answers that hand out what was said at one moment, some of it by this client."""

    def idle(self) -> Tally:
        """The answer that ends a period."""

    def idle_after(self) -> Tally:
        """What the client does about it besides its next poll."""
