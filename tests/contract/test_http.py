"""SPEC.md sections 9 and 10 on the three variants that speak HTTP both ways, byte by byte."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from labs.errors import CODES
from labs.variants import Variant, load
from tests.contract.town import Town
from tests.contract.waiting import patience

HTTP = ["polling", "longpolling", "streaming"]


@pytest.fixture(params=HTTP)
def variant(request: pytest.FixtureRequest) -> Variant:
    return load(request.param)


@pytest.fixture
async def http(town: Town) -> AsyncIterator[aiohttp.ClientSession]:
    """Tests that use it open the town first."""
    async with aiohttp.ClientSession() as http:
        yield http


class Answer:
    """A whole response."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status, self.headers, self.body = response.status, response.headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    http: aiohttp.ClientSession, town: Town, method: str, path: str, body: object = None
) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body)
    async with http.request(
        method, town.server.url + path, data=data if method == "POST" else None
    ) as response:
        return Answer(response, await response.read())


async def join(http: aiohttp.ClientSession, town: Town, name: str) -> Any:
    return (await ask(http, town, "POST", "/newUserConnect", {"name": name})).json


def assert_refused(answer: Answer, code: str) -> None:
    assert answer.status == CODES[code].status
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json["code"] == code
    assert answer.json.keys() == {"code", "message"}


async def test_S9_1_an_error_is_a_status_and_json(town: Town, http: aiohttp.ClientSession) -> None:
    await town.open(sessions=2, rate_burst=4)
    joined = await join(http, town, "alice")
    mine = {"session": joined["session"]}
    await join(http, town, "bob")
    for path, body, code in (
        ("/newUserConnect", {"name": "alice"}, "room_full"),
        ("/newUserConnect", {"name": "SERVER"}, "bad_name"),
        ("/newUserConnect", {"name": "bob"} | mine, "name_taken"),
        ("/newUserConnect", b"{", "bad_request"),
        ("/sendMessage", mine | {"text": 7}, "bad_request"),
        ("/sendMessage", {"text": "who am I"}, "unknown_session"),
        ("/sendMessage", mine | {"text": ""}, "bad_text"),
        ("/sendMessage", mine | {"text": "x" * 40_000}, "too_large"),
        ("/disconnect", {"session": "nobody"}, "unknown_session"),
    ):
        assert_refused(await ask(http, town, "POST", path, body), code)


async def test_S9_1_rate_limited_says_when_to_come_back(
    town: Town, http: aiohttp.ClientSession
) -> None:
    await town.open(rate_burst=1, rate_per_s=0.25)
    joined = await join(http, town, "alice")
    talk = {"session": joined["session"], "text": "more"}
    answer = await ask(http, town, "POST", "/sendMessage", talk)
    assert_refused(answer, "rate_limited")
    assert answer.headers["Retry-After"] == "4"


async def test_S9_1_shutting_down(town: Town, http: aiohttp.ClientSession) -> None:
    await town.open()
    town.server.chat.close()
    answer = await ask(http, town, "POST", "/newUserConnect", {"name": "late"})
    assert_refused(answer, "shutting_down")


async def test_S9_1_an_unknown_path_or_method(town: Town, http: aiohttp.ClientSession) -> None:
    await town.open()
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("GET", "/sendMessage", 404),
        ("POST", "/updateMessage", 405),
        ("DELETE", "/sendMessage", 405),
    ):
        answer = await ask(http, town, method, path)
        assert (answer.status, answer.json["code"]) == (status, "bad_request")


@pytest.mark.parametrize("since", ["", "-1", "x", "1:2:x", "1.5", "٣"])
async def test_S9_4_before_the_messages_begin_an_error_is_as_over_http(
    town: Town, http: aiohttp.ClientSession, since: str
) -> None:
    await town.open()
    joined = await join(http, town, "alice")
    query = f"/updateMessage?session={joined['session']}&since={since}"
    assert_refused(await ask(http, town, "GET", query), "bad_request")
    query = "/updateMessage?session=nobody&since=0"
    assert_refused(await ask(http, town, "GET", query), "unknown_session")


async def test_S8_3_past_the_hard_limit_the_exchange_ends(
    town: Town, http: aiohttp.ClientSession
) -> None:
    await town.open()
    joined = await join(http, town, "alice")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(town.server.url[-5:]))
    length = 4 * town.settings.hard_bytes
    writer.write(b"POST /sendMessage HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length)
    async with patience():
        writer.write(b"x" * (2 * town.settings.hard_bytes))
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.transport.abort()
    talk = {"session": joined["session"], "text": "undisturbed"}
    assert (await ask(http, town, "POST", "/sendMessage", talk)).status == 200


async def test_S10_1_three_posts(town: Town, http: aiohttp.ClientSession) -> None:
    await town.open()
    answer = await ask(http, town, "POST", "/newUserConnect", {"name": "alice"})
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    mine = {"session": answer.json["session"]}
    answer = await ask(http, town, "POST", "/sendMessage", mine | {"text": "hi"})
    assert (answer.status, answer.json) == (200, {"offset": 2})
    answer = await ask(http, town, "POST", "/disconnect", mine)
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize("variant", ["polling"], indirect=True)
async def test_S10_1_polling_answers_at_once(town: Town, http: aiohttp.ClientSession) -> None:
    await town.open(hold_s=1_000.0)
    joined = await join(http, town, "alice")
    query = f"/updateMessage?session={joined['session']}&since="
    answer = await ask(http, town, "GET", query + joined["since"])
    assert (answer.status, [one["kind"] for one in answer.json]) == (200, ["join"])
    assert answer.headers["Cache-Control"] == "no-store"
    async with patience():
        answer = await ask(http, town, "GET", query + "1")
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize("variant", ["longpolling"], indirect=True)
async def test_S10_2_longpolling_is_held_until_there_is_something(
    town: Town, http: aiohttp.ClientSession
) -> None:
    await town.open(hold_s=1_000.0)
    joined = await join(http, town, "alice")
    query = f"/updateMessage?session={joined['session']}&since=1"
    poll = asyncio.create_task(ask(http, town, "GET", query))
    while not town.server.chat.session(joined["session"]).cursor:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert not poll.done()
    bob = await town.person("bob")
    assert [one["name"] for one in (await poll).json] == [bob.name]


@pytest.mark.parametrize("variant", ["longpolling"], indirect=True)
async def test_S10_2_longpolling_brings_everything_there_is(
    town: Town, http: aiohttp.ClientSession
) -> None:
    await town.open()
    alice = await town.person("alice")
    for number in range(250):
        await alice.say(f"{number}")
    query = f"/updateMessage?session={alice.joined.session}&since=0"
    assert len((await ask(http, town, "GET", query)).json) == 251


@pytest.mark.parametrize("variant", ["longpolling"], indirect=True)
async def test_S10_2_longpolling_ends_with_204(town: Town, http: aiohttp.ClientSession) -> None:
    await town.open(hold_s=0.05)
    joined = await join(http, town, "alice")
    query = f"/updateMessage?session={joined['session']}&since=1"
    answer = await ask(http, town, "GET", query)
    assert (answer.status, answer.body, answer.headers["Cache-Control"]) == (204, b"", "no-store")


@pytest.mark.parametrize("variant", ["streaming"], indirect=True)
async def test_S10_3_streaming_is_an_event_stream(town: Town, http: aiohttp.ClientSession) -> None:
    await town.open(heartbeat_s=0.05)
    joined = await join(http, town, "alice")
    epoch, query = joined["epoch"], {"session": joined["session"], "since": joined["since"]}
    async with patience(), http.get(town.server.url + "/updateMessage", params=query) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert stream.headers["Cache-Control"] == "no-store"
        assert stream.headers["X-Accel-Buffering"] == "no"
        text = b""
        while b":\n\n" not in text:
            text += await stream.content.readany()
    retry, event, comment, *_ = text.split(b"\n\n")
    assert retry == b"retry: 1000"
    lines = event.split(b"\n")
    assert lines[0] == b"event: updateMessage"
    assert lines[1] == f"id: {epoch}:1".encode()
    assert lines[2].startswith(b"data: [{")
    assert [one["name"] for one in json.loads(lines[2][6:])] == ["alice"]
    assert comment == b":"


@pytest.mark.parametrize("variant", ["streaming"], indirect=True)
async def test_S10_3_last_event_id_goes_before_since(
    town: Town, http: aiohttp.ClientSession
) -> None:
    await town.open()
    alice = await town.person("alice")
    for number in range(5):
        await alice.say(f"{number}")
    query = {"session": alice.joined.session, "since": "0"}
    place = {"Last-Event-ID": f"{alice.joined.epoch}:5"}
    async with (
        patience(),
        http.get(town.server.url + "/updateMessage", params=query, headers=place) as stream,
    ):
        text = b""
        while b"updateMessage" not in text:
            text += await stream.content.readany()
    assert b'"offset":6' in text
    assert b'"offset":5' not in text


@pytest.mark.parametrize("variant", ["streaming"], indirect=True)
async def test_S9_4_later_an_error_is_an_event_and_then_the_end(
    town: Town, http: aiohttp.ClientSession
) -> None:
    await town.open()
    joined = await join(http, town, "alice")
    query = {"session": joined["session"], "since": "1"}
    async with patience(), http.get(town.server.url + "/updateMessage", params=query) as stream:
        await stream.content.readline()
        town.server.chat.close()
        text = await stream.content.read()
    event, end = text.strip(b"\n").rsplit(b"\n", 1)
    assert event == b"event: error"
    assert json.loads(end.removeprefix(b"data: "))["code"] == "shutting_down"
