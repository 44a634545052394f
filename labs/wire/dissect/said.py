"""How much of our JSON is text: what people said, in UTF-8; escapes and quotes are envelope."""

from __future__ import annotations

import msgspec

from labs.chat.messages import SERVER_NAME
from labs.wire.dissect.pieces import Meaning

BROKEN = (msgspec.MsgspecError, UnicodeError, RecursionError)


class _Message(msgspec.Struct, gc=False):
    kind: str = ""
    text: str = ""


class _Lesson(msgspec.Struct, gc=False):
    name: str
    message: str


class _Spoken(msgspec.Struct, gc=False):
    text: str = ""
    message: str = ""


class _Welcome(msgspec.Struct, gc=False):
    session: str
    epoch: str


_batch = msgspec.json.Decoder(list[_Message])
_lesson = msgspec.json.Decoder(_Lesson)
_spoken = msgspec.json.Decoder(_Spoken | str)
_welcome = msgspec.json.Decoder(_Welcome)


def in_update(raw: bytes | msgspec.Raw) -> int:
    """Bytes of text in the data of an `updateMessage`: a batch, or the lesson's one message."""
    try:
        return sum(len(one.text.encode()) for one in _batch.decode(raw) if one.kind == "talk")
    except BROKEN:
        pass
    try:
        lesson = _lesson.decode(raw)
    except BROKEN:
        return 0
    return 0 if lesson.name == SERVER_NAME else len(lesson.message.encode())


def in_command(raw: bytes | msgspec.Raw) -> int:
    """Bytes of text in the data of a `sendMessage`: ours, the lesson's, or a bare string."""
    try:
        spoken = _spoken.decode(raw)
    except BROKEN:
        return 0
    text = spoken if isinstance(spoken, str) else spoken.text or spoken.message
    return len(text.encode())


def is_welcome(raw: bytes | msgspec.Raw) -> bool:
    """Whether this is the answer to `newUserConnect`."""
    try:
        return bool(_welcome.decode(raw))
    except BROKEN:
        return False


def split(size: int, text: int) -> dict[str, int]:
    """The layers of `size` bytes of our JSON."""
    return {"envelope": size - text, "text": text} if text else {"envelope": size}


def of_event(name: str, raw: bytes | msgspec.Raw) -> int:
    """Bytes of text in the data of an event of this name."""
    if name == "updateMessage":
        return in_update(raw)
    return in_command(raw) if name == "sendMessage" else 0


class _Framed(msgspec.Struct, gc=False):
    event: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")
    id: int | None = None


_framed = msgspec.json.Decoder(_Framed)
EVENT_PHASES = {"newUserConnect": "join", "disconnect": "close"}


class Frames:
    """The JSON frames of the WebSocket variant; an answer has the phase of what it answers."""

    def __init__(self) -> None:
        self._asked: dict[int, str] = {}

    def meaning(self, frame: bytes) -> Meaning:
        """What one frame is for: envelope whole, but for the text."""
        try:
            framed = _framed.decode(frame)
        except BROKEN:
            return Meaning("steady", {"envelope": len(frame)}, "no frame of the chat")
        phase = self._phase(framed)
        text = of_event(framed.event, framed.data)
        return Meaning(phase, split(len(frame), text), framed.event)

    def _phase(self, framed: _Framed) -> str:
        if framed.event in EVENT_PHASES:
            phase = EVENT_PHASES[framed.event]
            if framed.id is not None:
                self._asked[framed.id] = phase
            return phase
        if framed.event in ("ack", "error") and framed.id is not None:
            return self._asked.get(framed.id, "steady")
        return "steady"
