"""HTTP/1 messages (RFC 9112), found in bytes that are all there already.

A scanner of our own: `h11` takes about five times as long (measured on short polls), refuses
what a recording may well hold, and does not say which of its bytes were which. That both see
the same is tested.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from typing import NamedTuple

TOKEN = rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+"
FIELD = TOKEN + rb":[^\x00\r\n\x0b\x0c]*\r?\n(?:[ \t]+[^\x00\r\n\x0b\x0c]*\r?\n)*"
VERSION = rb"HTTP/(\d\.\d)"
REQUEST = re.compile(rb"(%b) ([\x21-\x7e]+) %b\r?\n(?:%b)*\r?\n" % (TOKEN, VERSION, FIELD))
RESPONSE = re.compile(rb"%b (\d{3})(?: [^\x00\r\n]*)?\r?\n(?:%b)*\r?\n" % (VERSION, FIELD))
HEAD_END = re.compile(rb"\r?\n\r?\n")
HEAD_BYTES = 1 << 18  # longer heads are none
WANTED = re.compile(
    rb"\n(content-length|content-encoding|content-type|transfer-encoding|upgrade|accept"
    rb"|sec-websocket-extensions):[ \t]*([^\r\n]*?)[ \t]*\r?(?=\n)",
    re.IGNORECASE,
)
REQUEST_BEGUN = re.compile(rb"%b(?: (?:[\x21-\x7e]+(?: (?:H[TP/\d.]*\r?)?)?)?)?" % TOKEN)
RESPONSE_BEGUN = re.compile(rb"H(?:T(?:T(?:P(?:/[\d.]{0,3}(?: [^\x00\r\n]*\r?)?)?)?)?)?")
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,20})[ \t]*(?:;[^\r\n]*)?\r\n")
CHUNK_BEGUN = re.compile(rb"[0-9A-Fa-f]{0,20}[ \t]*(?:;[^\r\n]*)?\r?")
TRAILERS = re.compile(rb"(?:%b)*\r?\n" % FIELD)
TRAILERS_BEGUN = re.compile(rb"(?:%b)*(?:%b(?::[^\x00\r\n]*)?)?\r?" % (FIELD, TOKEN))
LENGTH = re.compile(r"[0-9]{1,20}")
BODILESS = (204, 304)


class Head(NamedTuple):
    """A request or response head, with the fields that decide what follows it."""

    end: int
    raw: bytes
    method: str = ""
    target: str = ""
    status: int = 0
    fields: Mapping[str, str] = {}

    def has(self, name: str, value: str) -> bool:
        """Whether a field of this name lists a value; both in lower case."""
        listed = self.fields.get(name, "").lower().split(",")
        return any(part.partition(";")[0].strip() == value for part in listed)


class Chunk(NamedTuple):
    """A chunk: its line begins at `begin`; of its data as much as there is."""

    begin: int
    data_begin: int
    data_end: int
    end: int

    @property
    def framing(self) -> int:
        """Bytes that are not data."""
        return self.end - self.begin - (self.data_end - self.data_begin)


class Body(NamedTuple):
    """A body from `begin` to `end` as it stands on the wire; `data` is freed of chunks.

    `whole` says that its end was seen; `chunks` is empty where there are none, and `offsets`
    are where each chunk's data ends in `data`.
    """

    begin: int
    end: int
    data: bytes
    whole: bool
    chunks: tuple[Chunk, ...] = ()
    offsets: tuple[int, ...] = ()

    def on_wire(self, offset: int) -> int:
        """Where, on the wire, the first `offset` bytes of `data` are complete."""
        if not self.chunks:
            return self.begin + offset
        index = bisect_left(self.offsets, offset)
        return self.chunks[index].data_end - (self.offsets[index] - offset)


class Message(NamedTuple):
    """A head and its body."""

    head: Head
    body: Body


def read_request(data: bytes, at: int) -> Message | None:
    """The request that begins there; None if there is none, or only a part of its head."""
    match = _head(REQUEST, data, at)
    if match is None:
        return None
    method, target = match[1].decode(), match[2].decode()
    head = Head(match.end(), match[0], method, target, 0, _fields(match[0]))
    body = _body(data, head, read_on=False)
    return body and Message(head, body)


def read_response(data: bytes, at: int, method: str = "") -> Message | None:
    """The response to a request of this method, likewise."""
    match = _head(RESPONSE, data, at)
    if match is None:
        return None
    head = Head(match.end(), match[0], "", "", int(match[2]), _fields(match[0]))
    if method == "HEAD" or head.status < 200 or head.status in BODILESS:
        return Message(head, Body(head.end, head.end, b"", True))
    body = _body(data, head, read_on=True)
    return body and Message(head, body)


def is_begun(data: bytes, at: int, request: bool) -> bool:
    """Whether what stands there could be the first part of a head."""
    line_end = data.find(b"\n", at, at + HEAD_BYTES)
    begun = REQUEST_BEGUN if request else RESPONSE_BEGUN
    if line_end < 0:
        return begun.fullmatch(data[at : at + HEAD_BYTES]) is not None
    whole = REQUEST if request else RESPONSE
    if HEAD_END.search(data, line_end - 1, at + HEAD_BYTES):
        return False  # it is all there, and was not understood
    return whole.match(data[at : line_end + 1] + b"\n") is not None


def _head(pattern: re.Pattern[bytes], data: bytes, at: int) -> re.Match[bytes] | None:
    end = HEAD_END.search(data, at, at + HEAD_BYTES)
    return pattern.fullmatch(data, at, end.end()) if end else None


def _fields(head: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in WANTED.findall(head):
        key, text = name.decode().lower(), value.decode("latin-1")
        fields[key] = f"{fields[key]}, {text}" if key in fields else text
    return fields


def _body(data: bytes, head: Head, read_on: bool) -> Body | None:
    if "transfer-encoding" in head.fields:
        if head.fields["transfer-encoding"].lower() != "chunked":
            return None
        return _chunked(data, head.end)
    lengths = {part.strip() for part in head.fields.get("content-length", "").split(",")}
    length = lengths.pop()
    if not length and not lengths:
        end = len(data) if read_on else head.end
        return Body(head.end, end, data[head.end : end], True)
    if lengths or not LENGTH.fullmatch(length):
        return None
    whole = head.end + int(length)
    end = min(whole, len(data))
    return Body(head.end, end, data[head.end : end], end == whole)


def _chunked(data: bytes, begin: int) -> Body:
    at, chunks, whole = begin, list[Chunk](), False
    while not whole:
        chunk, whole = _chunk(data, at)
        if chunk is None or chunk.end == at:
            break
        chunks.append(chunk)
        at = chunk.end
        if chunk.end - chunk.data_end < len(b"\r\n"):
            break
    offsets, offset = list[int](), 0
    for chunk in chunks:
        offset += chunk.data_end - chunk.data_begin
        offsets.append(offset)
    parts = b"".join([data[chunk.data_begin : chunk.data_end] for chunk in chunks])
    return Body(begin, at, parts, whole, tuple(chunks), tuple(offsets))


def _chunk(data: bytes, at: int) -> tuple[Chunk | None, bool]:
    """The chunk that begins there, perhaps cut off, and whether it is the last one."""
    line = CHUNK.match(data, at)
    if line is None:
        return _begun(data, at, at, CHUNK_BEGUN), False
    begin, size = line.end(), int(line[1], 16)
    if not size:
        trailers = TRAILERS.match(data, begin)
        if trailers:
            return Chunk(at, begin, begin, trailers.end()), True
        return _begun(data, at, begin, TRAILERS_BEGUN), False
    end = begin + size
    if end >= len(data):
        return Chunk(at, begin, len(data), len(data)), False
    tail = data[end : end + 2]
    return Chunk(at, begin, end, end + (len(tail) if b"\r\n".startswith(tail) else 0)), False


def _begun(data: bytes, at: int, after: int, pattern: re.Pattern[bytes]) -> Chunk | None:
    """The framing at the very end of what was recorded, None if it is none."""
    if pattern.fullmatch(data, after):
        return Chunk(at, len(data), len(data), len(data))
    return None
