"""S10.1-S10.3: the HTTP variants from a shell, with curl."""

from __future__ import annotations

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from tests.foreign.conftest import Serve
from tests.foreign.script import PATIENCE_S
from tests.need import need

Curl = Callable[..., Awaitable[Process]]


class Answer(NamedTuple):
    """What curl saw."""

    status: int
    body: str

    @property
    def texts(self) -> list[str]:
        """The texts of a batch."""
        return [message["text"] for message in json.loads(self.body)]


class Event(NamedTuple):
    """An event of an event stream, as its lines stood."""

    event: str
    data: str
    id: str = ""


@pytest_asyncio.fixture
async def curl(serve: Serve) -> AsyncIterator[Curl]:
    """A function that starts curl; whatever still runs at the end is ended."""
    program = shutil.which("curl")
    need(program, "curl is needed to test the HTTP routes (Debian: apt install curl)")
    running: list[Process] = []

    async def start(*arguments: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            str(program), "-sS", "--noproxy", "*", *arguments, stdout=PIPE
        )
        running.append(process)
        return process

    yield start
    for process in running:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def answer(process: Process) -> Answer:
    """Wait for curl's end."""
    async with asyncio.timeout(PATIENCE_S):
        out, _ = await process.communicate()
    assert process.returncode == 0
    body, _, status = out.decode().rpartition("\n")
    return Answer(int(status), body)


async def ask(curl: Curl, url: str, *arguments: str) -> Answer:
    """One request, with the status after the body."""
    return await answer(await curl("-w", "\\n%{http_code}", *arguments, url))


async def post(curl: Curl, url: str, command: dict[str, Any]) -> Any:
    """POST a command as `curl -d` does, and read its answer."""
    reply = await ask(curl, url, "-d", json.dumps(command))
    assert reply.status in (200, 204)
    return json.loads(reply.body or "null")


async def read(stream: asyncio.StreamReader) -> Event:
    """The next event that is no heartbeat."""
    fields: dict[str, str] = {}
    async with asyncio.timeout(PATIENCE_S):
        while True:
            line = (await stream.readline()).decode().rstrip("\n")
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                return Event(**fields)
            else:
                fields.clear()


async def test_S10_1_polling(serve: Serve, curl: Curl) -> None:
    """S10.1: 200 with a batch, 204 with nothing, and a goodbye."""
    url = (await serve("polling")).url
    alice = await post(curl, f"{url}/newUserConnect", {"name": "앨리스"})
    poll = f"{url}/updateMessage?session={alice['session']}&since="
    said = await post(
        curl, f"{url}/sendMessage", {"session": alice["session"], "text": "안녕", "key": "1"}
    )
    batch = await ask(curl, poll + alice["since"])
    assert (batch.status, batch.texts) == (200, ["", "안녕"])
    assert await ask(curl, f"{poll}{alice['epoch']}:{said['offset']}") == Answer(204, "")
    assert (await ask(curl, f"{url}/disconnect", "-d", batch.body)).status == 400
    await post(curl, f"{url}/disconnect", {"session": alice["session"]})
    gone = await ask(curl, poll + "0")
    assert (gone.status, json.loads(gone.body)["code"]) == (404, "unknown_session")


async def test_S10_2_longpolling(serve: Serve, curl: Curl) -> None:
    """S10.2: answered at once when there is something, else held, then answered, or 204."""
    server = await serve("longpolling", hold_s=1.0)
    alice = await post(curl, f"{server.url}/newUserConnect", {"name": "alice"})
    poll = f"{server.url}/updateMessage?session={alice['session']}&since="
    assert (await ask(curl, poll + alice["since"])).texts == [""]
    assert await ask(curl, f"{poll}{alice['head']}") == Answer(204, "")

    held = await curl("-w", "\\n%{http_code}", f"{poll}{alice['head']}")
    session = server.chat.session(alice["session"])
    async with asyncio.timeout(PATIENCE_S):
        while session.cursor is None:  # noqa: ASYNC110 (nothing tells that a poll has come)
            await asyncio.sleep(0.01)
    assert held.returncode is None
    await post(curl, f"{server.url}/sendMessage", {"session": alice["session"], "text": "now"})
    assert (await answer(held)).texts == ["now"]


async def test_S10_3_streaming(serve: Serve, curl: Curl) -> None:
    """S10.3: retry at the start, then events with name, id and data; comments in between."""
    server = await serve("streaming", heartbeat_s=0.2)
    alice = await post(curl, f"{server.url}/newUserConnect", {"name": "alice"})
    stream = await curl(
        "-N",
        "-D",
        "-",
        f"{server.url}/updateMessage?session={alice['session']}&since={alice['since']}",
    )
    assert stream.stdout
    async with asyncio.timeout(PATIENCE_S):
        head = (await stream.stdout.readuntil(b"\r\n\r\n")).decode().lower()
        assert head.startswith("http/1.1 200")
        assert "content-type: text/event-stream\r\n" in head
        assert "cache-control: no-store\r\n" in head
        assert "x-accel-buffering: no\r\n" in head
        assert await stream.stdout.readuntil(b"\n\n") == b"retry: 1000\n\n"
        joined = await read(stream.stdout)
        assert (joined.event, joined.id) == ("updateMessage", f"{alice['epoch']}:1")
        assert json.loads(joined.data)[0]["kind"] == "join"
        assert await stream.stdout.readuntil(b"\n\n") == b":\n\n"
    text = "두 줄\n\t그리고 탭"
    said = await post(
        curl, f"{server.url}/sendMessage", {"session": alice["session"], "text": text}
    )
    event = await read(stream.stdout)
    assert event.id == f"{alice['epoch']}:{said['offset']}"
    assert json.loads(event.data)[0]["text"] == text


@pytest.mark.parametrize("since", ["", "&since=99999", "&since=x"])
async def test_S10_3_resuming(serve: Serve, curl: Curl, since: str) -> None:
    """S5.1, S10.3: `Last-Event-ID` says where to go on, before anything in the query."""
    server = await serve("streaming")
    alice = await post(curl, f"{server.url}/newUserConnect", {"name": "alice"})
    for text in ("one", "two", "three"):
        command = {"session": alice["session"], "text": text}
        await post(curl, f"{server.url}/sendMessage", command)
    url = f"{server.url}/updateMessage?session={alice['session']}{since}"
    stream = await curl("-N", "-H", f"Last-Event-ID: {alice['epoch']}:2", url)
    assert stream.stdout
    event = await read(stream.stdout)
    assert event.id == f"{alice['epoch']}:4"
    assert [one["text"] for one in json.loads(event.data)] == ["two", "three"]

    newer = await curl("-N", "-H", f"Last-Event-ID: {event.id}", url)
    older = await read(stream.stdout)
    assert (older.event, json.loads(older.data)["code"]) == ("error", "replaced")
    await post(curl, f"{server.url}/sendMessage", {"session": alice["session"], "text": "four"})
    assert newer.stdout
    assert [one["text"] for one in json.loads((await read(newer.stdout)).data)] == ["four"]
