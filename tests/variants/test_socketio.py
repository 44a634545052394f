"""What only Socket.IO has: Engine.IO's sessions, polls and upgrades, done right and done wrong."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from websockets.exceptions import InvalidStatus

from labs.variants import load
from tests.contract.town import QUICK, Person, Server
from tests.hostile.attacker import code_of
from tests.hostile.raw import PATIENCE_S, EndedError, EngineIO, RefusedError

POLLING = ("polling",)
BOTH = ("polling", "websocket")

Serve = Callable[..., Awaitable[Server]]
Arrive = Callable[[Server], Awaitable[Person]]
Dial = Callable[..., Awaitable[EngineIO]]


@pytest_asyncio.fixture
async def serve(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Serve]:
    """A function that serves the chat; at the end nothing has failed unseen."""
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    caplog.set_level(logging.WARNING)
    async with AsyncExitStack() as running:

        async def start(**changes: object) -> Server:
            server = Server(load("socketio"), QUICK.but(**changes), None)
            await server.start()
            running.push_async_callback(server.stop)
            return server

        yield start
    assert failures == []
    assert [record.getMessage() for record in caplog.get_records("call")] == []


@pytest_asyncio.fixture
async def arrive(serve: Serve) -> AsyncIterator[Arrive]:
    """A function that brings bob in, who watches."""
    async with AsyncExitStack() as present:

        async def join(server: Server) -> Person:
            bob = Person(server.variant, server.url, server.settings, "bob")
            await bob.join()
            present.push_async_callback(bob.leave)
            return bob

        yield join


@pytest_asyncio.fixture
async def dial(serve: Serve) -> AsyncIterator[Dial]:
    """A function that brings alice in by hand."""
    async with AsyncExitStack() as lines:

        async def join(server: Server, transports: tuple[str, ...]) -> EngineIO:
            alice = await lines.enter_async_context(EngineIO(server.url, transports))
            await alice.connect()
            await alice.send('421["newUserConnect",{"name":"alice"}]')
            assert (await alice.receive()).startswith("431[{")
            return alice

        yield join


async def hears(alice: EngineIO, text: str) -> None:
    """Wait until this has come down."""
    while f'"text":"{text}"' not in await alice.receive():
        pass


class TestSessions:
    """Engine.IO's sessions, which end by themselves and by a word."""

    async def test_S9_1_there_is_no_such_session(self, serve: Serve) -> None:
        """S9.1: polls, posts and upgrades of a session that is not there, or has ended."""
        server = await serve()
        async with EngineIO(server.url, POLLING) as alice:
            await alice.connect()
            await alice.send("1")
            for sid in (alice.sid, "nobody", "\ufffd", "x" * 1_000):
                alice.sid = sid
                for request in (alice.poll(), alice.post(b"3")):
                    with pytest.raises(RefusedError) as refused:
                        await request
                    error = json.loads(refused.value.body)
                    assert code_of(error, refused.value.status) == "unknown_session"
                with pytest.raises(InvalidStatus) as upgrade:
                    await alice.open_socket()
                assert upgrade.value.response.status_code == 404

    async def test_S6_1_the_packet_disconnect(
        self, serve: Serve, arrive: Arrive, dial: Dial
    ) -> None:
        """S6.1, S10.5: it is the goodbye; after it one may connect and join again."""
        server = await serve(lease_s=600)
        bob = await arrive(server)
        alice = await dial(server, POLLING)
        await alice.send("41")
        await bob.notices("leave", "alice")
        await alice.send("40", '422["newUserConnect",{"name":"alice"}]')
        await bob.notices("join", "alice", times=2)
        await bob.say("again")
        await hears(alice, "again")

    @pytest.mark.parametrize("transports", [POLLING, BOTH, ("websocket",)])
    async def test_S6_3_engine_io_s_close_is_no_goodbye(
        self, serve: Serve, arrive: Arrive, dial: Dial, transports: tuple[str, ...]
    ) -> None:
        """S6.3: it ends the connection, as a cut does; S5.2: who comes back was never away."""
        server = await serve(lease_s=600, timeout_s=2.0)
        bob = await arrive(server)
        alice = await dial(server, transports)
        await alice.send("1")
        with pytest.raises((EndedError, RefusedError)):
            await hears(alice, "nothing any more")
        await bob.say("anybody?")
        assert bob.count("leave", "alice") == 0
        assert server.session(bob.joined).room.presence.names() == ["bob", "alice"]


class TestPolls:
    """HTTP long polling, as Engine.IO has it."""

    async def test_two_polls_at_once(self, serve: Serve, arrive: Arrive, dial: Dial) -> None:
        """S9: a client's own mistake; both are answered, and its silence is noticed but once."""
        server = await serve(timeout_s=1.0, lease_s=0.5)
        bob = await arrive(server)
        alice = await dial(server, POLLING)
        polls = [asyncio.create_task(alice.poll()) for _ in range(3)]
        for number in range(3):
            await bob.say(f"poll {number}")
        async with asyncio.timeout(PATIENCE_S):
            answers = await asyncio.gather(*polls)
        assert all(answers)
        await bob.notices("leave", "alice")
        assert bob.count("leave", "alice") == 1


class TestUpgrades:
    """From polling to a WebSocket, and what may go wrong on the way."""

    @pytest.mark.parametrize("first", [None, "", "zzz", "2", "5", "2probe?", '42["x"]', b"2probe"])
    async def test_S1_1_that_fails(
        self, serve: Serve, arrive: Arrive, dial: Dial, first: str | bytes | None
    ) -> None:
        """S1.1: a proxy lets the WebSocket open and no further: polling goes on as it was."""
        server = await serve()
        bob = await arrive(server)
        alice = await dial(server, POLLING)
        socket = await alice.open_socket()
        if first is None:
            socket.transport.abort()
        else:
            await socket.send(first)
        await socket.wait_closed()
        await bob.say("after the attempt")
        await hears(alice, "after the attempt")
        await alice.upgrade()
        await bob.say("after the upgrade")
        await hears(alice, "after the upgrade")
        assert bob.count("join", "alice") == 1

    async def test_S1_1_that_is_given_up(self, serve: Serve, arrive: Arrive, dial: Dial) -> None:
        """S1.1: probed, but not carried out: what came meanwhile comes by polling."""
        server = await serve()
        bob = await arrive(server)
        alice = await dial(server, POLLING)
        socket = await alice.open_socket()
        await socket.send("2probe")
        assert await socket.recv() == "3probe"
        await bob.say("meanwhile")
        assert await alice.poll() == ["6"]
        await socket.close()
        await hears(alice, "meanwhile")

    async def test_S9_that_has_been_done(self, serve: Serve, arrive: Arrive, dial: Dial) -> None:
        """S9.1: a session has one WebSocket, and no polls beside it."""
        server = await serve()
        bob = await arrive(server)
        alice = await dial(server, BOTH)
        with pytest.raises(InvalidStatus) as second:
            await alice.open_socket()
        assert code_of(json.loads(second.value.response.body), 400) == "bad_request"
        for request in (alice.poll(), alice.post(b"41")):
            with pytest.raises(RefusedError) as refused:
                await request
            error = json.loads(refused.value.body)
            assert code_of(error, refused.value.status) == "bad_request"
        await bob.say("still there")
        await hears(alice, "still there")
