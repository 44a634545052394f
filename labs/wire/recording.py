"""A recording: what passed through a tap, byte for byte, as a file that can be read back.

The file is JSON lines. The first names the format; each line after it is one event:

    [at_ns, connection, kind, "base64 of the bytes"]

`at_ns` is a moment of the monotonic clock, `connection` a number from 0 up in the order of
opening, `kind` what happened. `up` and `down` carry bytes; `up_end` says that the client will
send no more, `down_end` that the server will not; a `reset` ends both at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from labs.errors import LabError

FORMAT = 1

Kind = Literal["opened", "up", "down", "up_end", "down_end", "reset"]


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Something that happened on one connection."""

    at_ns: int
    connection: int
    kind: Kind
    data: bytes = b""


class Head(msgspec.Struct, frozen=True):
    """The first line of a file: its format, when it was made (UTC), what was recorded."""

    format: int
    made_at: str
    title: str = ""


class Recording(msgspec.Struct, frozen=True):
    """What passed, in order of time."""

    head: Head
    events: list[Event]


def save(recording: Recording, path: Path) -> None:
    """Write a recording; raises `LabError` if the file cannot be written."""
    lines: Iterable[object] = (recording.head, *recording.events)
    try:
        path.write_bytes(msgspec.json.Encoder().encode_lines(lines))
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}") from None


def load(path: Path) -> Recording:
    """Read a recording; raises `LabError` for another format, or no recording at all."""
    try:
        first, _, rest = path.read_bytes().partition(b"\n")
        head = msgspec.json.decode(first, type=Head)
        if head.format != FORMAT:
            raise LabError(f"{path} has format {head.format}; this version reads {FORMAT}")
        return Recording(head, msgspec.json.Decoder(Event).decode_lines(rest))
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise LabError(f"{path} is no recording: {error}") from None
