"""HTTP answers as the light clients read them: functions of the bytes alone.

What a request looks like is not decided here: heads come from `labs.bench.heads`.
"""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked[ \t]*\r\n", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[^\r\n]*close", re.IGNORECASE)
_CODING = re.compile(rb"\r\ncontent-encoding:[ \t]*([!-~]+)", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})[ \r]")


class Address(NamedTuple):
    """Where a server is: what to connect to, what to say in `Host`, and a path before ours."""

    host: str
    port: int
    netloc: str
    path: str
    tls: bool

    @classmethod
    def of(cls, url: str) -> Address:
        """Take an `http:` or `https:` URL apart."""
        parts = urlsplit(url)
        tls = parts.scheme in ("https", "wss")
        port = parts.port or (443 if tls else 80)
        return cls(parts.hostname or "", port, parts.netloc, parts.path.rstrip("/"), tls)


class Answer(NamedTuple):
    """A response: `reusable` says whether another request may follow, `rest` what came after."""

    status: int
    head: bytes
    body: bytes
    reusable: bool
    rest: bytes = b""


def status_of(head: bytes) -> int:
    """The status of a response head (RFC 9112 section 4); raises `ValueError`."""
    line = _STATUS.match(head)
    if line is None:
        raise ValueError(f"no HTTP/1.1 response, but {head[:40]!r}")
    return int(line[2])


def split(data: bytes) -> tuple[bytes, bytes] | None:
    """The head of a response, with its empty line, and what follows; None while it is cut.

    Informational responses are passed over, but for the one that switches protocols (RFC 9110
    section 15.2).
    """
    while (end := data.find(b"\r\n\r\n") + 4) > 3:
        head = data[:end]
        if not 100 <= status_of(head) < 200 or status_of(head) == 101:
            return head, data[end:]
        data = data[end:]
    if len(data) > 12:
        status_of(data)
    return None


def read(data: bytes, *, ended: bool = False) -> Answer | None:
    """The response these bytes begin with, None if more must come (RFC 9112 section 6).

    `ended` says that nothing more will. Raises `ValueError` for what is no response.
    """
    parts = split(data)
    if parts is None:
        return None
    head, rest = parts
    status, body = status_of(head), b""
    reusable = head.startswith(b"HTTP/1.1") and not _CLOSE.search(head)
    if status in (101, 204, 304):
        pass
    elif _CHUNKED.search(head):
        chunks = unchunk(rest)
        if chunks is None:
            return None
        body, rest = chunks
    elif length := _LENGTH.search(head):
        size = int(length[1])
        if len(rest) < size:
            return None
        body, rest = rest[:size], rest[size:]
    elif ended:
        body, rest, reusable = rest, b"", False
    else:
        return None
    if body and (coding := _CODING.search(head)):
        body = _decoded(body, coding[1].lower())
    return Answer(status, head, body, reusable, rest)


def unchunk(data: bytes) -> tuple[bytes, bytes] | None:
    """A whole chunked body (RFC 9112 section 7.1) and what follows; None while it is cut."""
    body: list[bytes] = []
    place = 0
    while True:
        line = data.find(b"\r\n", place)
        if line < 0:
            return None
        size = int(data[place:line].partition(b";")[0], 16)
        if size == 0:
            end = data.find(b"\r\n\r\n", line)
            return None if end < 0 else (b"".join(body), data[end + 4 :])
        place = line + 2 + size + 2
        body.append(data[line + 2 : place - 2])
        if place > len(data):
            return None
        if data[place - 2 : place] != b"\r\n":
            raise ValueError("a chunk that is longer than it says")


def _decoded(body: bytes, coding: bytes) -> bytes:
    if coding not in (b"gzip", b"deflate"):
        raise ValueError(f"a body in {coding.decode()}, which only browsers take")
    try:
        return zlib.decompress(body, zlib.MAX_WBITS | 32)  # gzip or zlib, as its head says
    except zlib.error as error:
        raise ValueError(f"a body that cannot be unpacked: {error}") from None
