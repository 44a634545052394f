from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from labs.chat.messages import Message, encode
from labs.variants import FIVE, VARIANTS
from labs.wire.ledger import account
from labs.wire.recording import Event, Recording, load, save
from labs.wire.traffic import LAYERS, PHASES, Traffic
from tests.browser.conftest import BROWSERS, FLAGS
from tests.browser.person import arrive
from tests.labs.scenes import SAID, conversation, served
from tests.need import need

TEXT = sum(len(text.encode()) for _, text in SAID)


def carried(recording: Recording, kind: str) -> int:
    return sum(len(event.data) for event in recording.events if event.kind == kind)


def whole(recording: Recording) -> Traffic:
    return account(recording.events, [("all", None)])["all"]


@pytest.mark.parametrize("name", VARIANTS)
async def test_the_cells_of_a_real_conversation_add_up_to_its_bytes(
    name: str, tmp_path: Path
) -> None:
    recording = await conversation(name)
    traffic = whole(recording)
    assert (traffic.up, traffic.down) == (carried(recording, "up"), carried(recording, "down"))
    assert traffic.of(layer="opaque") == 0
    # Of a deflate stream no byte is a character's.
    text = 0 if name == "websocket-deflate" else TEXT
    assert traffic.of("up", "text") == traffic.of("up", "text", "steady") == text
    assert traffic.of("down", "text") == 2 * text
    assert traffic.connections == sum(event.kind == "opened" for event in recording.events)
    for phase in ("join", "steady", "close"):
        assert traffic.of("up", phase=phase), phase
    for phase in ("join", "steady", "heartbeat"):
        assert traffic.of("down", phase=phase), phase
    save(recording, tmp_path / "recording")
    assert whole(load(tmp_path / "recording")) == traffic


@pytest.mark.parametrize("name", VARIANTS)
async def test_windows_part_a_conversation_without_losing_a_byte(name: str) -> None:
    recording = await conversation(name, idle_s=0.1)
    moments = sorted({event.at_ns for event in recording.events})
    thirds = [moments[len(moments) // 3], moments[2 * len(moments) // 3]]
    windows = account(recording.events, [("a", thirds[0]), ("b", thirds[1]), ("c", None)])
    assert sum(windows.values(), Traffic()) == whole(recording)
    assert all(traffic.both for traffic in windows.values())


@pytest.mark.parametrize("name", FIVE)
async def test_all_that_a_real_browser_says_is_understood(name: str) -> None:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    need(path, "Chromium is needed to see what a browser sends (Debian: apt install chromium).")
    async with async_playwright() as playwright, served(name) as (tap, url):
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        person = await arrive(browser, url)
        await person.joins("보라")
        await person.says("안녕하세요")
        await person.sees("보라", "안녕하세요")
        await browser.close()
        recording = tap.recording()
    traffic = whole(recording)
    assert (traffic.up, traffic.down) == (carried(recording, "up"), carried(recording, "down"))
    assert traffic.of(layer="opaque") == 0
    assert traffic.of("down", "content", "page") > 10_000
    assert traffic.of("up", "text") == traffic.of("down", "text") == len("안녕하세요".encode())
    assert traffic.of("up", phase="join") > 0


POLL = b"GET /updateMessage?session=s&since=1 HTTP/1.1\r\nHost: a\r\n\r\n"
NOTHING = b"HTTP/1.1 204 No Content\r\n\r\n"


def test_a_piece_belongs_to_the_window_in_which_it_was_complete() -> None:
    events = [
        Event(1, 0, "opened"),
        Event(2, 0, "up", POLL[:20]),
        Event(3, 0, "up", POLL[20:]),
        Event(5, 0, "down", NOTHING),
    ]
    early, late = account(events, [("early", 2), ("late", None)]).values()
    assert early == Traffic(connections=1)
    assert late.requests == 1
    assert late.of("up", "http_head", "heartbeat") == len(POLL)
    early, late = account(events, [("early", 3), ("late", None)]).values()
    assert (early.requests, early.up, late.up) == (1, len(POLL), 0)
    # What a poll was for is known in the next window, and is told of this one.
    assert early.cells == {"up/http_head/heartbeat": len(POLL)}


def test_what_comes_after_the_last_moment_is_in_no_window() -> None:
    events = [Event(1, 0, "up", POLL), Event(9, 0, "down", NOTHING)]
    assert account(events, [("one", 5)])["one"].both == len(POLL)


@pytest.mark.parametrize("ends", [[("a", 5), ("b", 4)], [("a", None), ("b", 4)]])
def test_windows_come_in_order(ends: list[tuple[str, int | None]]) -> None:
    with pytest.raises(ValueError, match="in order of time"):
        account([], ends)


def test_many_connections_are_kept_apart() -> None:
    batch = encode([Message(1, "talk", "ann", "안녕", 0)])
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(batch), batch)
    events = [Event(number, number, "up", POLL) for number in range(10)]
    events += [Event(20, number, "down", answer if number % 2 else NOTHING) for number in range(10)]
    traffic = account(events, [("all", None)])["all"]
    assert traffic.of("down", "text") == 5 * len("안녕".encode())
    assert traffic.of("up", phase="steady") == traffic.of("up", phase="heartbeat") == 5 * len(POLL)
    for key in traffic.cells:
        _, layer, phase = key.split("/")
        assert layer in LAYERS
        assert phase in PHASES
