"""What holds for every conversation, however it is cut, broken off or spoilt."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from labs.chat import Batch
from labs.chat.messages import Message, encode, encode_batch
from labs.wire.dissect import Piece, dissect
from labs.wire.recording import Event, Kind
from socketio_chat.server import lesson_payload, payload
from streaming.server import chunk, event
from websocket_chat.server import frame

BATCH = Batch("e", [Message(1, "join", "보라", "", 0), Message(2, "talk", "보라", '안녕 "\n', 0)])
TEXT = len('안녕 "\n'.encode())
JOINED = encode({"session": "s", "epoch": "e", "head": 1})


def head(first: str, *fields: str) -> bytes:
    return "\r\n".join((first, *fields, "", "")).encode()


def post(path: str, body: bytes) -> bytes:
    return head(f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}") + body


def answer(body: bytes, *fields: str, status: int = 200) -> bytes:
    return head(f"HTTP/1.1 {status} OK", f"Content-Length: {len(body)}", *fields) + body


POLL = head("GET /updateMessage?session=s&since=e:1 HTTP/1.1", "Host: a")
NOTHING = head("HTTP/1.1 204 No Content")
SAY = post("/sendMessage", encode({"text": "안녕", "key": "k", "session": "s"}))
CHUNKED = head("POST /sendMessage HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")
CHUNKED += b'5\r\n{"tex\r\n1;a=b\r\nt\r\n' + chunk('":"보라"}'.encode()) + b"0\r\nA: b\r\n\r\n"
UPGRADE = head("GET / HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: websocket")
SWITCHING = head("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket")
ENGINE = "/socket.io/?EIO=4&transport="
WEBSOCKET = UPGRADE.replace(b"/ HTTP", f"{ENGINE}websocket&sid=x HTTP".encode())
STREAM = head("HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked")
EVENTS = event("updateMessage", encode_batch(BATCH), "e:2")


def up(opcode: Opcode, data: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


def down(opcode: Opcode, data: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=False)


def said(event: str, data: object, number: int | None = None) -> bytes:
    return encode({"event": event, "data": data} | ({} if number is None else {"id": number}))


FRAME = frame(BATCH)
HALF = len(FRAME) // 2
Turns = Sequence[tuple[bytes, bytes]]  # what goes up, what comes down for it
CONVERSATIONS: dict[str, Turns] = {
    "polling": [
        (head("GET / HTTP/1.0"), answer(b"<p>hello</p>")),
        (head("HEAD /client.js HTTP/1.1", "Host: a"), head("HTTP/1.1 200 OK", "Content-Length: 9")),
        (post("/newUserConnect", b'{"name":"a"}'), answer(JOINED)),
        (POLL + POLL + SAY, NOTHING + answer(encode_batch(BATCH)) + answer(b'{"offset":2}')),
        (POLL, head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + chunk(b"[]") + chunk(b"")),
        (CHUNKED, head("HTTP/1.1 100 Continue") + answer(b'{"offset":3}')),
        (POLL, answer(zlib.compress(encode_batch(BATCH)), "Content-Encoding: deflate")),
        (POLL, answer(b'{"code":"unknown_session"}', status=404)),
        (post("/disconnect", b'{"session":"s"}'), NOTHING),
        (POLL, head("HTTP/1.0 200 OK", "Connection: close") + encode_batch(BATCH)),
    ],
    "streaming": [
        (post("/newUserConnect", b'{"name":"a"}'), answer(JOINED)),
        (POLL, STREAM + chunk(b"retry: 1000\n\n") + chunk(EVENTS[:37]) + chunk(EVENTS[37:])),
        (b"", chunk(b":\n\n") + chunk(EVENTS + b"data: x\r\ndata\r\r") + b"0\r\n\r\n"),
        (post("/disconnect", b'{"session":"s"}'), NOTHING),
    ],
    "websocket": [
        (UPGRADE, SWITCHING),
        (up(Opcode.TEXT, said("newUserConnect", {"name": "a"}, 1)), FRAME),
        (b"", down(Opcode.TEXT, said("ack", {"session": "s"}, 1))),
        (up(Opcode.TEXT, said("sendMessage", {"text": "안녕"}, 2)[:30], fin=False), b""),
        (up(Opcode.PING, b"now"), down(Opcode.PONG, b"now")),
        (up(Opcode.CONT, said("sendMessage", {"text": "안녕"}, 2)[30:]), FRAME),
        (up(Opcode.TEXT, said("disconnect", {}, 3)), down(Opcode.TEXT, said("ack", {}, 3))),
        (up(Opcode.TEXT, b"x" * 200), down(Opcode.TEXT, b"x" * 70_000)),
        (up(Opcode.CLOSE, b"\x03\xe8bye"), down(Opcode.CLOSE, b"\x03\xe8")),
    ],
    "socketio": [
        (head(f"GET {ENGINE}polling HTTP/1.1", "Host: a"), answer(b'0{"sid":"x"}')),
        (post(f"{ENGINE}polling&sid=x", b"40"), answer(b"ok")),
        (
            post(f"{ENGINE}polling&sid=x", b'420["newUserConnect",{"name":"a"}]'),
            answer(b"ok"),
        ),
        (
            head(f"GET {ENGINE}polling&sid=x HTTP/1.1", "Host: a"),
            answer(b"430[%b]\x1e4%b" % (JOINED, payload(BATCH))),
        ),
        (WEBSOCKET, SWITCHING),
        (up(Opcode.TEXT, b"2probe"), down(Opcode.TEXT, b"3probe")),
        (up(Opcode.TEXT, b"5"), down(Opcode.TEXT, b"6")),
        (
            up(Opcode.TEXT, '42/,1["sendMessage",{"message":"안녕"}]'.encode()),
            down(Opcode.TEXT, b"4" + payload(BATCH)),
        ),
        (up(Opcode.TEXT, b'451-["x",{"_placeholder":true,"num":0}]'), down(Opcode.TEXT, b"2")),
        (up(Opcode.BINARY, b"\0\1"), down(Opcode.TEXT, b'44{"message":"no"}')),
        (
            up(Opcode.TEXT, b"3"),
            b"".join(down(Opcode.TEXT, b"4" + one) for one in lesson_payload(BATCH).split(b"\x1e")),
        ),
        (up(Opcode.TEXT, b"41"), down(Opcode.TEXT, b"1")),
    ],
}


def events(turns: Turns) -> list[Event]:
    """Each turn's halves at moments of their own."""
    sent = [(kind, data) for turn in turns for kind, data in zip(("up", "down"), turn, strict=True)]
    return [Event(at, 0, as_kind(kind), data) for at, (kind, data) in enumerate(sent)]


def as_kind(kind: str) -> Kind:
    return "up" if kind == "up" else "down"


def cut(whole: Sequence[Event], sizes: Sequence[int]) -> list[Event]:
    """The same bytes in other pieces, at moments of their own."""
    pieces: list[Event] = []
    for one in whole:
        at, turn = 0, 0
        while at < len(one.data):
            size = sizes[turn % len(sizes)]
            part = one.data[at : at + size]
            pieces.append(Event(one.at_ns * 100_000 + at, 0, one.kind, part))
            at, turn = at + size, turn + 1
    return pieces


def shape(pieces: Sequence[Piece]) -> list[tuple[object, ...]]:
    """Everything of the pieces but their moments."""
    each = [
        (one.direction, one.end, one.kind, one.phase, dict(one.layers), one.note, one.said)
        for one in pieces
    ]
    return sorted(each, key=lambda one: (one[0], one[1], one[2]))


def carried(of: Sequence[Event], direction: str) -> int:
    return sum(len(event.data) for event in of if event.kind == direction)


def check_sum(pieces: Sequence[Piece], of: Sequence[Event]) -> None:
    for direction in ("up", "down"):
        total = sum(piece.size for piece in pieces if piece.direction == direction)
        assert total == carried(of, direction)


def opaque(pieces: Sequence[Piece]) -> int:
    return sum(piece.layers.get("opaque", 0) for piece in pieces)


names = st.sampled_from(sorted(CONVERSATIONS))


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_whole_conversation_is_understood(name: str) -> None:
    whole = events(CONVERSATIONS[name])
    pieces = dissect(whole)
    check_sum(pieces, whole)
    assert opaque(pieces) == 0
    assert [piece.at_ns for piece in pieces] == sorted(piece.at_ns for piece in pieces)
    assert all(piece.begun_ns <= piece.at_ns for piece in pieces)


@settings(max_examples=100, deadline=None)
@given(names, st.lists(st.integers(1, 90), min_size=1, max_size=6))
def test_however_it_is_cut_the_pieces_are_the_same(name: str, sizes: list[int]) -> None:
    whole = events(CONVERSATIONS[name])
    assert shape(dissect(cut(whole, sizes))) == shape(dissect(whole))


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_byte_by_byte_the_pieces_are_the_same(name: str) -> None:
    whole = events(CONVERSATIONS[name])
    assert shape(dissect(cut(whole, [1]))) == shape(dissect(whole))


@settings(max_examples=200, deadline=None)
@given(names, st.data())
def test_a_conversation_that_breaks_off_is_understood_as_far_as_it_goes(
    name: str, data: st.DataObject
) -> None:
    whole = cut(events(CONVERSATIONS[name]), [7])
    begun = whole[: data.draw(st.integers(0, len(whole)))]
    pieces = dissect(begun)
    check_sum(pieces, begun)
    assert opaque(pieces) == 0


@settings(max_examples=200, deadline=None)
@given(names, st.data())
def test_of_a_spoilt_conversation_no_byte_is_lost(name: str, data: st.DataObject) -> None:
    whole = events(CONVERSATIONS[name])
    spoilt = []
    for one in whole:
        raw = bytearray(one.data)
        for _ in range(data.draw(st.integers(0, 2)) if raw else 0):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        spoilt.append(Event(one.at_ns, 0, one.kind, bytes(raw)))
    check_sum(dissect(spoilt), spoilt)


HELLO = bytes.fromhex("16030100f8010000f40303") + bytes(range(256))


@pytest.mark.parametrize(
    "garbage", [HELLO, b"\0", b"\r\n\r\n", b"GET / HTTP/1.1\r\nno field\r\n\r\n", b"a b c\n\n"]
)
def test_what_is_no_http_is_opaque(garbage: bytes) -> None:
    both = [Event(1, 0, "up", garbage), Event(2, 0, "down", garbage)]
    pieces = dissect(both)
    assert opaque(pieces) == 2 * len(garbage)
    check_sum(pieces, both)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(("up", "down")), st.binary(max_size=80)), max_size=8))
def test_of_garbage_no_byte_is_lost(parts: list[tuple[str, bytes]]) -> None:
    garbage = [Event(at, 0, as_kind(kind), data) for at, (kind, data) in enumerate(parts)]
    check_sum(dissect(garbage), garbage)


def test_a_server_may_refuse_what_nobody_understands() -> None:
    both = [Event(1, 0, "up", HELLO), Event(2, 0, "down", answer(b"no", status=400))]
    pieces = dissect(both)
    assert opaque(pieces) == len(HELLO)
    assert [piece.kind for piece in pieces] == ["opaque", "response", "body"]


def test_a_piece_is_complete_with_its_last_byte() -> None:
    whole = events([(POLL, answer(encode_batch(BATCH)))])
    pieces = dissect(cut(whole, [1]))
    ends = {kind: len(whole[index].data) - 1 for index, kind in enumerate(("request", "body"))}
    moments = {piece.kind: piece.at_ns for piece in pieces}
    assert moments["request"] == ends["request"]
    assert moments["body"] == 100_000 + ends["body"]
    begun = {piece.kind: piece.begun_ns for piece in pieces}
    assert begun["request"] == 0
    assert begun["response"] == 100_000


def test_sizes_add_up_in_order() -> None:
    for turns in CONVERSATIONS.values():
        for direction in ("up", "down"):
            pieces = [one for one in dissect(events(turns)) if one.direction == direction]
            plain = [one for one in pieces if one.kind != "chunk"]
            if plain == pieces and all("goes on" not in one.note for one in pieces):
                assert list(accumulate(one.size for one in pieces)) == [one.end for one in pieces]
