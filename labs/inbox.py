"""The client's end of the cursor: what has come down, each once, in order; and when to retry.

Every Python client has one `Inbox`, which knows where to resume, and one `Backoff`.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar

from labs.chat import Joined, Message, Position
from labs.errors import ChatError, LabError

AHEAD_MESSAGES = 1_000
"""How far a reader may fall behind before its connection is no longer read."""


class HoleError(ConnectionError):
    """An offset was skipped without a gap: the connection is not to be trusted; resume."""


class Inbox:
    """Messages on their way to the reader. Drops what came before, refuses holes.

    `position` is where to resume; `duplicates` counts messages that came again.
    """

    def __init__(self) -> None:
        self.position = ""
        self.duplicates = 0
        self._epoch = ""
        self._offset = 0
        self._waiting: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._space = asyncio.Event()
        self._ended = False
        self._error: ChatError | None = None

    def start(self, joined: Joined) -> None:
        """Take the position of the first join; on a later one the place stays what it was."""
        if not self.position:
            position = Position.parse(joined.since)
            self._seen(position.epoch or joined.epoch, position.offset)

    async def put(self, batch: Sequence[Message]) -> None:
        """Take a batch off the wire; raises `HoleError` when messages are missing from it."""
        for message in batch:
            # First of all, for what is known may change meanwhile: a new connection may put too.
            while len(self._waiting) >= AHEAD_MESSAGES:
                self._space.clear()
                await self._space.wait()
            if message.kind == "gap":
                self._epoch = message.text
            elif message.offset <= self._offset:
                self.duplicates += 1
                continue
            elif message.offset != self._offset + 1:
                raise HoleError(f"after {self._offset} came {message.offset}")
            self._seen(self._epoch, message.offset)
            self._waiting.append(message)
            self._arrived.set()

    def end(self, error: ChatError | None = None) -> None:
        """Nothing more will come; the reader gets what is left, then this error."""
        self._ended, self._error = True, error
        self._arrived.set()

    def check_open(self) -> None:
        """Raises the error that ended it, or a `LabError` if the client was closed."""
        if self._ended:
            raise self._error or LabError("this client is closed; make a new one")

    async def messages(self) -> AsyncIterator[Message]:
        """Give the messages out, until the end."""
        while True:
            while self._waiting:
                self._space.set()
                yield self._waiting.popleft()
            if self._ended:
                break
            self._arrived.clear()
            await self._arrived.wait()
        if self._error:
            raise self._error

    def _seen(self, epoch: str, offset: int) -> None:
        self._epoch, self._offset = epoch, offset
        self.position = f"{epoch}:{offset}"


class Backoff:
    """Waiting times that grow twofold, with full jitter, so that a herd spreads out.

    Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    `waits` counts, for this process, after which errors it was waited: a code of the chat, or "".
    """

    waits: ClassVar[Counter[str]] = Counter()

    def __init__(self, first_s: float = 0.2, most_s: float = 10.0) -> None:
        self.first_s = first_s
        self._most_s = most_s
        self._tries = 0

    def reset(self) -> None:
        """The last try went well."""
        self._tries = 0

    async def after(self, error: Exception) -> None:
        """Wait before the next try, never for nothing; raises an error no try can mend."""
        if isinstance(error, ChatError) and not error.wire.retry:
            raise error
        asked_s = (error.retry_after_s or 0.0) if isinstance(error, ChatError) else 0.0
        bound_s = min(self._most_s, self.first_s * 2 ** min(self._tries, 30))
        self._tries += 1
        self.waits[error.code if isinstance(error, ChatError) else ""] += 1
        await asyncio.sleep(asked_s + max(0.01, random.uniform(0, bound_s)))


def new_key() -> str:
    """An idempotency key nobody else will choose."""
    return secrets.token_urlsafe(12)
