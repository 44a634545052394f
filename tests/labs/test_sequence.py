from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labs.variants import FIVE
from labs.wire.ledger import account
from labs.wire.recording import FORMAT, Event, Head, Recording
from labs.wire.sequence import CLIENTS, ROWS, draw, rows
from labs.wire.steps import tell
from tests.labs.scenes import QUICK, SAID, conversation
from tests.labs.test_dissect import (
    CONVERSATIONS,
    NOTHING,
    POLL,
    SWITCHING,
    UPGRADE,
    answer,
    events,
    head,
    post,
)
from tests.labs.test_show import recorded

SVG = "{http://www.w3.org/2000/svg}"
DRAWN = Path(__file__).parents[2] / "docs" / "sequences"
MOST_BYTES = 60_000


def parsed(picture: str) -> Xml.Element:
    return Xml.fromstring(picture)


def looks(svg: Xml.Element, tag: str) -> list[str]:
    return [element.get("class", "") for element in svg.iter(SVG + tag)]


def words(svg: Xml.Element) -> str:
    return "\n".join("".join(element.itertext()) for element in svg.iter(SVG + "text"))


async def test_polling_asks_and_is_answered_at_once() -> None:
    svg, recording = await drawn("polling")
    story = tell(recording)
    assert {hold.what for hold in story.holds} == {"request"}
    assert not [step for step in story.steps if step.kind == "push"]
    assert "push" not in looks(svg, "line")[:-3]  # the legend's
    assert "204 No Content" in words(svg)
    assert "more …" in words(svg)


async def test_long_polling_holds_requests_open() -> None:
    svg, recording = await drawn("longpolling")
    held = [hold for hold in tell(recording).holds if (hold.held_ns or 0) >= QUICK.hold_s * 9e8]
    assert len(held) >= 2
    assert {hold.what for hold in held} == {"request"}
    assert looks(svg, "rect").count("held") >= 1 + 2  # the legend's, and one for each person


async def test_streaming_keeps_a_response_open_and_pushes() -> None:
    svg, recording = await drawn("streaming")
    check_pushes(svg, recording, "stream")
    assert "200 OK, event stream" in words(svg)
    assert "comment" in words(svg)


@pytest.mark.parametrize("name", ["websocket", "socketio"])
async def test_a_websocket_keeps_a_connection_open_and_pushes(name: str) -> None:
    svg, recording = await drawn(name)
    check_pushes(svg, recording, "connection")
    assert "101 Switching Protocols" in words(svg)
    assert "close frame" in words(svg)


def check_pushes(svg: Xml.Element, recording: Recording, what: str) -> None:
    story = tell(recording)
    kept = [hold for hold in story.holds if hold.what == what]
    assert sorted(hold.first.client for hold in kept) == [0, 1]
    assert all(hold.held_ns for hold in kept)
    assert looks(svg, "rect").count("open") == 1 + len(kept)
    pushed = [step for step in story.steps if step.kind == "push" and "“" in step.label]
    assert len(pushed) == 2 * len(SAID)
    assert looks(svg, "line").count("push") == 1 + sum(s.kind == "push" for s in story.steps)


async def drawn(name: str) -> tuple[Xml.Element, Recording]:
    """A diagram of real traffic, with what holds for all of them checked."""
    recording = await conversation(name)
    traffic = account(recording.events, [("all", None)])["all"]
    assert traffic.of(layer="opaque") == 0
    story = tell(recording)
    assert sum(step.size for step in story.steps) == traffic.both
    assert story.clients == [who for who, _ in SAID]
    picture = draw(recording)
    assert len(picture.encode()) < MOST_BYTES
    svg = parsed(picture)
    for who in (*story.clients, "server"):
        assert who in words(svg)
    for who, text in SAID:
        assert f"“{text}”" in words(svg)
        assert sum(f"{who} “{text}”" in step.label for step in story.steps) == 2
    check_accessible(svg)
    return svg, recording


def check_accessible(svg: Xml.Element) -> None:
    title, desc = svg.find(SVG + "title"), svg.find(SVG + "desc")
    assert title is not None
    assert title.text
    assert desc is not None
    assert desc.text
    assert svg.get("role") == "img"
    assert svg.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    korean = [element for element in svg.iter(SVG + "text") if element.get("lang") == "ko"]
    assert len(korean) == 1


@pytest.mark.parametrize("name", FIVE)
def test_the_drawn_ones_are_whole_and_small(name: str) -> None:
    picture = (DRAWN / f"{name}.svg").read_bytes()
    assert len(picture) < MOST_BYTES
    svg = parsed(picture.decode())
    check_accessible(svg)
    assert "안녕하세요" in words(svg)
    links = (value for element in svg.iter() for value in element.attrib.values())
    assert not [value for value in links if "//" in value]


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_every_kind_of_piece_can_be_drawn(name: str) -> None:
    recording = recorded(*events(CONVERSATIONS[name]))
    steps = tell(recording).steps
    assert sum(step.size for step in steps) == sum(len(event.data) for event in recording.events)
    check_accessible(parsed(draw(recording)))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=60)), max_size=8), st.text())
def test_garbage_is_drawn_as_a_document_too(parts: list[tuple[int, bytes]], title: str) -> None:
    garbage = [Event(at, number, "up", data) for at, (number, data) in enumerate(parts)]
    parsed(draw(Recording(Head(FORMAT, "", title), garbage)))


def test_what_only_looks_like_the_chat_disturbs_nothing() -> None:
    bodies = (b'[{"offset":1,', b'[{"offset":1,"kind":1}]', b'{"text":"\\ud800"}', b'"text":"\xff"')
    for body in bodies:
        both = [Event(1, 0, "up", POLL + POLL), Event(2, 0, "down", answer(body) + NOTHING)]
        parsed(draw(recorded(*both)))


def test_a_long_recording_is_cut_and_the_rest_is_counted() -> None:
    say = post("/sendMessage", b'{"text":"hello","session":"s"}')
    both = [Event(at, 0, "up" if at % 2 else "down", b"") for at in range(2)]
    for at in range(200):
        both += [Event(at, 0, "up", say), Event(at, 0, "down", answer(b'{"offset":1}'))]
    shown = list(rows(tell(recorded(*both))))
    assert len(shown) == ROWS + 1
    assert shown[-1].left_out == 400 - ROWS
    assert f"… {400 - ROWS} more …" in words(parsed(draw(recorded(*both))))


def test_heartbeats_in_a_row_are_counted_and_what_follows_is_drawn() -> None:
    both = [Event(at, 0, "up", POLL) for at in range(50)]
    both += [Event(at, 0, "down", NOTHING) for at in range(50)]
    both += [Event(99, 0, "up", post("/disconnect", b"{}"))]
    *_, counted, last = rows(tell(recorded(*both)))
    assert counted.left_out > 50
    assert last.step
    assert last.step.label == "POST /disconnect"


def test_of_a_crowd_the_first_few_are_drawn() -> None:
    both = [Event(number, number, "up", UPGRADE) for number in range(20)]
    both += [Event(20 + number, number, "down", SWITCHING) for number in range(20)]
    svg = parsed(draw(recorded(*both)))
    heads = [element for element in svg.iter(SVG + "text") if element.get("class") == "who"]
    assert len(heads) == CLIENTS + 1
    assert words(svg).count(f"… {20 - CLIENTS} more …") == 2


def test_connections_with_one_token_are_one_client() -> None:
    join = post("/newUserConnect", b'{"name":"ann"}')
    both = [
        Event(1, 0, "up", join),
        Event(2, 0, "down", answer(b'{"session":"s","name":"ann","epoch":"e"}')),
        Event(3, 1, "up", POLL.replace(b"session=s", b"session=t")),
        Event(4, 2, "up", POLL),
    ]
    story = tell(recorded(*both))
    assert story.clients == ["ann", "client 2"]
    assert [step.client for step in story.steps] == [0, 0, 1, 0]


def test_a_connection_that_loads_a_page_belongs_to_who_joins_next() -> None:
    page, told = head("GET / HTTP/1.1", "Host: a"), answer(b"'session=' + session, sid=")
    both = []
    for at, session in ((0, b"s"), (100, b"t")):
        both += [
            Event(at + 1, at, "up", page),
            Event(at + 2, at, "down", told),
            Event(at + 3, at + 1, "up", POLL.replace(b"session=s", b"session=" + session)),
        ]
    assert [step.client for step in tell(recorded(*both)).steps] == [0, 0, 0, 1, 1, 1]
