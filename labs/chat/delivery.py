"""Delivery: one flush per tick moves every cursor that can move, and encodes once per group.

An append writes to nobody; it schedules a flush. The flush groups the cursors that stand at
the same offset, frames what follows once, and hands the same bytes to each connection of the
group. A connection that cannot take them is left where it stands: lagging costs nothing, and
it goes on when it has drained. There is no queue per client and no task per message.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Protocol

from labs.chat.log import Log
from labs.chat.messages import Batch
from labs.errors import ChatError
from labs.settings import Settings

BATCH_MESSAGES = 100
"""The most messages one pushed frame carries: a client far behind catches up in pieces."""

Frame = Callable[[Batch], bytes]


class Sink(Protocol):
    """A connection as delivery sees it."""

    def full(self) -> bool:
        """Whether its write buffer is full, or it cannot be written to yet."""

    def write(self, data: bytes) -> None:
        """Take these bytes, without waiting."""

    async def drain(self) -> None:
        """Wait until it can be written to again; raises `OSError` if it is gone."""

    def close(self, error: ChatError) -> None:
        """Tell the client why, and end the connection."""


class Cursor:
    """A connection's place in a room's log: everything up to `offset` was handed to `sink`.

    `limit` bounds the messages of one frame (None: all there are).
    """

    __slots__ = ("draining", "frame", "limit", "offset", "sink")

    def __init__(
        self, offset: int, frame: Frame, sink: Sink, limit: int | None = BATCH_MESSAGES
    ) -> None:
        self.offset = offset
        self.frame = frame
        self.sink = sink
        self.limit = limit
        self.draining: asyncio.Task[None] | None = None


class Delivery:
    """The cursors of one room, and the flush that moves them."""

    def __init__(self, log: Log, settings: Settings) -> None:
        self._log = log
        self._window_ms = settings.coalesce_ms
        self._stall_s = settings.stall_s
        self._cursors: set[Cursor] = set()
        self._scheduled: asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._cursors)

    def add(self, cursor: Cursor) -> None:
        """Start moving a cursor; if it is behind, it moves at the next tick."""
        self._cursors.add(cursor)
        if cursor.offset != self._log.head:
            self._soon(0)

    def discard(self, cursor: Cursor) -> None:
        """Stop moving a cursor."""
        self._cursors.discard(cursor)
        if cursor.draining:
            cursor.draining.cancel()

    def appended(self) -> None:
        """The log has grown: flush at the end of the window, or now if coalescing is off."""
        if not self._cursors:
            return
        if self._window_ms is None:
            self.flush()
        else:
            self._soon(self._window_ms / 1_000)

    def flush(self) -> bool:
        """Move every cursor that is behind and can be written to; answers whether any was."""
        self._scheduled = None
        groups: defaultdict[tuple[int, Frame, int | None], list[Cursor]] = defaultdict(list)
        for cursor in self._cursors:
            if cursor.offset == self._log.head:
                continue
            if cursor.sink.full():
                self._await_drain(cursor)
            else:
                groups[cursor.offset, cursor.frame, cursor.limit].append(cursor)
        for (offset, frame, limit), cursors in groups.items():
            self._move(cursors, self._log.read(offset, limit), frame, limit)
        return bool(groups)

    def _move(self, cursors: list[Cursor], batch: Batch, frame: Frame, limit: int | None) -> None:
        frames = [frame(piece) for piece in self._pieces(batch, limit)]
        end = batch.end.offset
        for cursor in cursors:
            for data in frames:
                cursor.sink.write(data)
            cursor.offset = end
        if end < self._log.head:
            self._soon(0)

    def _pieces(self, batch: Batch, limit: int | None) -> list[Batch]:
        # Who takes all there is takes it once, coalesced or not: a poll has one answer.
        if self._window_ms is not None or limit is None:
            return [batch]
        return [Batch(batch.epoch, [message]) for message in batch.messages]

    def _soon(self, delay_s: float) -> None:
        if self._scheduled is None:
            loop = asyncio.get_running_loop()
            self._scheduled = (
                loop.call_later(delay_s, self.flush) if delay_s else loop.call_soon(self.flush)
            )

    def _await_drain(self, cursor: Cursor) -> None:
        if cursor.draining is None:
            cursor.draining = asyncio.get_running_loop().create_task(self._drain(cursor))

    async def _drain(self, cursor: Cursor) -> None:
        try:
            async with asyncio.timeout(self._stall_s):
                await cursor.sink.drain()
        except TimeoutError:
            seconds = f"{self._stall_s:g} s"
            cursor.sink.close(
                ChatError("slow_consumer", f"nothing was read for {seconds}; come back and resume")
            )
        except OSError:
            return  # The connection's own handler sees the loss and discards the cursor.
        finally:
            cursor.draining = None
        if cursor in self._cursors:
            self._soon(0)
