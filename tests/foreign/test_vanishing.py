"""S6.3, S10.7: a client of Socket.IO that goes without a word is noticed in time, and once."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import ExitStack

import msgspec
import pytest

from labs.chat import Chat, Join, Message, Position
from labs.chat.messages import encode_batch
from labs.errors import ChatError
from tests.foreign.conftest import JS, Run, Serve
from tests.foreign.script import PATIENCE_S
from tests.hostile.raw import EngineIO

SHORT = {"heartbeat_s": 1.0, "timeout_s": 1.0, "lease_s": 0.5}
STATED_S = 1.0 + 1.0 + 0.5 * 1.1
"""S10.7 and S6.3: heartbeat_s + timeout_s, then the lease, a tenth of it late at most."""
SLACK_S = 5.0
"""What a busy machine may add; python-socketio alone would take half a minute longer."""


class Witness:
    """Somebody in the room who needs no network, and so cannot be lost."""

    def __init__(self, chat: Chat) -> None:
        self.seen: list[Message] = []
        self._news = asyncio.Event()
        self._session, joined = chat.join(Join("witness"))
        self._following = ExitStack()
        self._following.enter_context(
            self._session.room.follow(
                self._session, Position.parse(joined.since), encode_batch, self
            )
        )

    def full(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.seen += msgspec.json.decode(data, type=list[Message])
        self._news.set()

    async def drain(self) -> None:
        return

    def close(self, error: ChatError) -> None:
        self._news.set()

    async def hears(self, kind: str, name: str) -> Message:
        """Wait until somebody was announced."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for message in self.seen:
                    if (message.kind, message.name) == (kind, name):
                        return message
                self._news.clear()
                await self._news.wait()


async def noticed(witness: Witness, since_s: float) -> None:
    """Wait until alice has been announced as gone, which must not be early, nor late, nor twice."""
    left = await witness.hears("leave", "alice")
    took_s = left.at_ms / 1_000 - since_s
    assert SHORT["lease_s"] - 0.1 <= took_s <= STATED_S + SLACK_S
    others = [(one.kind, one.name) for one in witness.seen if one.name != "witness"]
    assert others == [("join", "alice"), ("leave", "alice")]


@pytest.mark.parametrize("transports", JS)
@pytest.mark.parametrize("end", ["SIGKILL", "SIGSTOP"])
async def test_S6_3_a_process_that_is_gone(
    serve: Serve, run: Run, transports: str, end: str
) -> None:
    """S6.3, S10.7: killed, which ends its connections, or stopped, which leaves them half-open."""
    server = await serve(**SHORT)
    witness = Witness(server.chat)
    alice = await run("rich.mjs", server.url, JS[transports], "alice")
    await alice.shows("joined")
    if transports == "default":
        await alice.shows("upgrade", "websocket")
    alice.send_signal(signal.Signals[end])
    await noticed(witness, time.time())


@pytest.mark.parametrize("polls", [0, 2])
async def test_S10_7_who_stops_polling(serve: Serve, polls: int) -> None:
    """S10.7: half-open by hand: the connection stays, but no poll comes any more."""
    server = await serve("socketio-polling", **SHORT)
    witness = Witness(server.chat)
    async with EngineIO(server.url, ("polling",)) as client:
        await client.open()
        await client.send("40", '42["newUserConnect",{"name":"alice"}]')
        for _ in range(polls):
            await client.send('427["sendMessage",{"text":""}]')
            assert "437" in "".join(await client.poll())
        await noticed(witness, time.time())


@pytest.mark.parametrize("transports", [("websocket",), ("polling", "websocket")])
async def test_S10_7_who_answers_no_ping(serve: Serve, transports: tuple[str, ...]) -> None:
    """S10.7: half-open by hand: the WebSocket stays, but no pong comes."""
    server = await serve(**SHORT)
    witness = Witness(server.chat)
    async with EngineIO(server.url, transports) as client:
        await client.connect()
        await client.send('427["newUserConnect",{"name":"alice"}]')
        assert "437" in await client.receive()
        await noticed(witness, time.time())


async def test_S10_7_who_polls_and_answers_stays(serve: Serve) -> None:
    """S10.7: no lease runs between two polls of one who comes back in time."""
    server = await serve("socketio-polling", heartbeat_s=1.0, timeout_s=10.0, lease_s=0.5)
    witness = Witness(server.chat)
    async with EngineIO(server.url, ("polling",)) as client:
        await client.connect()
        await client.send('427["newUserConnect",{"name":"alice"}]')
        pings = 0
        while pings < 2:
            pings += await client.receive_any() == "2"
        assert [(one.kind, one.name) for one in witness.seen[1:]] == [("join", "alice")]
        await client.send("41")
        await witness.hears("leave", "alice")
