"""SPEC.md sections 9 and 10 on Socket.IO, with the plain client of python-socketio."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from io import BytesIO
from typing import Any

import aiohttp
import pytest
import socketio

from labs.variants import Variant, load
from tests.contract.town import Town
from tests.contract.waiting import News, patience


class Page:
    """What a page of the lesson does: emit, and note what comes down."""

    def __init__(self) -> None:
        self.socket = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        self.down: list[tuple[str, Any]] = []
        self.news = News()
        self.socket.on("*", self._note)

    def _note(self, event: str, data: Any = None) -> None:
        self.down.append((event, data))
        self.news.tell()

    async def hears(self, event: str, data: Any) -> None:
        await self.news.until(lambda: (event, data) in self.down)

    async def fails(self, code: str) -> None:
        await self.news.until(lambda: bool(self.down))
        ((event, error),) = self.down
        assert event == "error"
        assert error.keys() == {"code", "message"}
        assert error["code"] == code


Open = Callable[[], Awaitable[Page]]


@pytest.fixture(params=["socketio", "socketio-websocket", "socketio-polling"])
def variant(request: pytest.FixtureRequest) -> Variant:
    return load(request.param)


@pytest.fixture
async def dial(town: Town) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def dial() -> Page:
            page = Page()
            await page.socket.connect(
                town.server.url, transports=list(town.settings.transports), wait_timeout=20
            )
            stack.push_async_callback(page.socket.eio.disconnect, abort=True)
            return page

        yield dial


async def test_S10_5_events_with_an_ack(town: Town, dial: Open) -> None:
    await town.open()
    page = await dial()
    joined = await page.socket.call("newUserConnect", {"name": "alice"}, timeout=20)
    assert (joined["name"], joined["since"]) == ("alice", f"{joined['epoch']}:0")
    assert await page.socket.call("sendMessage", {"text": "hi"}, timeout=20) == {"offset": 2}
    await page.news.until(lambda: len(page.down) == 2)
    for (event, batch), kind in zip(page.down, ("join", "talk"), strict=True):
        assert event == "updateMessage"
        assert [one["kind"] for one in batch] == [kind]


async def test_S9_3_an_error_is_in_the_ack(town: Town, dial: Open) -> None:
    await town.open()
    page = await dial()
    for event, data, code in (
        ("newUserConnect", {"name": ""}, "bad_name"),
        ("newUserConnect", {}, "bad_request"),
        ("sendMessage", {"text": "hi"}, "unknown_session"),
        ("nonsense", {}, "bad_request"),
    ):
        answer = await page.socket.call(event, data, timeout=20)
        assert answer.keys() == {"error"}
        assert answer["error"].keys() == {"code", "message"}
        assert answer["error"]["code"] == code
    assert page.down == []


async def test_S9_3_or_an_event_if_no_ack_was_asked_for(town: Town, dial: Open) -> None:
    await town.open()
    page = await dial()
    for event, data, code in (
        ("newUserConnect", "", "bad_name"),
        ("sendMessage", {"message": "hi"}, "unknown_session"),
        ("nonsense", {}, "bad_request"),
    ):
        page.down.clear()
        await page.socket.emit(event, data)
        await page.fails(code)


async def test_S10_6_a_page_of_the_lesson(town: Town, dial: Open) -> None:
    await town.open()
    alice, bob = await dial(), await dial()
    await alice.socket.emit("newUserConnect", "alice")
    await alice.hears("updateMessage", {"name": "SERVER", "message": "alice님이 접속했습니다."})
    await bob.socket.emit("newUserConnect", "bob")
    for page in (alice, bob):
        await page.hears("updateMessage", {"name": "SERVER", "message": "bob님이 접속했습니다."})
    await bob.socket.emit("sendMessage", {"name": "alice", "message": "안녕"})
    for page in (alice, bob):
        await page.hears("updateMessage", {"name": "bob", "message": "안녕"})
    await bob.socket.emit("newUserConnect", "rob")
    await alice.hears("updateMessage", {"name": "SERVER", "message": "rob님이 접속했습니다."})
    await bob.socket.eio.send("1")
    await alice.hears("updateMessage", {"name": "SERVER", "message": "rob님이 퇴장했습니다."})
    assert len(alice.down) == 5


async def test_S10_6_it_has_left_when_its_connection_is_lost(town: Town, dial: Open) -> None:
    """No lease for whom nothing can bring back: the clock stands still."""
    await town.open(timeout_s=1.0)
    alice, bob = await town.person("alice"), await dial()
    await bob.socket.emit("newUserConnect", "bob")
    await alice.notices("join", "bob")
    await bob.socket.eio.disconnect(abort=True)
    await alice.notices("leave", "bob")


async def test_S10_6_both_kinds_chat_in_one_room(town: Town, dial: Open) -> None:
    await town.open()
    alice, page = await town.person("alice"), await dial()
    await page.socket.emit("newUserConnect", "page")
    await alice.notices("join", "page")
    await alice.say("to the page")
    await page.hears("updateMessage", {"name": "alice", "message": "to the page"})
    await page.socket.emit("sendMessage", {"message": "to alice"})
    await alice.hears("to alice")


@pytest.mark.parametrize("variant", ["socketio-websocket"], indirect=True)
async def test_S8_3_past_the_hard_limit_a_websocket_ends(town: Town, dial: Open) -> None:
    await town.open()
    alice, page = await town.person("alice"), await dial()
    ended = asyncio.Event()
    page.socket.on("disconnect", lambda *_: ended.set())
    await page.socket.call("newUserConnect", {"name": "page"}, timeout=20)
    await page.socket.emit("sendMessage", {"text": "x" * (town.settings.hard_bytes + 1)})
    async with patience():
        await ended.wait()
    await alice.say("undisturbed")
    await alice.hears("undisturbed")


@pytest.mark.parametrize("variant", ["socketio-polling"], indirect=True)
async def test_S8_3_past_the_hard_limit_a_post_is_refused(town: Town, dial: Open) -> None:
    await town.open()
    alice, page = await town.person("alice"), await dial()
    query = {"EIO": "4", "transport": "polling", "sid": page.socket.eio.sid}
    large = BytesIO(b"4" + b"x" * town.settings.hard_bytes)
    async with (
        aiohttp.ClientSession(town.server.url) as http,
        http.post("/socket.io/", params=query, data=large) as response,
    ):
        assert (response.status, (await response.json())["code"]) == (413, "too_large")
    await alice.say("undisturbed")
    await alice.hears("undisturbed")
