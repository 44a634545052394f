"""S9.1: who calls at the wrong path, or by a transport there is not, is told what is right."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest

from labs.errors import ChatError
from labs.experiments.rig.refusing import refusing
from labs.pages import VENDOR
from tests.foreign.conftest import JS, PINNED, Run, Serve
from tests.hostile.attacker import code_of
from tests.need import need

ENGINE = {"EIO": "4", "transport": "polling"}


async def fetch(url: str) -> tuple[int, str, str]:
    """GET; the status, the content type, the body."""
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        return response.status, response.content_type, await response.text()


async def refused(url: str, *words: str) -> None:
    """GET is refused with a code, and a sentence in which these words are."""
    status, _, body = await fetch(url)
    error = json.loads(body)
    assert code_of(error, status) == "bad_request"
    for word in words:
        assert word in error["message"]


@pytest.mark.parametrize("path", ["/elsewhere", "/socket", "/socket.io/more", "/a/b/c"])
async def test_S9_1_a_wrong_path(serve: Serve, run: Run, path: str) -> None:
    """S9.1: the answer names the path, whatever asks."""
    server = await serve()
    await refused(f"{server.url}{path}/?{urlencode(ENGINE)}", "/socket.io")
    for transports in JS.values():
        page = await run("rich.mjs", server.url, {**transports, "path": path}, "alice")
        await page.shows("connect_error")
    client = server.variant.client(server.url, server.settings.but(path=path))
    with pytest.raises(ChatError, match=r"Socket\.IO is at /socket\.io here"):
        await client.connect("alice")


async def test_S9_1_a_path_of_ones_own(serve: Serve, run: Run) -> None:
    """The path is a setting: client and library are there, and the usual path says so."""
    server = await serve(path="/chat/engine")
    page = await run("rich.mjs", server.url, {"path": "/chat/engine"}, "alice")
    await page.shows("joined")
    await refused(f"{server.url}/socket.io/?{urlencode(ENGINE)}", "/chat/engine")


@pytest.mark.parametrize(
    ("name", "only"), [("socketio-websocket", "polling"), ("socketio-polling", "websocket")]
)
async def test_S9_1_a_wrong_transport(serve: Serve, run: Run, name: str, only: str) -> None:
    """S9.1: the answer names the transport there is."""
    server = await serve(name)
    offered = server.settings.transports[0]
    await refused(f"{server.url}/socket.io/?EIO=4&transport={only}", offered, only)
    page = await run("rich.mjs", server.url, {"transports": [only]}, "alice")
    await page.shows("connect_error")
    client = server.variant.client(server.url, server.settings.but(transports=(only,)))
    with pytest.raises(ChatError, match=f"the transport here is {offered}"):
        await client.connect("alice")


@pytest.mark.parametrize("name", ["websocket", "socketio-websocket"])
async def test_a_proxy_s_refusal_is_not_taken_for_the_chat_s(serve: Serve, name: str) -> None:
    """It is no code of the chat, and it names the status."""
    server = await serve(name)
    host, _, port = server.url.removeprefix("http://").partition(":")
    async with refusing(host, int(port), "refuse") as proxy:
        client = server.variant.client(proxy.url, server.settings)
        with pytest.raises(ConnectionError, match=r"no chat answers at \S+: .*HTTP 403"):
            await client.connect("alice")


async def test_S9_1_transports_there_are_none_of(serve: Serve) -> None:
    """S9.1: both are named where both are offered."""
    server = await serve()
    for transport in ("", "carrier-pigeon", "%ff"):
        url = f"{server.url}/socket.io/?EIO=4&transport={transport}"
        await refused(url, "polling and websocket")


async def test_no_upgrade_is_offered_where_none_is_served(serve: Serve, run: Run) -> None:
    """Engine.IO protocol: `upgrades` names what is there; nothing is tried in vain."""
    server = await serve("socketio-polling")
    _, _, opening = await fetch(f"{server.url}/socket.io/?{urlencode(ENGINE)}")
    assert json.loads(opening[1:])["upgrades"] == []
    page = await run("rich.mjs", server.url, {}, "alice")
    await page.shows("joined")
    await page.tell("say", ["hi"])
    await page.shows("said")
    assert page.all("connect") == ["polling"]
    assert page.all("upgrade") == []


@pytest.mark.parametrize("version", ["3", "5", "x", ""])
async def test_S9_1_another_protocol(serve: Serve, version: str) -> None:
    """S9.1: a client of another Engine.IO is told so."""
    server = await serve()
    await refused(f"{server.url}/socket.io/?EIO={version}&transport=polling", "version")


async def test_the_official_client_is_served(serve: Serve) -> None:
    """The lesson's page loads its client from `<path>/socket.io.js`."""
    need((VENDOR / "socket.io.js").is_file(), "npm is needed when the project is installed")
    assert PINNED
    for path in ("/socket.io", "/chat/engine"):
        server = await serve(path=path)
        status, kind, body = await fetch(f"{server.url}{path}/socket.io.js")
        assert (status, kind) == (200, "text/javascript")
        assert f"Socket.IO v{PINNED[1]}" in body[:200]


async def test_the_official_client_is_missing(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An install that could not reach npm works; this route says what to do."""
    monkeypatch.setattr("socketio_chat.server.VENDOR", tmp_path)
    server = await serve()
    await refused(f"{server.url}/socket.io/socket.io.js", "npm", "socket.io-client")
    assert (await fetch(server.url))[0] == 200
