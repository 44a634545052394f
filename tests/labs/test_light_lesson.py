"""The lesson's dialect of Socket.IO, at our own server and at one that knows nothing else."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import socketio
from aiohttp import web

from labs.bench import heads
from labs.bench.light import light, speaks
from labs.bench.light.socketio import Lesson
from labs.errors import LabError
from labs.settings import Settings
from labs.variants import load
from tests.contract.waiting import patience
from tests.labs.lights import QUICK, Notes, serving

NAMES = ("socketio", "socketio-websocket", "socketio-polling")


def lesson(name: str, url: str, sink: Notes, number: int = 0) -> Lesson:
    """A light client that speaks the lesson's dialect."""
    variant = load(name)
    kind = light(variant, "lesson")
    assert kind is Lesson
    return Lesson(number, url, variant.settings(QUICK), heads.find("python"), sink, phase=0.0)


@asynccontextmanager
async def original(heed: bool = True) -> AsyncIterator[str]:
    """A server as the lesson has it: three events, no acks, no offsets. Yields its URL."""
    sio = socketio.AsyncServer(async_mode="aiohttp")
    names: dict[str, str] = {}

    async def new_user_connect(sid: str, name: str) -> None:
        names[sid] = name
        if heed:
            await sio.emit(
                "updateMessage", {"name": "SERVER", "message": f"{name}님이 접속했습니다."}
            )

    async def send_message(sid: str, data: dict[str, str]) -> None:
        await sio.emit("updateMessage", {"name": names[sid], "message": data["message"]})

    sio.on("newUserConnect", new_user_connect)
    sio.on("sendMessage", send_message)
    app = web.Application()
    sio.attach(app)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with patience():
            yield f"http://127.0.0.1:{site.port}"
    finally:
        await sio.shutdown()
        await runner.cleanup()


@pytest.mark.parametrize("name", NAMES)
async def test_at_a_server_of_the_lesson(name: str) -> None:
    notes = Notes()
    async with original() as url:
        ann, bob = (lesson(name, url, notes, number) for number in (0, 1))
        joined = await ann.connect("ann")
        assert (joined.name, joined.head) == ("ann", 0)
        await bob.connect("bob")
        # What the server announces is not counted: ann hears more of it than bob.
        assert await ann.send("#0 안녕하세요") == 1
        assert await bob.send("#1 <b>") == 2
        await ann.send("no number")
        await ann.send("#2")
        await notes.hears(0, 0, 1, 2)
        await notes.hears(1, 0, 1, 2)
        assert notes.of(0) == notes.of(1) == [(0, 1), (1, 2), (2, 4)]
        assert sorted(notes.foreigners) == [0, 1]
        await ann.close()
        await bob.close()


@pytest.mark.parametrize("name", NAMES)
async def test_at_our_own_server(name: str) -> None:
    """S10.6."""
    notes = Notes()
    async with serving(load(name)) as (url, _):
        ann = lesson(name, url, notes)
        await ann.connect("ann")
        assert await ann.send("#0 안녕하세요") == 1
        ann.drop()
        await ann.resume()  # there is no place to come back to: it comes in again
        await ann.send("#1")
        await notes.hears(0, 0, 1)
        await ann.close()


@pytest.mark.parametrize("name", NAMES)
async def test_what_a_server_speaks(name: str) -> None:
    settings = load(name).settings(QUICK)
    async with serving(load(name)) as (url, _):
        assert await speaks(url, settings) == "spec"
    async with original() as url:
        assert await speaks(url, settings) == "lesson"


async def test_a_server_that_speaks_neither() -> None:
    async with original(heed=False) as url:
        # It acks, as python-socketio does by itself, but there is nothing in its ack.
        with pytest.raises(LabError, match="neither with an ack"):
            await speaks(url, QUICK.but(timeout_s=0.5))


async def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with patience():
        with pytest.raises(ConnectionError, match=r"no Socket\.IO server answers at http://127"):
            await speaks(f"http://127.0.0.1:{port}", Settings())


async def test_somebody_there_who_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with patience():
            with pytest.raises(ConnectionError, match=r"nothing came within 0\.05 s"):
                await speaks(url, Settings(timeout_s=0.05))


async def test_a_server_of_something_else() -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>")

    app = web.Application()
    app.add_routes([web.get("/{any:.*}", page)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with patience():
        with pytest.raises(ConnectionError, match="is not Engine"):
            await speaks(f"http://127.0.0.1:{site.port}", Settings(timeout_s=5.0))
    await runner.cleanup()
