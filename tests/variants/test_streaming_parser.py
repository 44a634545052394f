"""The event stream parser, however the bytes were cut (WHATWG HTML section 9.2.6; S10.3)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.client import Event, EventStream
from streaming.server import event

STREAM = "\n".join(
    [
        "retry: 250",
        "",
        ": a comment",
        "event: updateMessage",
        "id: 3f9a1c2b:7",
        'data: [{"text":"안녕하세요"}]',
        "",
        "data: two",
        "data: lines",
        "data",
        "",
        "event: nothing",
        "",
        "data:no space",
        "unknown: field",
        "id: with\0nul",
        "",
        "data: never ended",
    ]
)
EVENTS = [
    Event("updateMessage", '[{"text":"안녕하세요"}]', "3f9a1c2b:7"),
    Event("message", "two\nlines\n", "3f9a1c2b:7"),
    Event("message", "no space", "3f9a1c2b:7"),
]


def parsed(pieces: Iterable[bytes]) -> tuple[list[Event], int]:
    stream = EventStream()
    return [one for piece in pieces for one in stream.feed(piece)], stream.retry_ms


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 10_000])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_S10_3_the_same_events_however_cut(ending: str, size: int, mark: str) -> None:
    data = (mark + STREAM.replace("\n", ending)).encode()
    assert parsed(cut(data, size)) == (EVENTS, 250)


def test_a_korean_letter_may_be_cut_in_two() -> None:
    whole = "data: 한글\n\n".encode()
    for at in range(1, len(whole)):
        assert parsed([whole[:at], whole[at:]])[0] == [Event("message", "한글", "")]


def test_the_halves_of_crlf_may_come_apart() -> None:
    assert parsed([b"data: a\r", b"\n\r", b"\ndata: b\r\n", b"\r\n"])[0] == [
        Event("message", "a", ""),
        Event("message", "b", ""),
    ]


def test_an_event_that_is_not_complete_is_dropped() -> None:
    assert parsed([b"data: a\n"])[0] == []
    assert parsed([b"data: a\n\nevent: x\ndata: b\n"])[0] == [Event("message", "a", "")]


def test_a_byte_order_mark_counts_only_at_the_start() -> None:
    assert parsed([b"data: a\n\n", "\ufeffdata: b\n\n".encode()])[0] == [Event("message", "a", "")]


def test_retry_takes_digits_only() -> None:
    assert parsed([b"retry: 1.5\nretry: x\nretry: -1\n\n"])[1] == EventStream().retry_ms
    assert parsed([b"retry: 42\n"])[1] == 42


@given(
    st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1), max_size=5),
    st.randoms(use_true_random=False),
)
def test_what_the_server_frames_the_client_reads(texts: list[str], random: object) -> None:
    data = b"".join(
        event("updateMessage", text.encode(), f"e:{number}") for number, text in enumerate(texts)
    )
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(5))  # type: ignore[attr-defined]
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert parsed(pieces)[0] == [
        Event("updateMessage", text, f"e:{number}") for number, text in enumerate(texts)
    ]
