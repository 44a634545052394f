"""S9.2, S10.4: what is no frame of ours, and what is no frame at all."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.hostile.attacker import OverSocketIO, OverWebSocket, code_of
from tests.hostile.conftest import Site
from tests.hostile.raw import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="module")
on_websocket = pytest.mark.parametrize("site", ["websocket"], indirect=True, scope="module")
on_sockets = pytest.mark.parametrize(
    "site", ["websocket", "socketio", "socketio-websocket"], indirect=True, scope="module"
)

MALFORMED = {
    "empty": b"",
    "no JSON": b"hello",
    "an array": b"[]",
    "a string": b'"sendMessage"',
    "no event": b'{"data":{"text":"hi"}}',
    "a number for an event": b'{"event":5,"data":{"text":"hi"}}',
    "null for an event": b'{"event":null}',
    "an empty event": b'{"event":""}',
    "an unknown event": b'{"event":"nobodyKnowsThis","data":{}}',
    "an event of the server": b'{"event":"updateMessage","data":[]}',
    "an ack": b'{"event":"ack","id":1,"data":{}}',
    "no data": b'{"event":"sendMessage"}',
    "null for data": b'{"event":"sendMessage","data":null}',
    "text for an id": b'{"event":"sendMessage","data":{"text":"hi"},"id":"x"}',
    "a fraction for an id": b'{"event":"sendMessage","data":{"text":"hi"},"id":1.5}',
    "true for an id": b'{"event":"sendMessage","data":{"text":"hi"},"id":true}',
    "NUL in JSON": b'{"event":"sendMessage","data":{"text":"\x00"}}',
    "deep JSON": b"[" * 10_000 + b"]" * 10_000,
    "a Socket.IO packet": b'42["sendMessage",{"text":"hi"}]',
}

VIOLATIONS = {
    "a reserved bit": (b"\xf1\x80mask", 1002),
    "a reserved opcode": (b"\x83\x80mask", 1002),
    "a fragmented ping": (b"\x09\x80mask", 1002),
    "a ping of 126 bytes": (b"\x89\xfe\x00\x7emask" + bytes(126), 1002),
    "a continuation of nothing": (b"\x80\x80mask", 1002),
    "not UTF-8": (b"\x81\x82\x00\x00\x00\x00\xff\xfe", 1007),
    "a length past 1 MiB": (b"\x81\xff" + (2**20 + 1).to_bytes(8) + b"mask", 1009),
    "a length of 2^62": (b"\x81\xff" + (2**62).to_bytes(8) + b"mask", 1009),
}
"""Bytes no WebSocket may send, and the close code RFC 6455 has for them."""


@pytest_asyncio.fixture(loop_scope="module")
async def client(attacker: OverWebSocket, site: Site) -> OverWebSocket:
    await attacker.join(site.name())
    return attacker


async def down(client: OverWebSocket, event: str) -> dict[str, Any]:
    """The next frame of this event."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            frame: dict[str, Any] = json.loads(await client.socket.recv())
            if frame["event"] == event:
                return frame


@on_websocket
@pytest.mark.parametrize("what", MALFORMED)
async def test_S9_2_malformed(site: Site, client: OverWebSocket, what: str) -> None:
    """S9.2: an `error` frame, and the session goes on."""
    assert await client.frame(MALFORMED[what]) == "bad_request"
    assert await client.say("sendMessage", b'{"text":"hi"}') == "ok"


@on_websocket
async def test_S9_a_binary_frame(site: Site, client: OverWebSocket) -> None:
    """S9: a binary frame is a mistake even if it holds JSON."""
    assert await client.frame(b'{"event":"sendMessage","data":{"text":"hi"}}', text=False) == (
        "bad_request"
    )
    assert await client.say("sendMessage", b'{"text":"hi"}') == "ok"


@on_websocket
@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b'{"id":-3,"event":"sendMessage","data":{"text":""}}', "bad_text"),
        (b'{"id":-3,"event":"nobodyKnowsThis"}', "bad_request"),
        (b'{"id":-3,"data":{"text":"hi"}}', "bad_request"),
        (b'{"id":-3,"event":5}', "bad_request"),
        (b'{"id":-3,"event":"sendMessage","data":"%b"}' % (b"x" * 40_000), "too_large"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_S9_2_the_id(site: Site, client: OverWebSocket, frame: bytes, code: str) -> None:
    """S9.2: an error has the id of the frame it is about, however bad the rest of that is."""
    await client.socket.send(frame, text=True)
    error = await down(client, "error")
    assert (code_of(error["data"]), error["id"]) == (code, -3)


@on_websocket
async def test_S10_4_without_an_id(site: Site, client: OverWebSocket) -> None:
    """S10.4: who names no id gets no ack, but an error all the same."""
    await client.socket.send('{"event":"sendMessage","data":{"text":"hi"}}')
    await client.socket.send('{"event":"sendMessage","data":{"text":""}}')
    frames = [json.loads(await client.socket.recv()) for _ in range(3)]
    assert sorted(frame["event"] for frame in frames) == ["error", "updateMessage", "updateMessage"]
    assert all("id" not in frame for frame in frames)


@on_websocket
async def test_S10_4_fragments(site: Site, client: OverWebSocket) -> None:
    """RFC 6455 section 5.4: a message in pieces, a ping between them, is a message."""
    await client.socket.send(iter(['{"event":"send', 'Message","id":5,', '"data":{"text":"가"}}']))
    assert (await down(client, "ack"))["id"] == 5


@on_sockets
@pytest.mark.parametrize("what", VIOLATIONS)
async def test_S9_violations(site: Site, attacker: OverWebSocket | OverSocketIO, what: str) -> None:
    """RFC 6455 sections 5 and 8: the connection of the one who sent it fails, with its code."""
    await attacker.join(site.name())
    raw, code = VIOLATIONS[what]
    socket = attacker.engine.socket if isinstance(attacker, OverSocketIO) else attacker.socket
    assert socket
    assert await fails(socket, raw) == code


@on_websocket
async def test_S9_a_frame_that_is_not_masked(site: Site, client: OverWebSocket) -> None:
    """RFC 6455 section 5.1: a client masks. (aiohttp does not mind, so Socket.IO does not.)"""
    assert await fails(client.socket, b"\x81\x02hi") == 1002


async def to_the_end(socket: ClientConnection) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await socket.recv()


async def fails(socket: ClientConnection, raw: bytes) -> int:
    """Send bytes past the client's own library; answers the code the server closes with."""
    socket.transport.write(raw)
    with pytest.raises(ConnectionClosed) as closed:
        await to_the_end(socket)
    assert closed.value.rcvd
    return closed.value.rcvd.code
