"""A server of each variant with a witness in the room, who must not notice a thing."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from labs.chat import Chat, Message
from labs.settings import Settings
from labs.variants import VARIANTS, Variant, load
from tests.hostile.attacker import Attacker, OverHttp, OverSocketIO, OverWebSocket
from tests.hostile.raw import PATIENCE_S

SETTINGS = Settings(
    interval_s=0.02,
    hold_s=5,
    heartbeat_s=1,
    timeout_s=10,
    drain_s=0.5,
    rate_per_s=1e6,
    rate_burst=1_000_000,
)
ADAPTERS: dict[str, Callable[[str, Settings], Attacker]] = {
    "websocket_chat": OverWebSocket,
    "socketio_chat": OverSocketIO,
}
LASTING = ("streaming", "websocket_chat", "socketio_chat")
"""The packages whose clients have one connection for as long as nothing goes wrong."""


class Witness:
    """A client of ours that is in the room all the time."""

    def __init__(self, variant: Variant, chat: Chat, url: str) -> None:
        self._variant, self._chat = variant, chat
        self._client: Any = variant.client(url, chat.settings)
        self._said: list[Message] = []
        self._heard = asyncio.Condition()

    async def arrive(self) -> None:
        """Join, and listen."""
        self._joined = await self._client.connect("witness")
        self._listening = asyncio.create_task(self._listen())
        await self.hears()
        session = self._chat.session(self._joined.session)
        self.room, self._cursor = session.room, session.cursor

    async def hears(self) -> None:
        """Say something and see it come down; everything before it has come too, once, in order."""
        offset = await self._client.send("Is everybody well?")
        async with asyncio.timeout(PATIENCE_S), self._heard:
            await self._heard.wait_for(lambda: self._said and self._said[-1].offset >= offset)
        first = self._said[0].offset
        assert [one.offset for one in self._said] == list(range(first, first + len(self._said)))

    async def undisturbed(self) -> None:
        """Still the same session on the same connection, and still talking."""
        await self.hears()
        session = self._chat.session(self._joined.session)
        assert self._client._joined is self._joined, "the witness had to join again"
        assert self._client.state == "open"
        if self._variant.package in LASTING:
            assert session.cursor is self._cursor, "the witness had to reconnect"

    async def leave(self) -> None:
        """Go, having heard to the end."""
        await self._client.close()
        await self._listening

    async def _listen(self) -> None:
        async for message in self._client.messages():
            async with self._heard:
                self._said.append(message)
                self._heard.notify_all()


class Site:
    """A server, its witness, and those who come to disturb."""

    def __init__(self, variant: Variant, chat: Chat, url: str, witness: Witness) -> None:
        self.variant, self.chat, self.url, self.witness = variant, chat, url, witness
        self.failures: list[str] = []
        self._names = (f"attacker{number}" for number in itertools.count())
        asyncio.get_running_loop().set_exception_handler(self._fail)

    def attacker(self) -> Attacker:
        """Somebody new."""
        return ADAPTERS.get(self.variant.package, OverHttp)(self.url, self.chat.settings)

    def name(self) -> str:
        """A name nobody has had."""
        return next(self._names)

    @property
    def head(self) -> int:
        """How much has been said in the witness's room."""
        return self.witness.room.log.head

    def _fail(self, _: object, context: dict[str, Any]) -> None:
        self.failures.append(repr(context))


def lasting(task: asyncio.Task[Any]) -> bool:
    """Whether a task should have ended with the server."""
    # The library's next ping stays due for a heartbeat after its connection has gone.
    due = getattr(task.get_coro(), "__name__", "") == "_send_ping"
    return not due and task is not asyncio.current_task()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=VARIANTS)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A server that runs through all tests of a module; what it leaves behind is looked for."""
    before = asyncio.all_tasks()
    variant = load(request.param)
    chat = variant.chat(variant.settings(SETTINGS))
    async with variant.serve(chat, "127.0.0.1", 0) as url:
        witness = Witness(variant, chat, url)
        await witness.arrive()
        site = Site(variant, chat, url, witness)
        yield site
        await witness.leave()
    if left := set(filter(lasting, asyncio.all_tasks() - before)):
        _, pending = await asyncio.wait(left, timeout=PATIENCE_S)
        assert not pending, f"left running: {pending}"
    assert not site.failures


@pytest_asyncio.fixture(loop_scope="module")
async def attacker(site: Site) -> AsyncIterator[Attacker]:
    """Somebody who has just opened a connection."""
    attacker = site.attacker()
    await attacker.arrive()
    yield attacker
    await attacker.go()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nobody_noticed(site: Site, caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """After each test: the witness is where it was, and the log is empty."""
    caplog.set_level(logging.WARNING)
    yield
    await site.witness.undisturbed()
    assert [record.getMessage() for record in caplog.get_records("call")] == []
    assert site.failures == []
