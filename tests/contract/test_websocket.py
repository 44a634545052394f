"""SPEC.md sections 9 and 10 on a raw WebSocket, frame by frame."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from labs.variants import Variant, load
from tests.contract.town import Town
from tests.contract.waiting import patience

Open = Callable[..., Any]


@pytest.fixture(params=["websocket"])
def variant(request: pytest.FixtureRequest) -> Variant:
    return load(request.param)


@pytest.fixture
async def dial(town: Town) -> AsyncIterator[Open]:
    """Opens connections, to any path."""
    async with AsyncExitStack() as stack:

        async def dial(path: str = "/") -> ClientConnection:
            url = "ws" + town.server.url.removeprefix("http") + path
            return await stack.enter_async_context(connect(url, proxy=None))

        yield dial


async def heard(socket: ClientConnection) -> Any:
    async with patience():
        return json.loads(await socket.recv())


async def closed(socket: ClientConnection) -> tuple[int, str]:
    """The close code, and the code that leads its reason."""
    async with patience():
        with suppress(ConnectionClosed):
            while True:
                await socket.recv()
    return socket.close_code or 0, (socket.close_reason or "").partition(":")[0]


async def joined(socket: ClientConnection, name: str, **more: object) -> Any:
    command = {"event": "newUserConnect", "data": {"name": name, **more}, "id": 1}
    await socket.send(json.dumps(command))
    return await heard(socket)


@pytest.mark.parametrize("path", ["/", "/chat", "/any/path/at?all=1"])
async def test_S10_4_frames_at_any_path(town: Town, dial: Open, path: str) -> None:
    await town.open()
    socket = await dial(path)
    ack = await joined(socket, "alice")
    assert (ack["event"], ack["id"], ack["data"]["name"]) == ("ack", 1, "alice")
    down = await heard(socket)
    assert down.keys() == {"event", "data"}
    assert (down["event"], down["data"][0]["kind"]) == ("updateMessage", "join")
    await socket.send('{"event":"sendMessage","data":{"text":"hi"},"id":77}')
    # The ack and the message are two frames, in whichever order.
    two = {down["event"]: down for down in (await heard(socket), await heard(socket))}
    assert two["ack"] == {"event": "ack", "id": 77, "data": {"offset": 2}}
    assert two["updateMessage"]["data"][0]["text"] == "hi"


async def test_S10_4_without_an_id_there_is_no_ack(town: Town, dial: Open) -> None:
    await town.open()
    socket = await dial()
    await joined(socket, "alice")
    await heard(socket)
    await socket.send('{"event":"sendMessage","data":{"text":"hi"}}')
    assert (await heard(socket))["event"] == "updateMessage"
    await socket.send('{"event":"disconnect","id":3}')
    assert await heard(socket) == {"event": "ack", "id": 3, "data": {}}


async def test_S10_4_a_proper_close_is_a_leave(town: Town, dial: Open) -> None:
    await town.open()
    alice = await town.person("alice")
    socket = await dial()
    await joined(socket, "bob")
    await socket.close()
    await alice.notices("leave", "bob")


async def test_S9_2_an_error_is_a_frame(town: Town, dial: Open) -> None:
    await town.open()
    socket = await dial()
    for frame, number, code in (
        ('{"event":"sendMessage","data":{"text":"hi"},"id":5}', 5, "unknown_session"),
        ('{"event":"sendMessage","data":{"text":"hi"}}', None, "unknown_session"),
        ('{"event":"newUserConnect","data":{"name":""},"id":6}', 6, "bad_name"),
        ('{"event":"nonsense","id":7}', 7, "bad_request"),
        ("{", None, "bad_request"),
        (b"{}", None, "bad_request"),
    ):
        await socket.send(frame)
        down = await heard(socket)
        assert down.keys() == {"event", "data"} | ({"id"} if number else set())
        assert (down["event"], down.get("id")) == ("error", number)
        assert down["data"].keys() == {"code", "message"}
        assert down["data"]["code"] == code
    assert (await joined(socket, "alice"))["event"] == "ack"


async def test_S9_2_where_the_connection_ends_the_close_code_says_why(
    town: Town, dial: Open
) -> None:
    await town.open()
    older, newer, large = [await dial() for _ in range(3)]
    token = (await joined(older, "alice"))["data"]["session"]
    await joined(newer, "alice", session=token)
    assert await closed(older) == (4410, "replaced")
    await large.send("x" * (town.settings.hard_bytes + 1))
    assert (await closed(large))[0] == 1009
    town.server.chat.close()
    assert await closed(newer) == (1012, "shutting_down")


async def test_S9_2_a_lease_that_ends_ends_the_connection(town: Town, dial: Open) -> None:
    await town.open()
    socket = await dial()
    token = (await joined(socket, "alice"))["data"]["session"]
    session = town.server.chat.session(token)
    session.room.leave(session)
    assert await closed(socket) == (4404, "unknown_session")
