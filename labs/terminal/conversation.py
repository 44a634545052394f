"""One person's conversation: lines go up, messages come down, until either ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from labs.chat import Joined, Message
from labs.errors import ChatError
from labs.running import stop_signals
from labs.variants import Client


class Conversation:
    """Speaks every line of `source` over `client`, and hands on what comes of it.

    `greet` is called once with the answer to the join, `tell` with every message,
    `complain` with the sentence of every refusal.
    """

    def __init__(
        self,
        client: Client,
        source: AsyncIterator[str],
        greet: Callable[[Joined], None],
        tell: Callable[[Message], None],
        complain: Callable[[str], None],
    ) -> None:
        self._client, self._source = client, source
        self._greet, self._tell, self._complain = greet, tell, complain
        self._joined = False
        self._seen = asyncio.Condition()
        self._seen_offset = 0
        self._owed_offset = 0  # the last of our own messages, which is still to come down

    async def run(self, name: str) -> None:
        """Join as `name`; leave when the source has ended and been heard, or at a signal.

        Raises `ChatError` when the server ends it, `OSError` when nobody answers.
        """
        with stop_signals() as stop:
            talking = asyncio.create_task(self._talk(name))
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({talking, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            talking.cancel()
            try:
                with suppress(asyncio.CancelledError):
                    await talking
            finally:
                if self._joined:  # a client that could not join has cleaned up already
                    await self._client.close()

    async def _talk(self, name: str) -> None:
        joined = await self._client.connect(name)
        self._joined = True
        self._greet(joined)
        try:
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self._listen())
                await self._speak()
                listening.cancel()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _speak(self) -> None:
        async for line in self._source:
            if not line:
                continue
            try:
                self._owed_offset = await self._client.send(line)
            except ChatError as error:
                self._complain(error.message)
        async with self._seen:
            await self._seen.wait_for(lambda: self._seen_offset >= self._owed_offset)

    async def _listen(self) -> None:
        async for message in self._client.messages():
            self._tell(message)
            async with self._seen:
                self._seen_offset = message.offset
                if message.kind == "gap":  # ours may be among what is lost
                    self._owed_offset = 0
                self._seen.notify_all()
