"""WebSocket frames, light (RFC 6455): the client's end of a connection, without its messages."""

from __future__ import annotations

import asyncio
import base64
import os
import re
from time import monotonic_ns
from typing import Protocol

from websockets.exceptions import WebSocketException
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
)
from websockets.frames import Frame, Opcode
from websockets.headers import parse_extension
from websockets.utils import accept_key

from labs.bench.light.client import BROKEN, Known, Sink
from labs.bench.light.commands import refusal
from labs.bench.light.http import read, split, status_of
from labs.errors import ChatError, from_close

try:
    from websockets.speedups import apply_mask
except ImportError:  # built without its C part
    from websockets.utils import apply_mask

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
RSV1, RSV2_3 = 0x40, 0x30

_EXTENSIONS = re.compile(rb"\r\nsec-websocket-extensions:[ \t]*([^\r\n]*)", re.IGNORECASE)
# Browsers offer it in every opening handshake (RFC 7692), and a foreign server may accept.
_DEFLATE = ClientPerMessageDeflateFactory(compress_settings={"memLevel": 5})  # as by default


class Owner(Protocol):
    """Who speaks over a connection."""

    number: int
    position_offset: int
    sink: Sink

    def upgraded(self) -> None:
        """The opening handshake is over."""

    def text(self, payload: bytes, at_ns: int) -> tuple[int, int] | None:
        """A text message; answers offset and number if it was one numbered talk."""

    def socket_ended(self, socket: Socket, error: Exception, at_ns: int) -> None:
        """The connection is over."""


def new_key() -> str:
    """A nonce for `Sec-WebSocket-Key` (section 4.1)."""
    return base64.b64encode(os.urandom(16)).decode()


def text_frame(payload: bytes) -> bytes:
    """A text message in one masked frame (section 5.2), as `websockets` has it."""
    mask, length = os.urandom(4), len(payload)
    if length < 126:
        head = b"\x81%c" % (0x80 | length)
    elif length < 65_536:
        head = b"\x81\xfe" + length.to_bytes(2, "big")
    else:
        head = b"\x81\xff" + length.to_bytes(8, "big")
    return head + mask + apply_mask(payload, mask)


class Socket(asyncio.Protocol):
    """One connection. `ponged_ns` is when it last answered a ping."""

    def __init__(self, owner: Owner, transport: asyncio.Transport, key: str, known: Known) -> None:
        self.heard_ns = self.ponged_ns = monotonic_ns()
        self.transport = transport
        self.closed = asyncio.Event()
        self._owner, self._key, self._known = owner, key, known
        self._number, self._arrived = owner.number, owner.sink.arrived
        self._upgraded = self._closing = self._over = False
        self._tail = b""
        self._parts: list[bytes] = []  # of a message in several frames
        self._deflate: PerMessageDeflate | None = None
        self._whole = True  # no frame means more than its own bytes say

    def data_received(self, data: bytes) -> None:
        """As many frames as came, or part of one."""
        self.heard_ns = at_ns = monotonic_ns()
        known = self._known
        if data == known.data and not self._tail and not self._parts and self._whole:
            offset, owner = known.offset, self._owner
            if offset > owner.position_offset:
                owner.position_offset = offset
            self._arrived(self._number, known.index, offset, at_ns)
            return
        whole = self._upgraded and self._whole and not self._tail and not self._parts
        try:
            only = self._read(self._tail + data, at_ns)
        except (ChatError, WebSocketException, *BROKEN) as error:
            self.transport.abort()
            self._owner.socket_ended(self, error, at_ns)
            return
        if only and whole and not self._tail and not self._parts:
            known.data, (known.offset, known.index) = data, only

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended, with a close frame or without."""
        self.closed.set()
        why = error or ConnectionResetError("the connection has ended")
        self._owner.socket_ended(self, why, monotonic_ns())

    def send(self, payload: bytes) -> None:
        """Send a text message."""
        if self._deflate:
            frame = Frame(Opcode.TEXT, payload)
            self._write(frame.serialize(mask=True, extensions=[self._deflate]))
        else:
            self._write(text_frame(payload))

    def ping(self) -> None:
        """Send a ping, with four bytes in it."""
        self._write(Frame(Opcode.PING, os.urandom(4)).serialize(mask=True))

    def close(self, code: int = 1000) -> None:
        """Begin the closing handshake (section 7.1.2); `closed` says when it is over."""
        if not self._closing:
            self._closing = True
            payload = code.to_bytes(2, "big") if code else b""
            self._write(Frame(Opcode.CLOSE, payload).serialize(mask=True))

    def _write(self, frame: bytes) -> None:
        # uvloop raises where asyncio only warns.
        if not self.transport.is_closing():
            self.transport.write(frame)

    def _read(self, data: bytes, at_ns: int) -> tuple[int, int] | None:
        if not self._upgraded:
            rest = self._upgrade(data)
            if rest is None:
                self._tail = data
                return None
            data, self._upgraded = rest, True
            self._owner.upgraded()
        only, count, place, size = None, 0, 0, len(data)
        while size >= place + 2 and not self._over:
            length, start = data[place + 1], place + 2
            if length == 126:
                start += 2
                length = int.from_bytes(data[place + 2 : start], "big")
            elif length == 127:
                start += 8
                length = int.from_bytes(data[place + 2 : start], "big")
            elif length > 127:
                raise ConnectionError("the server masks its frames")
            if size < start + length or size < start:
                break
            only = self._frame(data[place], data[start : start + length], at_ns)
            count, place = count + 1, start + length
        self._tail = data[place:]
        return only if count == 1 else None

    def _upgrade(self, data: bytes) -> bytes | None:
        parts = split(data)
        if parts is None:
            return None
        head, rest = parts
        if status_of(head) != 101:
            answer = read(data)
            if answer is None:
                return None
            raise refusal(answer.status, head, answer.body)
        if accept_key(self._key).encode() not in head:
            raise ConnectionError("the answer to the upgrade has a wrong Sec-WebSocket-Accept")
        self._negotiate(head)
        return rest

    def _negotiate(self, head: bytes) -> None:
        found = _EXTENSIONS.search(head)
        for name, parameters in parse_extension(found[1].decode()) if found else ():
            if name != _DEFLATE.name:
                raise ConnectionError(f"an extension nobody asked for: {name}")
            self._deflate = _DEFLATE.process_response_params(parameters, [])
            self._whole = self._deflate.remote_no_context_takeover

    def _frame(self, first: int, payload: bytes, at_ns: int) -> tuple[int, int] | None:
        opcode, final = first & 0x0F, first & 0x80
        if self._deflate and opcode < CLOSE:
            frame = Frame(Opcode(opcode), payload, bool(final), bool(first & RSV1))
            payload = bytes(self._deflate.decode(frame).data)
        elif first & RSV1:
            raise ConnectionError("a compressed frame, and nobody asked for it")
        if first & RSV2_3:
            raise ConnectionError("a frame with an extension nobody asked for")
        if opcode == PING:
            self._write(Frame(Opcode.PONG, payload).serialize(mask=True))
        elif opcode == PONG:
            self.ponged_ns = at_ns
        elif opcode == CLOSE:
            self._close(payload)
        elif opcode > BINARY:
            raise ConnectionError(f"a frame of unknown opcode {opcode}")
        elif not final:
            self._parts.append(payload)
        elif opcode != BINARY:
            if self._parts:
                payload, self._parts = b"".join((*self._parts, payload)), []
            return self._owner.text(payload, at_ns)
        return None

    def _close(self, payload: bytes) -> None:
        code, reason = int.from_bytes(payload[:2], "big"), payload[2:].decode(errors="replace")
        asked, self._over = self._closing, True
        self.close(code)
        if not asked:
            told = from_close(code, reason)
            why = f"the server closed the connection: {code} {reason}".rstrip()
            self._owner.socket_ended(self, told or ConnectionResetError(why), monotonic_ns())
