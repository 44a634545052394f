"""Which layer and which phase: the rules, one by one."""

from __future__ import annotations

import zlib

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from labs.chat.messages import encode_batch
from labs.wire.dissect import dissect
from labs.wire.dissect.eventstream import blocks
from labs.wire.dissect.packets import Packets, most_telling
from labs.wire.dissect.pieces import Piece
from labs.wire.recording import Event
from labs.wire.traffic import Traffic, added, cell
from socketio_chat.server import payload
from streaming.server import chunk
from tests.labs.test_dissect import (
    BATCH,
    ENGINE,
    EVENTS,
    FRAME,
    JOINED,
    NOTHING,
    POLL,
    SAY,
    STREAM,
    SWITCHING,
    TEXT,
    UPGRADE,
    answer,
    down,
    events,
    head,
    post,
    said,
    up,
)

PAYLOAD = b'{"event":"updateMessage","data":%b}' % encode_batch(BATCH)


def cells(pieces: list[Piece]) -> Traffic:
    each = (
        {cell(one.direction, layer, one.phase): size}
        for one in pieces
        for layer, size in one.layers.items()
        if size
    )
    return Traffic(cells=added(each))


def exchange(going_up: bytes, coming_down: bytes) -> Traffic:
    return cells(dissect(events([(going_up, coming_down)])))


KOREAN = '42["sendMessage",{"message":"안녕"}]'.encode()
SPLIT = [
    (b'0{"sid":"x"}', "handshake", {"framing": 12}),
    (b"40", "handshake", {"framing": 2}),
    (b'40{"sid":"x"}', "handshake", {"framing": 13}),
    (b"2probe", "handshake", {"framing": 6}),
    (b"3probe", "handshake", {"framing": 6}),
    (b"5", "handshake", {"framing": 1}),
    (b"6", "handshake", {"framing": 1}),
    (b"2", "heartbeat", {"framing": 1}),
    (b"3", "heartbeat", {"framing": 1}),
    (b"1", "close", {"framing": 1}),
    (b"41", "close", {"framing": 2}),
    (b"41/admin,", "close", {"framing": 9}),
    (b'421["newUserConnect","ann"]', "join", {"framing": 22, "envelope": 5}),
    (b'431[{"offset":1}]', "steady", {"framing": 5, "envelope": 12}),
    (b"437[%b]" % JOINED, "join", {"framing": 5, "envelope": len(JOINED)}),
    (KOREAN, "steady", {"framing": 18, "envelope": 14, "text": 6}),
    (
        b'42/a,12["sendMessage","hello"]',
        "steady",
        {"framing": 23, "envelope": 2, "text": 5},
    ),
    (
        '42["updateMessage",{"name":"보라","message":"\\uc548"}]'.encode(),
        "steady",
        {"framing": 20, "envelope": 30 + 3, "text": 3},
    ),
    (
        '42["updateMessage",{"name":"SERVER","message":"a님이 접속했습니다."}]'.encode(),
        "steady",
        {"framing": 20, "envelope": 30 + len("a님이 접속했습니다.".encode())},
    ),
    (b'44{"message":"no"}', "steady", {"framing": 2, "envelope": 16}),
    (b'42{"no":"array"}', "steady", {"framing": 2, "envelope": 14}),
    (b"42[]", "steady", {"framing": 2, "envelope": 2}),
    (b"4", "steady", {"framing": 1, "envelope": 0}),
    (b"bAAEC", "steady", {"framing": 1, "envelope": 4}),
    (b"96:0{}", "steady", {"opaque": 6}),
]


@pytest.mark.parametrize(("packet", "phase", "layers"), SPLIT)
def test_packets(packet: bytes, phase: str, layers: dict[str, int]) -> None:
    meaning = Packets().meaning(packet)
    assert (meaning.phase, dict(meaning.layers)) == (phase, layers)
    assert sum(layers.values()) == len(packet)


def test_an_ack_belongs_to_what_it_answers() -> None:
    packets = Packets()
    packets.meaning(b'4212["newUserConnect",{"name":"a"}]')
    assert packets.meaning(b'4312[{"error":{"code":"name_taken"}}]').phase == "join"
    assert packets.meaning(b'4313[{"error":{"code":"bad_text"}}]').phase == "steady"


def test_the_most_telling_packet_decides() -> None:
    assert most_telling(["heartbeat", "steady", "close"], "handshake") == "steady"
    assert most_telling(["steady", "join"], "handshake") == "join"
    assert most_telling(["heartbeat", "close"], "handshake") == "close"
    assert most_telling(["heartbeat", "handshake"], "steady") == "handshake"
    assert most_telling([], "heartbeat") == "heartbeat"


STREAMED = [
    (b"retry: 1000\n\n", "handshake", {"framing": 13}),
    (b":\n\n", "heartbeat", {"framing": 3}),
    (b"\n", "heartbeat", {"framing": 1}),
    (b": a\r\n\r\n", "heartbeat", {"framing": 7}),
    (b"data: x\r\rdata", "steady", {"framing": 8, "envelope": 1}),
    (b"event: error\ndata:{}\n\n", "steady", {"framing": 20, "envelope": 2}),
    (b"data: a\ndata: b\n\n", "steady", {"framing": 15, "envelope": 2}),
    (EVENTS, "steady", {"envelope": len(encode_batch(BATCH)) - TEXT, "text": TEXT}),
]


@pytest.mark.parametrize(("raw", "phase", "layers"), STREAMED)
def test_event_streams(raw: bytes, phase: str, layers: dict[str, int]) -> None:
    first, *more = blocks(raw)
    layers.setdefault("framing", len(raw) - sum(layers.values()))
    assert first.meaning.phase == phase
    assert {key: size for key, size in first.meaning.layers.items() if size} == layers
    assert sum(sum(one.meaning.layers.values()) for one in (first, *more)) == len(raw)


def test_a_byte_order_mark_is_framing() -> None:
    (block,) = blocks(b"\xef\xbb\xbf" + EVENTS)
    assert block.meaning.layers["text"] == TEXT
    assert sum(block.meaning.layers.values()) == len(EVENTS) + 3


def test_a_poll_that_brings_nothing_is_a_heartbeat() -> None:
    assert exchange(POLL, NOTHING).of(phase="heartbeat") == len(POLL + NOTHING)
    assert exchange(POLL, b"").of(phase="heartbeat") == len(POLL)
    empty = answer(b"[]")
    assert exchange(POLL, empty).of(phase="heartbeat") == len(POLL + empty)
    noop = answer(b"6")
    engine = head(f"GET {ENGINE}polling&sid=x HTTP/1.1", "Host: a")
    assert exchange(engine, noop).of(phase="handshake") == len(engine + noop)
    assert exchange(engine, b"").of(phase="heartbeat") == len(engine)
    assert exchange(engine, answer(b"2")).of(phase="heartbeat") == len(engine + noop)


def test_a_poll_that_brings_something_or_an_error_is_steady() -> None:
    full, gone = answer(encode_batch(BATCH)), answer(b'{"code":"unknown_session"}', status=404)
    assert exchange(POLL, full).of(phase="steady") == len(POLL + full)
    assert exchange(POLL, full).of("down", "text") == TEXT
    assert exchange(POLL, gone).of(phase="steady") == len(POLL + gone)
    engine = head(f"GET {ENGINE}polling&sid=x HTTP/1.1", "Host: a")
    assert exchange(engine, gone).of(phase="steady") == len(engine + gone)


def test_an_event_stream_opens_in_the_handshake_and_closes_with_its_last_chunk() -> None:
    traffic = exchange(POLL, STREAM + chunk(b"retry: 1\n\n") + chunk(EVENTS) + chunk(b":\n\n"))
    assert traffic.of("up", phase="handshake") == len(POLL)
    assert traffic.of("down", phase="handshake") == len(STREAM + chunk(b"retry: 1\n\n"))
    assert traffic.of("down", phase="steady") == len(chunk(EVENTS))
    assert traffic.of("down", phase="heartbeat") == len(chunk(b":\n\n"))
    ended = exchange(POLL, STREAM + chunk(EVENTS) + chunk(b""))
    assert ended.of("down", "chunk", "close") == len(chunk(b""))
    asked = POLL[:-2] + b"Accept: text/event-stream\r\n\r\n"
    assert exchange(asked, b"").of(phase="handshake") == len(asked)


@pytest.mark.parametrize("path", ["/", "/client.js", "/socket.io/socket.io.js", "/sendMessage"])
def test_whatever_else_is_fetched_is_of_the_page(path: str) -> None:
    asked, told = head(f"GET {path}?x HTTP/1.1", "Host: a"), answer(b"content")
    traffic = exchange(asked, told)
    assert traffic.of(phase="page") == len(asked + told)
    assert traffic.of(layer="content") == len(b"content")


def test_commands_over_http() -> None:
    join = post("/newUserConnect", b'{"name":"a"}')
    assert exchange(join, answer(JOINED)).of(phase="join") == len(join + answer(JOINED))
    assert exchange(join, answer(JOINED)).of("down", "envelope") == len(JOINED)
    assert exchange(SAY, answer(b"{}")).of("up", "text", "steady") == len("안녕".encode())
    leave = post("/disconnect", b'{"session":"s"}')
    assert exchange(leave, NOTHING).of(phase="close") == len(leave + NOTHING)


def test_a_refused_upgrade_is_a_handshake_and_requests_go_on() -> None:
    refused = answer(b'{"code":"forbidden_origin"}', status=403)
    traffic = exchange(UPGRADE + POLL, refused + NOTHING)
    assert traffic.of(phase="handshake") == len(UPGRADE + refused)
    assert traffic.of(phase="heartbeat") == len(POLL + NOTHING)


def test_frames_of_the_chat() -> None:
    asked = up(Opcode.TEXT, said("newUserConnect", {"name": "a"}, 7))
    taken = down(Opcode.TEXT, said("error", {"code": "name_taken"}, 7))
    traffic = exchange(UPGRADE + asked, SWITCHING + taken + FRAME)
    assert traffic.of("up", phase="join") == len(asked)
    assert traffic.of("down", phase="join") == len(taken)
    assert traffic.of("down", "text", "steady") == TEXT
    assert traffic.of("down", "framing", "steady") == len(FRAME) - len(PAYLOAD)
    end = up(Opcode.CLOSE, b"\x03\xe8")
    traffic = exchange(UPGRADE + up(Opcode.PING, b"now") + end, SWITCHING)
    assert traffic.of("up", "framing", "heartbeat") == 6 + 3
    assert traffic.of("up", "framing", "close") == len(end)


@pytest.mark.parametrize("alone", [False, True])
def test_a_compressed_frame_is_envelope_whole_but_known_for_what_it_is(alone: bool) -> None:
    deflate = PerMessageDeflate(False, alone, 15, 15)
    coming = [said("ack", {}, 1), PAYLOAD, said("updateMessage", [])]
    sent = [Frame(Opcode.TEXT, one).serialize(mask=False, extensions=[deflate]) for one in coming]
    terms = "permessage-deflate" + ("; server_no_context_takeover" if alone else "")
    switching = SWITCHING[:-2] + f"Sec-WebSocket-Extensions: {terms}\r\n\r\n".encode()
    asked = up(Opcode.TEXT, said("newUserConnect", {"name": "a"}, 1))
    traffic = exchange(UPGRADE + asked, switching + b"".join(sent))
    assert traffic.of("down", phase="join") == len(sent[0])
    assert traffic.of("down", "framing", "steady") == 4
    assert traffic.of("down", "envelope", "steady") == len(sent[1]) + len(sent[2]) - 4
    assert traffic.of(layer="opaque") == 0


def test_a_compressed_body_is_envelope_whole_but_known_for_what_it_is() -> None:
    packed = zlib.compress(b"430[%b]\x1e4%b" % (JOINED, payload(BATCH)))
    engine = head(f"GET {ENGINE}polling&sid=x HTTP/1.1", "Host: a")
    told = answer(packed, "Content-Encoding: deflate")
    traffic = exchange(engine, told)
    assert traffic.of(phase="join") == len(engine + told)
    assert traffic.of("down", "envelope") == len(packed)
    page = answer(packed, "Content-Encoding: br")
    assert exchange(head("GET / HTTP/1.1", "Host: a"), page).of(layer="content") == len(packed)


def test_separators_of_a_payload_are_framing() -> None:
    body = b"4%b\x1e2" % payload(BATCH)
    engine = head(f"GET {ENGINE}polling&sid=x HTTP/1.1", "Host: a")
    traffic = exchange(engine, answer(body))
    assert traffic.of("down", phase="steady") == len(answer(body))
    inside = len(encode_batch(BATCH))
    assert traffic.of("down", "framing") == len(body) - inside
    assert traffic.of("down", "text") == TEXT


def test_another_protocol_after_an_upgrade_is_opaque() -> None:
    asked = head("GET / HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: x")
    pieces = dissect([Event(1, 0, "up", asked + b"abc"), Event(2, 0, "down", SWITCHING + b"de")])
    assert cells(pieces).of(layer="opaque") == 5
