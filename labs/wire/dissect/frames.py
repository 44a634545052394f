"""WebSocket frames (RFC 6455 section 5), read by the parser of `websockets`.

A frame's head is framing; ping, pong and close frames are framing whole. Of a message in
several frames, each head is a piece of its own, and what it says is complete with the last.
Of a compressed frame (RFC 7692) the payload is envelope whole: bytes of a deflate stream
belong to no character in particular.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from websockets.exceptions import ProtocolError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import CTRL_OPCODES, Close, Frame, Opcode

from labs.wire.dissect.pieces import Meaning, Side

COMPRESSED = 0x40  # RSV1, in a frame's first byte (RFC 7692 section 6)
NAMES = {opcode: opcode.name.lower() for opcode in Opcode}
Means = Callable[[bytes, bool], Meaning]
"""What a message is for, given what it says and whether it is binary."""


class _Reader:
    """The bytes of a side as the library asks for them; `size` is what it took last."""

    def __init__(self, side: Side) -> None:
        self.at, self.size, self._data = side.taken, 0, side.data

    def read(self, size: int) -> Generator[None, None, bytes]:
        if self.at + size > len(self._data):
            raise EOFError
        data = self._data[self.at : self.at + size]
        self.at, self.size = self.at + size, size
        return data
        yield  # the library's parser wants a generator, which here never waits


class Frames:
    """The frames of one direction, from where its side stands to its end."""

    def __init__(
        self, side: Side, means: Means, extensions: Sequence[Extension], exchange: int
    ) -> None:
        self._side, self._means, self._exchange = side, means, exchange
        self._extensions = extensions
        self._reader = _Reader(side)
        self._held: list[tuple[int, int, int, str]] = []  # of a message that goes on
        self._said: list[bytes] = []
        self._binary = self._compressed = False

    def dissect(self) -> None:
        """Take everything."""
        try:
            while self._side.taken < len(self._side.data):
                self._frame()
        except EOFError:
            self._cut_off()
        except ProtocolError as error:
            self._give_up()
            self._side.rest("opaque", "steady", self._exchange, str(error))
        self._give_up()

    def _frame(self) -> None:
        begin, masked = self._side.taken, self._side.direction == "up"
        parsing = Frame.parse(self._reader.read, mask=masked, extensions=self._extensions)
        try:
            next(parsing)
        except StopIteration as done:
            frame: Frame = done.value
        size = self._reader.size
        head = self._reader.at - begin - size
        self._side.taken = self._reader.at
        if frame.opcode in CTRL_OPCODES:
            self._control(frame, head + size)
        else:
            self._data(frame, head, size, bool(self._side.data[begin] & COMPRESSED))

    def _control(self, frame: Frame, size: int) -> None:
        phase = "close" if frame.opcode is Opcode.CLOSE else "heartbeat"
        note = self._name(frame, len(frame.data)) + _reason(frame)
        self._add(size, Meaning(phase, {"framing": size}, note), bytes(frame.data))

    def _data(self, frame: Frame, head: int, size: int, compressed: bool) -> None:
        if frame.opcode is not Opcode.CONT:
            self._give_up()
            self._binary, self._compressed = frame.opcode is Opcode.BINARY, compressed
        note = self._name(frame, size) + (", compressed" if self._compressed else "")
        if not frame.fin or self._held:
            self._said.append(bytes(frame.data))
            self._held.append((self._side.taken, head, size, note))
            if frame.fin:
                self._join_up()
            return
        what = bytes(frame.data)
        self._add(head + size, self._whole(what, head, size, note), what)

    def _whole(self, what: bytes, head: int, size: int, note: str) -> Meaning:
        meaning = self._means(what, self._binary)
        layers = {"envelope": size} if self._compressed else meaning.layers
        layers = {**layers, "framing": layers.get("framing", 0) + head}
        return Meaning(meaning.phase, layers, f"{note}: {meaning.note}")

    def _join_up(self) -> None:
        what, size = b"".join(self._said), sum(size for _, _, size, _ in self._held)
        *before, (end, head, _, note) = self._held
        whole = self._whole(what, head, size, note)
        for end_before, head_before, _, note_before in before:
            meaning = Meaning(whole.phase, {"framing": head_before}, note_before)
            self._side.add(end_before, "frame", meaning, b"", self._exchange)
        self._side.add(end, "frame", whole, what, self._exchange)
        self._held, self._said = [], []

    def _give_up(self) -> None:
        """A message that was begun and will not go on."""
        for (end, head, size, note), what in zip(self._held, self._said, strict=True):
            meaning = Meaning("steady", {"framing": head, "envelope": size}, f"{note}, cut off")
            self._side.add(end, "frame", meaning, what, self._exchange)
        self._held, self._said = [], []

    def _cut_off(self) -> None:
        left = self._side.data[self._side.taken :]
        self._side.taken = len(self._side.data)
        head = min(len(left), _head_size(left))
        layers = {"framing": head, "envelope": len(left) - head}
        self._add(len(left), Meaning("steady", layers, "frame, cut off"), left)

    def _add(self, size: int, meaning: Meaning, what: bytes) -> None:
        end = self._side.taken
        self._side.add(end, "frame", meaning, what, self._exchange, begin=end - size)

    def _name(self, frame: Frame, size: int) -> str:
        fin = "fin" if frame.fin else "goes on"
        masked = ", masked" if self._side.direction == "up" else ""
        return f"{NAMES[frame.opcode]} frame, {fin}{masked}, {size} B"


def _reason(frame: Frame) -> str:
    if frame.opcode is not Opcode.CLOSE:
        return ""
    try:
        close = Close.parse(frame.data)
    except (ProtocolError, UnicodeDecodeError):
        return ": not understood"
    return f": {int(close.code)} {close.reason}".rstrip()


def _head_size(frame: bytes) -> int:
    second = frame[1] if len(frame) > 1 else 0
    return 2 + {126: 2, 127: 8}.get(second & 0x7F, 0) + (4 if second & 0x80 else 0)


def deflate(accepted: str, sender: str) -> list[Extension]:
    """What reads the frames of `sender`, client or server.

    `accepted` is the server's `Sec-WebSocket-Extensions` (RFC 7692 section 7.1).
    """
    if "permessage-deflate" not in accepted:
        return []
    alone = f"{sender}_no_context_takeover" in accepted
    return [PerMessageDeflate(alone, False, 15, 15)]
