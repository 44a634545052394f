"""S10.4: any WebSocket client, at any path, can talk to the websocket variant."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.asyncio.client import connect

from tests.foreign.conftest import Arrive, Run, Serve
from tests.foreign.script import PATIENCE_S

PATHS = ("", "/", "/ws", "/any/path?and=query", "/socket.io/?EIO=4", "/%ED%95%9C")


@pytest.mark.parametrize("path", PATHS)
async def test_S10_4_python(serve: Serve, arrive: Arrive, path: str) -> None:
    """S2, S3, S6.1, S10.4: the `websockets` package with its own defaults."""
    server = await serve("websocket")
    bob = await arrive(server, "bob")
    async with connect("ws" + server.url.removeprefix("http") + path, proxy=None) as socket:

        async def heard() -> dict[str, object]:
            async with asyncio.timeout(PATIENCE_S):
                down: dict[str, object] = json.loads(await socket.recv())
                return down

        await socket.send('{"event": "newUserConnect", "data": {"name": "앨리스"}, "id": 1}')
        ack = await heard()
        assert (ack["event"], ack["id"]) == ("ack", 1)
        assert isinstance(ack["data"], dict)
        assert ack["data"]["present"] == ["bob", "앨리스"]
        assert (await heard())["event"] == "updateMessage"
        await bob.say("반가워요")
        batch = await heard()
        assert isinstance(batch["data"], list)
        assert batch["data"][0]["text"] == "반가워요"
        await socket.send('{"event": "sendMessage", "data": {"text": "안녕"}}')
        await bob.hears("안녕")
        await socket.send('{"event": "disconnect", "id": 2}')
        await bob.notices("leave", "앨리스")


@pytest.mark.parametrize("path", ["/", "/any/path?and=query"])
async def test_S10_4_node(serve: Serve, run: Run, arrive: Arrive, path: str) -> None:
    """S2, S3, S6.1, S10.4: the `ws` package of node; its close 1000 is a goodbye."""
    server = await serve("websocket", lease_s=600)
    bob = await arrive(server, "bob")
    alice = await run("frames.mjs", "ws" + server.url.removeprefix("http") + path)
    await alice.shows("open")
    await alice.tell("send", {"event": "newUserConnect", "data": {"name": "alice"}, "id": 1})
    ack = await alice.shows_one("frame", lambda one: one["event"] == "ack")
    assert ack["data"]["name"] == "alice"
    await alice.tell("send", {"event": "sendMessage", "data": {"text": ""}, "id": 2})
    error = await alice.shows_one("frame", lambda one: one["event"] == "error")
    assert (error["id"], error["data"]["code"]) == (2, "bad_text")
    await alice.tell("send", {"event": "sendMessage", "data": {"text": "hi", "key": "k"}})
    await bob.hears("hi")
    await alice.shows_one("frame", lambda one: '"hi"' in json.dumps(one["data"]))
    await alice.shows("ping")
    await alice.tell("close", 1000)
    assert (await alice.shows("close"))["code"] == 1000
    await bob.notices("leave", "alice")
    batches = [one["data"] for one in alice.all("frame") if one["event"] == "updateMessage"]
    assert [message["text"] for batch in batches for message in batch] == ["", "hi"]
