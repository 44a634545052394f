"""Light clients take the same from the same bytes, however those were cut on their way."""

from __future__ import annotations

import gzip
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.utils import accept_key, apply_mask

from labs.bench.light import flood
from labs.bench.light.client import Base, Known
from labs.bench.light.frames import Socket, text_frame
from labs.bench.light.http import Answer, read
from labs.bench.light.pool import Asker, Connection, Last, Pool
from labs.bench.light.streaming import Stream
from labs.chat import Message
from labs.errors import ChatError
from labs.variants import load
from tests.labs.lights import Notes, made

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the example of RFC 6455 section 1.3

SAID = [
    [Message(1, "join", "ann", "", 1_700_000_000_000)],
    [Message(2, "talk", "ann", "#0 안녕하세요", 1_700_000_000_001)],
    [
        Message(3, "talk", '밥 "b" \\', '#1 {"offset":77,"kind":"talk","text":"#5', 1),
        Message(4, "talk", "ann", "no number", 1),
        Message(5, "leave", "#9", "", 1),
        Message(6, "talk", "ann", "#2\n\t</script>\u2028", 1),
    ],
    [Message(6, "talk", "ann", "#2 again", 1)],
    [Message(90, "gap", "", "0ther", 1), Message(91, "talk", "ann", "#3 긴 " * 200, 1)],
]
SEEN = [(0, 2), (1, 3), (2, 6), (2, 6), (3, 91)]
"""Index and offset of every talk with a number, duplicates too."""


class Wire:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.written = b""
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def set_protocol(self, protocol: object) -> None:
        """The end of a stream gives its connection back."""


def batch(messages: list[Message]) -> bytes:
    return msgspec.json.encode(messages)


def text(payload: bytes, **flags: bool) -> bytes:
    return Frame(Opcode.TEXT, payload, **flags).serialize(mask=False)


def event_stream(line_end: bytes = b"\n") -> bytes:
    """A response with every message in an event of its own chunk, and comments between."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    parts = [b"retry: 1000\n\n", b":\n\n"]
    for messages in SAID:
        event = b"event: updateMessage\nid: e:%d\ndata: %b\n\n"
        parts += [event % (messages[-1].offset, batch(messages)), b":\n\n"]
    chunks = (part.replace(b"\n", line_end) for part in parts)
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in chunks)


def websocket_frames(deflate: bool = False) -> bytes:
    """An upgrade, then a frame for every batch, one of them in three pieces around a ping."""
    offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflate else b""
    frames = [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accept_key(KEY).encode(), offer)
    ]
    payloads = [b'{"event":"updateMessage","data":%b}' % batch(messages) for messages in SAID]
    payloads[3] = b'{"data": %b, "event": "updateMessage"}' % batch(SAID[3])  # another server's
    if deflate:  # with a context that goes on from one message to the next
        extension = PerMessageDeflate(False, False, 15, 15)
        plain = (Frame(Opcode.TEXT, payload) for payload in payloads)
        return b"".join(
            [*frames, *(one.serialize(mask=False, extensions=[extension]) for one in plain)]
        )
    for number, payload in enumerate(payloads):
        if number != 2:
            frames.append(text(payload))
            continue
        frames += [
            text(payload[:50], fin=False),
            Frame(Opcode.PING, b"four").serialize(mask=False),
            Frame(Opcode.CONT, payload[50:90], fin=False).serialize(mask=False),
            Frame(Opcode.CONT, payload[90:]).serialize(mask=False),
        ]
    return b"".join(frames)


def socketio_frames() -> bytes:
    """The same for Socket.IO, with the pings and noops of Engine.IO between."""
    parts = websocket_frames().partition(b"\r\n\r\n")
    frames = [parts[0] + parts[1]]
    for messages in SAID:
        frames += [text(b"6"), text(b'42["updateMessage",%b]' % batch(messages)), text(b"2")]
    return b"".join(frames)


def fed(
    kind: str, pieces: list[bytes], known: Known | None = None, state: str = "closed"
) -> tuple[Notes, Base, Wire]:
    """What a light client takes from these pieces."""
    notes, wire = Notes(), Wire()
    variant = load(kind)
    client = cast(Any, made(variant, "http://127.0.0.1:1", variant.settings(), notes))
    client.state = state
    protocol: Any
    if kind == "streaming":
        protocol = Stream(client, cast(Any, wire))
        protocol.known = known or Known()
        client._stream = protocol
    else:
        protocol = Socket(client, cast(Any, wire), KEY, known or Known())
        client._socket = protocol
    for piece in pieces:
        protocol.data_received(piece)
    return notes, client, wire


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Data in pieces, none of them empty."""
    ends = sorted({place % len(data) for place in places} | {len(data)})
    starts = [0, *ends]
    return [data[start:end] for start, end in zip(starts, ends, strict=False) if start < end]


TRANSCRIPTS = {
    "streaming": ("streaming", event_stream()),
    "streaming, CR LF": ("streaming", event_stream(b"\r\n")),
    "streaming, CR": ("streaming", event_stream(b"\r")),
    "websocket": ("websocket", websocket_frames()),
    "websocket, deflated": ("websocket", websocket_frames(deflate=True)),
    "socketio": ("socketio-websocket", socketio_frames()),
}
transcripts = pytest.mark.parametrize("which", TRANSCRIPTS)
PLACES = st.lists(st.integers(0, 1 << 16), max_size=12)


def check(kind: str, pieces: list[bytes]) -> None:
    notes, client, wire = fed(kind, pieces)
    assert notes.of(0) == SEEN
    assert notes.foreigners == [0]
    assert client.position == "0ther:91"
    assert not wire.aborted
    assert notes.at_ns == sorted(notes.at_ns)


@transcripts
def test_whole(which: str) -> None:
    kind, data = TRANSCRIPTS[which]
    check(kind, [data])


@transcripts
def test_byte_by_byte(which: str) -> None:
    kind, data = TRANSCRIPTS[which]
    check(kind, [data[place : place + 1] for place in range(len(data))])


@transcripts
def test_cut_once_anywhere(which: str) -> None:
    kind, data = TRANSCRIPTS[which]
    for place in range(1, len(data), 7):
        check(kind, [data[:place], data[place:]])


@transcripts
@given(places=PLACES)
def test_cut_at_any_places(which: str, places: list[int]) -> None:
    kind, data = TRANSCRIPTS[which]
    check(kind, cut(data, places))


def test_pings_in_between_are_answered() -> None:
    _, _, wire = fed("websocket", [websocket_frames()])
    assert wire.written[:2] == b"\x8a\x84"
    _, _, wire = fed("socketio-websocket", [socketio_frames()])
    assert wire.written[:2] == b"\x81\x81"
    assert len(wire.written) == len(SAID) * 7


@pytest.mark.parametrize("name", flood.FRAMES)
def test_what_is_known_is_told_again_and_not_parsed(name: str) -> None:
    """Two clients that are sent the same bytes; a third is sent others of the same length."""
    head = TRANSCRIPTS[name.partition("-")[0]][1].partition(b"\r\n\r\n")
    known, frame = Known(), flood.FRAMES[name]
    start = head[0] + head[1]
    same, other = frame(7, 8), frame(8, 9)
    assert len(same) == len(other)
    for pieces in ([start, same, same], [start, same], [start, other], [start + same]):
        notes, client, _ = fed(name, pieces, known)
        expected = [(8, 9) if piece == other else (7, 8) for piece in pieces if piece != start]
        assert notes.of(0) == expected
        assert client.position_offset == expected[-1][1]
        # Never with the head of the response: it would be taken for the message alone.
        assert known.data in (b"", same, other)
    assert known.data == other
    # What stands alone in a read is known by its bytes, here a frame's that is never parsed.
    known.data, known.offset, known.index = b"?", 5, 6
    assert fed(name, [start, b"?", other], known)[0].of(0) == [(6, 5), (8, 9)]
    # What stands in the middle of something else is not taken for what is known.
    notes, _, _ = fed(name, [start, other[:20], same, other[20:]], known)
    assert (7, 8) not in notes.of(0)


@pytest.mark.parametrize(
    ("kind", "rubbish"),
    [
        ("streaming", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("streaming", b"SMTP 220\r\n\r\n"),
        ("streaming", event_stream() + b"xyz\r\n"),
        ("streaming", event_stream() + b"2\r\n:\n\n\r\n"),
        (
            "streaming",
            event_stream() + b"15\r\nevent: updateMessage\n\r\na\r\ndata: {]\n\n\r\n",
        ),
        ("websocket", b"HTTP/1.1 101 \r\nSec-WebSocket-Accept: wrong\r\n\r\n"),
        ("websocket", websocket_frames() + b"\x81\x85mask12345"),
        ("websocket", websocket_frames() + b"\xc1\x02{}"),
        ("websocket", websocket_frames() + text(b"not JSON")),
        ("websocket", websocket_frames() + b"\x83\x00"),
        ("socketio-websocket", socketio_frames() + text(b'42["updateMessage",{]')),
        ("socketio-websocket", socketio_frames() + text(b"41")),
        ("socketio-websocket", socketio_frames() + text(b"1")),
    ],
)
def test_what_is_not_understood_ends_the_connection(kind: str, rubbish: bytes) -> None:
    notes, client, wire = fed(kind, [rubbish])
    assert wire.aborted
    assert client.state == "closed"
    assert notes.of(0) in ([], SEEN)


def test_after_a_close_frame_there_is_nothing() -> None:
    close = Frame(Opcode.CLOSE, (1012).to_bytes(2, "big") + b"shutting_down: come back")
    after = close.serialize(mask=False) + Frame(Opcode.PING, b"").serialize(mask=False)
    notes, client, wire = fed("websocket", [websocket_frames() + after + text(b"{")], state="open")
    assert notes.of(0) == SEEN
    assert notes.broken == [0]
    assert isinstance(client.error, ChatError)
    assert client.error.code == "shutting_down"
    assert wire.written.count(b"\x8a") <= 1  # the pong before


def test_errors_in_the_stream_and_in_close_frames_are_the_chats() -> None:
    told = b'{"code":"slow_consumer","message":"read faster"}'
    event = b"event: error\ndata: %b\n\n" % told
    endings = {
        "streaming": event_stream() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(event), event),
        "websocket": websocket_frames()
        + Frame(Opcode.CLOSE, (4408).to_bytes(2, "big") + b"slow_consumer: read faster").serialize(
            mask=False
        ),
        "socketio-websocket": socketio_frames() + text(b'42["error",%b]' % told),
    }
    for kind, data in endings.items():
        _, client, _ = fed(kind, [data], state="open")
        assert isinstance(client.error, ChatError), kind
        assert (client.error.code, client.error.message) == ("slow_consumer", "read faster")


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536])
def test_text_frames_are_those_of_the_library(length: int) -> None:
    payload = bytes(place % 251 for place in range(length))
    frame, theirs = text_frame(payload), Frame(Opcode.TEXT, payload).serialize(mask=True)
    start = len(frame) - length
    assert frame[: start - 4] == theirs[: start - 4]
    assert apply_mask(frame[start:], frame[start - 4 : start]) == payload
    assert text_frame(payload)[start - 4 : start] != frame[start - 4 : start]  # a mask of its own


# Answers

ANSWERS = {
    "no content": (b"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n", 204, b"", True),
    "length": (b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n\xea\xb0\x80abc", 200, "가abc", True),
    "closing": (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        200,
        b"ok",
        False,
    ),
    "old": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    "chunked": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nTrailer: 1\r\n\r\n",
        200,
        b"abcd",
        True,
    ),
    "after a hint": (
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Not Found\r\n"
        b"Content-Length: 2\r\n\r\n{}",
        404,
        b"{}",
        True,
    ),
    "packed": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(gzip.compress(b"a" * 99)), gzip.compress(b"a" * 99)),
        200,
        b"a" * 99,
        True,
    ),
}


@pytest.mark.parametrize("which", ANSWERS)
def test_an_answer_is_whole_or_it_is_none(which: str) -> None:
    data, status, body, reusable = ANSWERS[which]
    for place in range(len(data)):
        assert read(data[:place]) is None, data[:place]
    answer = read(data)
    assert answer
    body = body.encode() if isinstance(body, str) else body
    assert (answer.status, answer.body, answer.reusable) == (status, body, reusable)
    assert answer.rest == b""
    again = read(data + b"HTTP/1.1 200")
    assert again
    assert again.rest == b"HTTP/1.1 200"


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    data = b"HTTP/1.1 200 OK\r\n\r\nall there is"
    assert read(data) is None
    assert read(data, ended=True) == Answer(200, data[:19], b"all there is", False)


@pytest.mark.parametrize(
    "data",
    [
        b"220 mail.example ESMTP\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabcdef",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\n?",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\n?",
    ],
)
def test_what_is_no_answer_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(data)


LASTING = [name for name, (_, _, _, reusable) in ANSWERS.items() if reusable]


class Heard:
    """Who asks."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.errors: list[Exception] = []

    def answered(self, answer: Answer, at_ns: int) -> None:
        self.answers.append(answer)

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


@given(places=PLACES, which=st.lists(st.sampled_from(LASTING), min_size=1, max_size=6))
def test_a_connection_reads_one_answer_after_the_other(places: list[int], which: list[str]) -> None:
    pool = Pool(cast(Any, None), keep_alive=True)
    connection, heard = Connection(pool), Heard()
    connection.last = Last()
    connection.connection_made(cast(Any, Wire()))
    for name in which:
        connection.ask(b"?", heard, b"")
        for piece in cut(ANSWERS[name][0], places):
            connection.data_received(piece)
    assert [answer.status for answer in heard.answers] == [ANSWERS[name][1] for name in which]
    assert heard.errors == []


class Dialling(Pool):
    """A pool that only notes for what it would open a connection."""

    def __init__(self) -> None:
        super().__init__(cast(Any, None), keep_alive=True)
        self.dialled: list[bytes] = []

    def dial(self, request: bytes, asker: Asker, again: bytes = b"") -> None:
        self.dialled.append(request)


@pytest.mark.parametrize("unasked", ["no content", "length"])
def test_an_answer_that_nobody_asked_for_ends_the_connection(unasked: str) -> None:
    """It would stand twice among the idle ones, and two requests would go out on it at once."""
    pool, wire, heard = Dialling(), Wire(), Heard()
    connection = Connection(pool)
    connection.last = Last()
    connection.connection_made(cast(Any, wire))
    connection.ask(b"0", heard, b"")
    connection.data_received(ANSWERS["no content"][0])
    connection.data_received(ANSWERS[unasked][0])
    assert wire.aborted
    pool.ask(b"1", heard)
    pool.ask(b"2", heard)
    assert wire.written == b"0"
    assert pool.dialled == [b"1", b"2"]
    assert (len(heard.answers), heard.errors) == (1, [])


def test_after_an_answer_that_closes_no_other_is_asked_for() -> None:
    connection, heard = Connection(Pool(cast(Any, None), keep_alive=True)), Heard()
    connection.connection_made(cast(Any, Wire()))
    connection.ask(b"?", heard, b"")
    connection.data_received(ANSWERS["closing"][0])
    connection.ask(b"?", heard, b"")
    assert len(heard.answers) == len(heard.errors) == 1
