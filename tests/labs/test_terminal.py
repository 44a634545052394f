"""The terminal client's parts; `test_cli.py` runs it whole."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from labs.chat import Joined, Message
from labs.terminal import ENGLISH, KOREAN, Conversation, Words, spoken
from labs.terminal.lines import lines

SAID = "안녕 alice\n\r\n둘\r\n끝"
HEARD = ["안녕 alice", "", "둘", "끝"]


async def test_lines_of_a_pipe_that_splits_characters() -> None:
    reading, writing = os.pipe()

    async def write() -> None:
        for byte in SAID.encode():
            os.write(writing, bytes([byte]))
            await asyncio.sleep(0)
        os.close(writing)

    writer = asyncio.create_task(write())
    assert [line async for line in lines(reading)] == HEARD
    await writer
    os.close(reading)


async def test_lines_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "said.txt"
    file.write_bytes(SAID.encode())
    with file.open() as opened:
        assert [line async for line in lines(opened.fileno())] == HEARD


async def test_lines_wait_without_holding_up_the_loop() -> None:
    reading, writing = os.pipe()
    source = lines(reading)

    async def take() -> str:
        return await anext(source)

    first = asyncio.create_task(take())
    await asyncio.sleep(0)
    assert not first.done()
    os.write(writing, b"now\n")
    assert await first == "now"
    os.close(writing)
    os.close(reading)


def message(kind: str, name: str = "alice", text: str = "", offset: int = 1) -> Message:
    return Message(offset, kind, name, text, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "said", "line"),
    [
        (ENGLISH, message("talk", text="hi"), "alice: hi"),
        (ENGLISH, message("join"), "* alice has joined."),
        (ENGLISH, message("join", text="al"), "* al is now called alice."),
        (KOREAN, message("join"), "* alice님이 접속했습니다."),
        (KOREAN, message("leave"), "* alice님이 퇴장했습니다."),
        (KOREAN, message("gap", name=""), "* 지나간 메시지 일부는 다시 볼 수 없습니다."),
        (ENGLISH, message("talk", text="hi\nbob: forged"), "alice: hi\n    bob: forged"),
        (ENGLISH, message("talk", name="{0}", text="{name}"), "{0}: {name}"),
        (ENGLISH, message("leave", name="{former}"), "* {former} has left."),
    ],
)
def test_a_message_is_told(words: Words, said: Message, line: str) -> None:
    assert words.tell(said) == line


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ({"LANG": "ko_KR.UTF-8"}, KOREAN),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": "en_GB.UTF-8"}, ENGLISH),
        ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "ko"}, KOREAN),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": ""}, ENGLISH),
        ({}, ENGLISH),
    ],
)
def test_the_locale_chooses_the_language(
    locale: dict[str, str], words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in locale.items():
        monkeypatch.setenv(name, value)
    assert spoken() is words


class Server:
    """Stands for client and server: takes what is said, and hands down what the test wants."""

    state = "open"

    def __init__(self) -> None:
        self.down: asyncio.Queue[Message] = asyncio.Queue()
        self.said: list[str] = []
        self.spoken = asyncio.Event()
        self.heard = asyncio.Event()
        self.closed = False

    async def connect(self, name: str, since: int | str | None = None) -> Joined:
        return Joined("token", name, "lobby", "epoch", 0, "epoch:0", [name], 10, 0)

    async def send(self, text: str, key: str | None = None) -> int:
        self.said.append(text)
        self.spoken.set()
        return 40 + len(self.said)

    async def messages(self) -> AsyncIterator[Message]:
        while True:
            yield await self.down.get()
            self.heard.set()  # the reader has come back for the next one

    async def close(self) -> None:
        self.closed = True


async def of(*said: str) -> AsyncIterator[str]:
    for line in said:
        yield line


def conversation(server: Server, *said: str) -> tuple[asyncio.Task[None], list[str]]:
    told: list[str] = []
    talk = Conversation(
        server,
        of(*said),
        greet=lambda joined: None,
        tell=lambda message: told.append(ENGLISH.tell(message)),
        complain=told.append,
    )
    return asyncio.create_task(talk.run("alice")), told


async def test_it_stays_until_its_own_words_have_come_down() -> None:
    server = Server()
    running, told = conversation(server, "one", "", "two")
    server.down.put_nowait(message("talk", text="one", offset=41))
    await server.heard.wait()
    assert told == ["alice: one"]
    assert not running.done()
    assert not server.closed
    server.down.put_nowait(message("talk", text="two", offset=42))
    await running
    assert server.said == ["one", "two"]
    assert told == ["alice: one", "alice: two"]
    assert server.closed


async def test_it_waits_for_nothing_that_a_gap_has_taken() -> None:
    server = Server()
    running, told = conversation(server, "one")
    await server.spoken.wait()
    server.down.put_nowait(message("gap", name="", text="another epoch", offset=3))
    await running
    assert told == ["* Some messages are gone for good."]
