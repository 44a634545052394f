"""The event stream parser, however the bytes were cut (WHATWG HTML section 9.2.6)."""

from collections.abc import Callable, Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.client import Event, EventStream
from streaming.server import chunk, event
from tests.labs.properties import PROPERTY

Cut = Callable[[bytes], Iterator[bytes]]


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def ones(data: bytes) -> Iterator[bytes]:
    yield from (data[start : start + 1] for start in range(len(data)))


def twos(data: bytes) -> Iterator[bytes]:
    yield from (data[start : start + 2] for start in range(0, len(data), 2))


def with_pauses(data: bytes) -> Iterator[bytes]:
    for one in ones(data):
        yield b""
        yield one


@pytest.fixture(params=[whole, ones, twos, with_pauses], ids=lambda cut: str(cut.__name__))
def cut(request: pytest.FixtureRequest) -> Cut:
    one: Cut = request.param
    return one


@pytest.fixture(params=["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def newline(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def parsed(stream: EventStream, pieces: Iterator[bytes]) -> list[Event]:
    return [one for piece in pieces for one in stream.feed(piece)]


def message(data: str, name: str = "message", identity: str = "") -> Event:
    return Event(name, data, identity)


CASES = {
    "a message": ("data: hi\n\n", [message("hi")]),
    "several lines": (
        "data: one\ndata:two\ndata\ndata:  three\n\n",
        [message("one\ntwo\n\n three")],
    ),
    "a name": ("event: join\ndata: hi\n\ndata: hi\n\n", [message("hi", "join"), message("hi")]),
    "an id stays": (
        "id: e:1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
        [message("a", identity="e:1"), message("b", identity="e:1"), message("c")],
    ),
    "an id without data": ("id: e:7\n\ndata: a\n\n", [message("a", identity="e:7")]),
    "an id with NUL": ("id: e:1\nid: e\0:2\ndata: a\n\n", [message("a", identity="e:1")]),
    "comments": (": hi\n:\n\n:\ndata: a\n: between\ndata: b\n\n", [message("a\nb")]),
    "unknown fields": ("data: a\nfoo: bar\nData: b\n data: c\n\n", [message("a")]),
    "a colon in the value": ("data: a:b: c\n\n", [message("a:b: c")]),
    "one space at most": ("data:  a \n\n", [message(" a ")]),
    "a BOM": ("\ufeffdata: a\n\n", [message("a")]),
    "one BOM only": ("\ufeff\ufeffdata: a\n\ndata: b\n\n", [message("b")]),
    "a BOM in the middle": ("data: \ufeffa\n\n", [message("\ufeffa")]),
    "empty data": ("data\n\ndata\ndata\n\ndata:", [message(""), message("\n")]),
    "a name without data": ("event: x\n\ndata: a\n\n", [message("a")]),
    "an incomplete event": ("data: a\n\ndata: b\n", [message("a")]),
    "an incomplete line": ("data: a\n\ndata: b", [message("a")]),
    "many empty lines": ("\n\n\ndata: a\n\n\n\n", [message("a")]),
    "Korean": ("data: 안녕 하늘 🙂\n\n", [message("안녕 하늘 🙂")]),
    "no line breaks of its own": (
        "data: a\u2028b\u2029c\x0bd\x0ce\x85f\x1eg\n\n",
        [message("a\u2028b\u2029c\x0bd\x0ce\x85f\x1eg")],
    ),
    "nothing": ("", []),
}


@pytest.mark.parametrize("case", CASES)
def test_S10_3_events(case: str, cut: Cut, newline: str) -> None:
    text, events = CASES[case]
    assert parsed(EventStream(), cut(text.replace("\n", newline).encode())) == events


def test_S10_3_line_ends_may_be_mixed(cut: Cut) -> None:
    stream = EventStream()
    text = b"data: a\rdata: b\r\ndata: c\n\rdata: d\r\r\ndata: e\n\r\n"
    assert parsed(stream, cut(text)) == [message("a\nb\nc"), message("d"), message("e")]


def test_S10_3_korean_cut_inside_a_character() -> None:
    data = "data: 가\n\n".encode()
    start = data.index("가".encode())
    for place in (start + 1, start + 2):
        stream = EventStream()
        assert parsed(stream, iter([data[:place], data[place:]])) == [message("가")]


def test_S10_3_what_is_not_utf8_costs_a_character_not_the_stream(cut: Cut) -> None:
    text = b"data: a\xffb\n\ndata: c\n\n"
    assert parsed(EventStream(), cut(text)) == [message("a\ufffdb"), message("c")]


@pytest.mark.parametrize(
    ("value", "retry_ms"),
    [("1500", 1_500), ("0", 0), ("", 200), ("-1", 200), ("1.5", 200), ("1s", 200), ("٣", 200)],
)
def test_S10_3_retry(cut: Cut, value: str, retry_ms: int) -> None:
    stream = EventStream()
    assert parsed(stream, cut(f"retry: {value}\n\n".encode())) == []
    assert stream.retry_ms == retry_ms


LINE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))
NAME = LINE.filter(bool)
EVENTS = st.lists(st.tuples(NAME, st.lists(LINE, min_size=1, max_size=3)), max_size=5)


@PROPERTY
@given(EVENTS, st.sampled_from(["\n", "\r\n", "\r"]), st.randoms(use_true_random=False))
def test_S10_3_what_was_written_is_read_however_it_was_cut(
    events: list[tuple[str, list[str]]], newline: str, chance: Random
) -> None:
    text = ""
    for number, (name, lines) in enumerate(events, 1):
        text += f"event: {name}{newline}id: e:{number}{newline}"
        text += "".join(f"data: {line}{newline}" for line in lines) + newline
    data = text.encode()
    places = sorted(chance.randrange(len(data) + 1) for _ in range(8))
    pieces = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
    assert parsed(EventStream(), iter(pieces)) == [
        Event(name, "\n".join(lines), f"e:{number}")
        for number, (name, lines) in enumerate(events, 1)
    ]


@PROPERTY
@given(st.lists(st.binary(max_size=30), max_size=10))
def test_S10_3_no_bytes_at_all_break_it(pieces: list[bytes]) -> None:
    at_once = parsed(EventStream(), iter([b"".join(pieces)]))
    assert parsed(EventStream(), iter(pieces)) == at_once


def test_S10_3_what_our_server_writes_is_read() -> None:
    data = event("updateMessage", '[{"text":"안녕"}]'.encode(), "e:7")
    assert parsed(EventStream(), ones(data)) == [Event("updateMessage", '[{"text":"안녕"}]', "e:7")]
    assert chunk(data) == b"%x\r\n" % len(data) + data + b"\r\n"
