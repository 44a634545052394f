"""A room's log: append-only, offsets 1, 2, 3 ..., the last `retention` messages kept."""

from __future__ import annotations

import secrets
import time

from labs.chat.messages import Batch, Kind, Message, Position

LOST = -1
"""The offset of a place that is in no log of ours: reading from it begins with a gap."""


class Log:
    """Messages in order, and the idempotency keys under which they were said.

    `epoch` names this life of the log: a log that was lost and began again has another, so
    that an old offset is never taken for a new one.
    """

    def __init__(self, retention: int) -> None:
        self.retention = retention
        self.epoch = secrets.token_hex(4)
        self.head = 0
        self._kept: list[Message] = []
        self._keys: dict[tuple[str, str], int] = {}

    @property
    def first(self) -> int:
        """The oldest offset that can still be read (`head + 1` in an empty log)."""
        return max(1, self.head - self.retention + 1)

    def append(self, kind: Kind, name: str, text: str) -> int:
        """Add a message and answer its offset."""
        self.head += 1
        self._kept.append(Message(self.head, kind, name, text, time.time_ns() // 1_000_000))
        if len(self._kept) >= 2 * self.retention:
            del self._kept[: -self.retention]
        return self.head

    def remember(self, session: str, key: str, offset: int) -> None:
        """Keep the offset said under a key, for as long as that message is kept."""
        self._keys[session, key] = offset
        for oldest in list(self._keys):
            if self._keys[oldest] >= self.first:
                break
            del self._keys[oldest]

    def recall(self, session: str, key: str) -> int | None:
        """The offset said under this key before, if it was."""
        return self._keys.get((session, key))

    def locate(self, position: Position) -> int:
        """A client's place as an offset of this log, `LOST` if it is a place in no log of ours."""
        foreign = position.epoch is not None and position.epoch != self.epoch
        return LOST if foreign or position.offset > self.head else position.offset

    def read(self, since: int, limit: int | None = None) -> Batch:
        """What follows offset `since`, at most `limit` messages, led by a gap if some are gone."""
        gap: list[Message] = []
        if since < self.first - 1:
            since = self.first - 1
            gap.append(Message(since, "gap", "", self.epoch, time.time_ns() // 1_000_000))
        start = len(self._kept) - (self.head - since)
        end = len(self._kept) if limit is None else start + limit
        return Batch(self.epoch, gap + self._kept[start:end])
