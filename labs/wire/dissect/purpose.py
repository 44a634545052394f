"""What an HTTP exchange is for, and what its bodies hold.

A path that ends in a slash with `EIO=` in the query is Engine.IO's, wherever it lives; the
last part of any other path is a command of the chat or a file of the page.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple

from labs.wire.dissect import eventstream, said
from labs.wire.dissect.http import Head, Message
from labs.wire.dissect.packets import SEPARATOR, Packets, most_telling, payload
from labs.wire.dissect.pieces import Kind, Meaning

COMMANDS = {"newUserConnect": "join", "sendMessage": "steady", "disconnect": "close"}
LAST_CHUNK = "last chunk"
UNPACKED_BYTES = 1 << 26  # of a compressed body, no more is looked at


class Content(NamedTuple):
    """A part of a body that ends `end` bytes after the body's beginning."""

    end: int
    kind: Kind
    meaning: Meaning
    said: bytes


class Purpose(NamedTuple):
    """The phase of an exchange, and what its two bodies hold, from end to end.

    `last` is the phase of the last chunk, which of an event stream is its close.
    """

    phase: str
    up: list[Content]
    down: list[Content]
    last: str


def route(head: Head) -> str:
    """`engine`, `page`, `updateMessage`, or a key of `COMMANDS`."""
    path, _, query = head.target.partition("?")
    if path.endswith("/") and ("EIO=" in query):
        return "engine"
    name = path.rpartition("/")[2]
    asks = head.method in ("GET", "HEAD")
    if name == "updateMessage" or (name in COMMANDS and not asks):
        return name
    return "page"


def purpose(request: Message | None, response: Message | None, packets: Packets) -> Purpose:
    """What is known of an exchange of which a half may be missing."""
    if request is None:
        return _plain("steady", None, response)
    if is_upgrade(request.head):
        return _plain("handshake", request, response)
    where = route(request.head)
    if where == "engine":
        return _engine(request, response, packets)
    if where == "updateMessage":
        return _poll(request, response)
    if where == "page":
        return _plain("page", request, response, "content")
    text = said.in_command if where == "sendMessage" else None
    return _plain(COMMANDS[where], request, response, text_up=text)


def is_upgrade(head: Head) -> bool:
    """Whether a WebSocket is asked for (RFC 6455 section 4.1)."""
    return head.has("upgrade", "websocket")


def _poll(request: Message, response: Message | None) -> Purpose:
    if response is None:
        streams = request.head.has("accept", "text/event-stream")
        return _plain("handshake" if streams else "heartbeat", request, None)
    if response.head.has("content-type", "text/event-stream"):
        up = _body(request, "envelope", "handshake")
        return Purpose("handshake", up, _stream(response), "close")
    found = unpacked(response)
    nothing = response.head.status < 400 and found is not None and found.strip() in (b"", b"[]")
    phase = "heartbeat" if nothing else "steady"
    return _plain(phase, request, response, text_down=said.in_update)


def _plain(
    phase: str,
    request: Message | None,
    response: Message | None,
    layer: str = "envelope",
    text_up: Callable[[bytes], int] | None = None,
    text_down: Callable[[bytes], int] | None = None,
) -> Purpose:
    up, down = _body(request, layer, phase, text_up), _body(response, layer, phase, text_down)
    return Purpose(phase, up, down, phase)


def _body(
    message: Message | None,
    layer: str,
    phase: str,
    text: Callable[[bytes], int] | None = None,
) -> list[Content]:
    if message is None or not message.body.data:
        return []
    data, found = message.body.data, unpacked(message)
    layers = {layer: len(data)}
    if text and found is data:
        layers = said.split(len(data), text(data))
    what = found if found is not None else data
    return [Content(len(data), "body", Meaning(phase, layers, _note(message)), what)]


def _note(message: Message) -> str:
    coding = message.head.fields.get("content-encoding", "")
    cut = "" if message.body.whole else ", cut off"
    return f"{coding} body{cut}".lstrip()


def _stream(response: Message) -> list[Content]:
    if "content-encoding" not in response.head.fields:
        return [Content(*block) for block in eventstream.blocks(response.body.data)]
    size = len(response.body.data)
    ends = [end for end in response.body.offsets if end] or [size]
    found, begin = list[Content](), 0
    for end in ends:
        meaning = Meaning("steady", {"envelope": end - begin}, "compressed event stream")
        found.append(Content(end, "body", meaning, response.body.data[begin:end]))
        begin = end
    return found


def _engine(request: Message, response: Message | None, packets: Packets) -> Purpose:
    posted = request.head.method == "POST"
    carrier = request if posted else response
    refused = response is not None and response.head.status >= 400
    found: list[Content] = []
    if carrier and not (refused and carrier is response):
        found = _packets(carrier, packets)
    if response is None and not posted:
        phase = "heartbeat" if "sid=" in request.head.target else "handshake"
    elif refused:
        phase = "steady"
    else:
        otherwise = "steady" if posted else "heartbeat"
        phase = most_telling([one.meaning.phase for one in found], otherwise)
    found = [_in_phase(one, phase) for one in _as_sent(found, carrier)]
    if posted:
        return Purpose(phase, found, _body(response, _layer(refused), phase), phase)
    down = found if found or response is None else _body(response, _layer(refused), phase)
    return Purpose(phase, _body(request, "envelope", phase), down, phase)


def _layer(refused: bool) -> str:
    return "envelope" if refused else "framing"  # Engine.IO answers a POST with "ok"


def _packets(message: Message, packets: Packets) -> list[Content]:
    """What the packets of a body are; `end` counts in the unpacked body."""
    found, end = list[Content](), 0
    body = unpacked(message)
    for one in payload(body) if body else []:
        end += len(one)
        packet = one.removesuffix(SEPARATOR)
        meaning = packets.meaning(packet)
        if len(packet) < len(one):
            framing = meaning.layers.get("framing", 0) + 1
            meaning = meaning._replace(layers={**meaning.layers, "framing": framing})
        found.append(Content(end, "packet", meaning, packet))
    return found


def _as_sent(found: list[Content], carrier: Message | None) -> list[Content]:
    """The packets, or one content for all of them if they were sent compressed."""
    if carrier is None or "content-encoding" not in carrier.head.fields:
        return found
    notes = ", ".join(one.meaning.note for one in found)
    return [
        body._replace(meaning=body.meaning._replace(note=f"{body.meaning.note}: {notes}"))
        for body in _body(carrier, "envelope", "steady")
    ]


def _in_phase(content: Content, phase: str) -> Content:
    return content._replace(meaning=content.meaning._replace(phase=phase))


def unpacked(message: Message) -> bytes | None:
    """A body freed of its content coding (RFC 9110 section 8.4), None if that is not known."""
    coding = message.head.fields.get("content-encoding", "identity").lower()
    if coding in ("", "identity"):
        return message.body.data
    if coding not in ("gzip", "x-gzip", "deflate"):
        return None
    try:
        # 32: either a gzip or a zlib header is found.
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(message.body.data, UNPACKED_BYTES)
    except zlib.error:
        return None
