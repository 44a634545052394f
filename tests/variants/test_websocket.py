"""What only a raw WebSocket has: close codes, pings, ids, and a page on the same port."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode, Frame, Opcode

from labs.chat import Message
from labs.pages import CONTENT_SECURITY_POLICY
from labs.variants import load
from tests.contract.town import QUICK, Person, Server
from tests.hostile.raw import PATIENCE_S

Serve = Callable[..., Awaitable[Server]]


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Serve]:
    """A function that serves the chat, with some settings changed."""
    async with AsyncExitStack() as running:

        async def start(**changes: object) -> Server:
            server = Server(load("websocket"), QUICK.but(**changes), None)
            await server.start()
            running.push_async_callback(server.stop)
            return server

        yield start


@pytest_asyncio.fixture
async def arrive() -> AsyncIterator[Callable[[Server, str], Awaitable[Person]]]:
    """A function that brings somebody in on our own client."""
    async with AsyncExitStack() as present:

        async def join(server: Server, name: str) -> Person:
            person = Person(server.variant, server.url, server.settings, name)
            await person.join()
            present.push_async_callback(person.leave)
            return person

        yield join


Arrive = Callable[[Server, str], Awaitable[Person]]


def address(server: Server) -> str:
    return "ws" + server.url.removeprefix("http")


async def say(socket: ClientConnection, event: str, **data: object) -> dict[str, Any]:
    """Send a frame with an id; answers the frame that has the same id."""
    await socket.send(json.dumps({"event": event, "data": data, "id": 9}))
    async with asyncio.timeout(PATIENCE_S):
        while True:
            down: dict[str, Any] = json.loads(await socket.recv())
            if "id" in down:
                assert down["id"] == 9
                return down


async def closed(socket: ClientConnection) -> tuple[int, str]:
    """Read to the end; answers the server's close code and reason."""
    with pytest.raises(ConnectionClosed) as ending:
        await _to_the_end(socket)
    assert ending.value.rcvd
    return ending.value.rcvd.code, ending.value.rcvd.reason


async def _to_the_end(socket: ClientConnection) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await socket.recv()


class TestCloseCodes:
    """S6.1, S9: who closes properly has left, and who is closed is told why."""

    @pytest.mark.parametrize("code", [1000, 1001, 1005])
    async def test_S6_1_a_goodbye(self, serve: Serve, arrive: Arrive, code: int) -> None:
        """S6.1: 1000, 1001 (a page that is left) and no code (`close()` in a browser)."""
        server = await serve(lease_s=600)
        bob = await arrive(server, "bob")
        socket = await connect(address(server), proxy=None)
        await say(socket, "newUserConnect", name="alice")
        if code == 1005:
            socket.transport.write(Frame(Opcode.CLOSE, b"").serialize(mask=True))
            await socket.wait_closed()
        else:
            await socket.close(code)
        await bob.notices("leave", "alice")

    @pytest.mark.parametrize("end", ["a reset", "1002", "1011", "4000"])
    async def test_S6_3_a_loss(self, serve: Serve, arrive: Arrive, end: str) -> None:
        """S6.3: anything else is a loss, which is announced when the lease ends."""
        server = await serve(lease_s=0.5)
        bob = await arrive(server, "bob")
        socket = await connect(address(server), proxy=None)
        await say(socket, "newUserConnect", name="alice")
        lost_s = time.time()
        if end == "a reset":
            socket.transport.abort()
        else:
            await socket.close(int(end))
        await bob.notices("leave", "alice")
        left: Message = bob.seen[-1]
        assert left.at_ms / 1_000 - lost_s >= 0.4

    async def test_S5_2_back_in_time(self, serve: Serve, arrive: Arrive) -> None:
        """S5.2: after a loss the same session comes back, and nobody notices."""
        server = await serve(lease_s=600)
        bob = await arrive(server, "bob")
        first = await connect(address(server), proxy=None)
        joined = (await say(first, "newUserConnect", name="alice"))["data"]
        first.transport.abort()
        async with connect(address(server), proxy=None) as second:
            again = await say(
                second,
                "newUserConnect",
                name="alice",
                session=joined["session"],
                since=f"{joined['epoch']}:{joined['head']}",
            )
            assert again["data"]["session"] == joined["session"]
            await say(second, "sendMessage", text="back")
            await bob.hears("back")
        assert [one.kind for one in bob.seen[:3]] == ["join", "join", "talk"]

    async def test_S5_5_replaced(self, serve: Serve) -> None:
        """S5.5, S9: 4410, the reason led by the code."""
        server = await serve()
        first = await connect(address(server), proxy=None)
        session = (await say(first, "newUserConnect", name="alice"))["data"]["session"]
        async with connect(address(server), proxy=None) as second:
            await say(second, "newUserConnect", name="alice", session=session)
            code, reason = await closed(first)
            assert (code, reason.partition(":")[0]) == (4410, "replaced")
            assert (await say(second, "sendMessage", text="me"))["event"] == "ack"

    async def test_S11_3_shutting_down(self, serve: Serve) -> None:
        """S11.3, S9: 1012 to everyone, those who have not joined too."""
        server = await serve()
        alice = await connect(address(server), proxy=None)
        await say(alice, "newUserConnect", name="alice")
        nobody = await connect(address(server), proxy=None)
        stopping = asyncio.create_task(server.stop())
        for socket in (alice, nobody):
            code, reason = await closed(socket)
            assert (code, reason.partition(":")[0]) == (CloseCode.SERVICE_RESTART, "shutting_down")
        await stopping

    async def test_S6_2_after_a_goodbye(self, serve: Serve, arrive: Arrive) -> None:
        """S6.1, S6.2: `disconnect` ends the session, not the connection, which may join again."""
        server = await serve(lease_s=600)
        bob = await arrive(server, "bob")
        async with connect(address(server), proxy=None) as socket:
            await say(socket, "newUserConnect", name="alice")
            assert (await say(socket, "disconnect"))["data"] == {}
            await bob.notices("leave", "alice")
            for event, data in (("sendMessage", {"text": "hi"}), ("disconnect", {})):
                assert (await say(socket, event, **data))["data"]["code"] == "unknown_session"
            await say(socket, "newUserConnect", name="alice")
            await bob.notices("join", "alice", times=2)


class TestFrames:
    """S9.2, S10.4: what frames look like, to the letter."""

    async def test_S10_4_the_shape(self, serve: Serve) -> None:
        """S10.4: no key that is not wanted, and Korean as UTF-8."""
        server = await serve()
        async with connect(address(server), proxy=None) as socket:
            await socket.send('{"event":"newUserConnect","data":{"name":"가"},"id":0}')
            ack = str(await socket.recv())
            assert ack.startswith('{"event":"ack","data":{"session":')
            assert ack.endswith(',"id":0}')
            assert '"present":["가"]' in ack
            batch = str(await socket.recv())
            assert batch.startswith('{"event":"updateMessage","data":[{"offset":1,"kind":"join",')
            await socket.send('{"event":"sendMessage","data":{"text":""}}')
            error = str(await socket.recv())
            assert error.startswith('{"event":"error","data":{"code":"bad_text","message":')
            assert '"id"' not in error

    async def test_S9_2_errors_have_the_id(self, serve: Serve) -> None:
        """S9.2: so that a client knows which of its frames it was."""
        server = await serve()
        async with connect(address(server), proxy=None) as socket:
            for number in (-1, 0, 7, 2**53):
                up = {"event": "sendMessage", "data": {"text": "hi"}, "id": number}
                await socket.send(json.dumps(up))
                down = json.loads(await socket.recv())
                assert (down["event"], down["id"]) == ("error", number)
                assert down["data"]["code"] == "unknown_session"


class TestLiveness:
    """S10.7: pings, by hand."""

    async def opened(self, server: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = server.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            "GET / HTTP/1.1",
            f"Host: {host}:{port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        join = b'{"event":"newUserConnect","data":{"name":"alice"}}'
        writer.write(Frame(Opcode.TEXT, join).serialize(mask=True))
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        return reader, writer

    async def frame(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        """The next frame of at most 65,535 B: its opcode and what it carries."""
        async with asyncio.timeout(PATIENCE_S):
            first, size = await reader.readexactly(2)
            if size == 126:
                size = int.from_bytes(await reader.readexactly(2))
            return first & 0x0F, await reader.readexactly(size)

    async def test_S10_7_a_peer_that_answers_no_ping(self, serve: Serve, arrive: Arrive) -> None:
        """S10.7: closed after heartbeat_s + timeout_s; S6.3: then the lease runs."""
        server = await serve(heartbeat_s=0.3, timeout_s=0.7, lease_s=0.5)
        bob = await arrive(server, "bob")
        reader, writer = await self.opened(server)
        began_s = time.time()
        opcodes = []
        while (frame := await self.frame(reader))[0] != Opcode.CLOSE:
            opcodes.append(frame[0])
        assert opcodes.count(Opcode.PING) == 1
        assert int.from_bytes(frame[1][:2]) == CloseCode.INTERNAL_ERROR
        noticed_s = time.time() - began_s
        assert noticed_s >= 0.6  # a ping after 0.3 s, half of the timeout for its pong
        await bob.notices("leave", "alice")
        assert bob.seen[-1].at_ms / 1_000 - began_s >= noticed_s + 0.4
        writer.close()

    async def test_S10_7_a_peer_that_answers_pings(self, serve: Serve, arrive: Arrive) -> None:
        """S10.7: who has nothing to say but pongs stays."""
        server = await serve(heartbeat_s=0.2, timeout_s=5.0, lease_s=0.5)
        bob = await arrive(server, "bob")
        reader, writer = await self.opened(server)
        for _ in range(5):
            while (frame := await self.frame(reader))[0] != Opcode.PING:
                pass
            writer.write(Frame(Opcode.PONG, frame[1]).serialize(mask=True))
        await bob.say("still there?")
        assert bob.count("leave", "alice") == 0
        writer.close()


class TestPage:
    """The page and its files come from the port of the WebSocket."""

    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("/", "text/html"),
            ("/?lang=ko", "text/html"),
            ("/client.js", "text/javascript"),
            ("/settings.json", "application/json"),
            ("/web/chat.css", "text/css"),
        ],
    )
    async def test_it_is_served_with_its_policy(self, serve: Serve, path: str, kind: str) -> None:
        server = await serve()
        async with aiohttp.ClientSession() as http:
            async with http.get(server.url + path) as response:
                body = await response.read()
                assert response.status == 200
                assert response.content_type == kind
                assert response.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert int(response.headers["Content-Length"]) == len(body) > 0
            async with http.head(server.url + path) as response:
                assert response.status == 200
                assert int(response.headers["Content-Length"]) == len(body)

    async def test_S8_7_too_many_connections(self, serve: Serve) -> None:
        """S8.7, S9: 429 before the upgrade, with `Retry-After`."""
        server = await serve(connections=1)
        async with connect(address(server), proxy=None) as socket:
            with pytest.raises(InvalidStatus) as refused:
                await connect(address(server), proxy=None)
            assert refused.value.response.status_code == 429
            assert int(refused.value.response.headers["Retry-After"]) >= 1
            assert json.loads(refused.value.response.body)["code"] == "rate_limited"
            assert (await say(socket, "newUserConnect", name="alice"))["event"] == "ack"
