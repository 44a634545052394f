from __future__ import annotations

import pytest

from labs.errors import UsageError
from labs.variants import FIVE
from labs.wire.ledger import account
from labs.wire.recording import FORMAT, Event, Head, Recording
from labs.wire.show import shown, table
from labs.wire.traffic import Traffic
from tests.labs.scenes import SAID, conversation
from tests.labs.test_dissect import CONVERSATIONS, POLL, answer, events, head

TOLD = {
    "polling": ["POST /newUserConnect HTTP/1.1", "HTTP/1.1 204 No Content", "Host: 127.0.0.1"],
    "longpolling": ["GET /updateMessage?session=", "HTTP/1.1 200 OK", '"kind":"join"'],
    "streaming": ["Content-Type: text/event-stream", "event updateMessage", "retry", "chunk of "],
    "websocket": ["text frame, fin, masked, ", "ping frame", "close frame, fin, 2 B: 1000", "ack"],
    "socketio": ["Engine.IO open", "Engine.IO ping probe", "Socket.IO ack 1", "Socket.IO connect"],
}


def recorded(*events: Event) -> Recording:
    return Recording(Head(FORMAT, "2026-01-01T00:00:00+00:00", "A test"), list(events))


@pytest.mark.parametrize("name", FIVE)
async def test_a_real_conversation_can_be_read(name: str) -> None:
    recording = await conversation(name)
    lines = list(shown(recording))
    text = "\n".join(lines)
    for words in (*TOLD[name], *(said for _, said in SAID)):
        assert words in text, words
    traffic = account(recording.events, [("all", None)])["all"]
    assert f"{traffic.up:,} B up, {traffic.down:,} B down" in lines[0]
    assert lines[-1 - len(list(table(traffic))) :][1:] == list(table(traffic))
    assert text.count("the client connects") == traffic.connections
    assert text.count("\nconnection ") == traffic.connections


def test_one_connection_can_be_picked() -> None:
    one, two = Event(1, 0, "up", POLL), Event(2, 1, "up", head("GET /other HTTP/1.1", "Host: a"))
    text = "\n".join(shown(recorded(one, two), 1))
    assert "GET /other" in text
    assert "updateMessage" not in text
    assert f"1 connection, 1 request, {len(two.data)} B up" in text
    with pytest.raises(UsageError, match="no connection 2 is in it; there are 0 to 1"):
        list(shown(recorded(one, two), 2))
    with pytest.raises(UsageError, match="nothing was recorded"):
        list(shown(recorded(), 0))


def test_times_are_milliseconds_from_the_beginning() -> None:
    lines = list(shown(recorded(Event(7_000_000, 0, "opened"), Event(8_500_000, 0, "up", POLL))))
    assert any(line.startswith("       0.0  the client connects") for line in lines)
    assert any(line.startswith("       1.5  up    GET /updateMessage") for line in lines)


def test_fields_are_one_line_each_and_folded_ones_too() -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\nX: one\r\n two\r\n\r\n"
    lines = [line.strip() for line in shown(recorded(Event(1, 0, "up", request)))]
    assert "Host: a" in lines
    assert "X: one two" in lines


def test_nothing_hostile_reaches_the_terminal() -> None:
    told = answer("\x1b[31mred \u202eturned\0".encode())
    text = "\n".join(shown(recorded(Event(1, 0, "up", POLL), Event(2, 0, "down", told))))
    text += "\n".join(shown(recorded(Event(1, 0, "up", b"\x1b]0;x\x07"))))
    assert "\\x1b[31mred \\u202eturned" in text
    assert all(char.isprintable() or char == "\n" for char in text)


def test_what_is_no_text_is_shown_in_hexadecimal() -> None:
    told = answer(b"\xff\x00\x10")
    text = "\n".join(shown(recorded(Event(1, 0, "up", POLL), Event(2, 0, "down", told))))
    assert "ff 00 10" in text


def test_long_bodies_are_cut_and_counted() -> None:
    told = answer(b"x" * 1_000)
    text = "\n".join(shown(recorded(Event(1, 0, "up", POLL), Event(2, 0, "down", told))))
    assert "x" * 300 + " ... 700 more" in text
    assert "x" * 301 not in text


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_every_kind_of_piece_can_be_shown(name: str) -> None:
    assert len(list(shown(recorded(*events(CONVERSATIONS[name]))))) > 20


def test_the_table_says_what_is_there() -> None:
    traffic = Traffic(cells={"up/text/steady": 1_000, "down/http_head/page": 2})
    assert [line.split() for line in table(traffic) if line] == [
        ["layer", "up", "down", "both"],
        ["http_head", "0", "2", "2"],
        ["text", "1,000", "0", "1,000"],
        ["all", "1,000", "2", "1,002"],
        ["phase", "up", "down", "both"],
        ["page", "0", "2", "2"],
        ["steady", "1,000", "0", "1,000"],
        ["all", "1,000", "2", "1,002"],
    ]
