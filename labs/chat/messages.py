"""What is said, up and down: typed messages, validated once, where bytes come in.

Down goes a *batch*: a JSON array of `Message`. Up go `Join`, `Talk` and `Leave`, under the
lesson's names `newUserConnect`, `sendMessage` and `disconnect`.
"""

from __future__ import annotations

import unicodedata
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from labs.errors import ChatError
from labs.settings import Settings

Kind = Literal["join", "talk", "leave", "gap"]
T = TypeVar("T")

SERVER_NAME = "SERVER"
"""The name the original lesson's pages show for join and leave lines; nobody may bear it."""

ENVELOPE_BYTES = 1_024
"""More than any transport puts around a command."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One entry of a room's log, at `offset` 1, 2, 3 ...; `at_ms` is Unix time.

    A `join` whose `text` is not empty is a rename: the text is the name given up. A `gap`
    is in no log: it tells a client that everything after its place and up to `offset` is
    gone, and that it goes on in the epoch named by `text` (SPEC.md section 5).
    """

    offset: int
    kind: Kind
    name: str
    text: str
    at_ms: int


class Join(msgspec.Struct, omit_defaults=True):
    """`newUserConnect`: enter a room, or come back to it.

    `since` is a position (`"epoch:offset"` or an offset); `session` is the token of an
    earlier join.
    """

    name: str
    since: int | str | None = None
    session: str | None = None
    room: str | None = None


class Joined(msgspec.Struct):
    """The answer to `Join`: who you are, where you stand, who is there.

    `since` is the position to read from. `lease_s` is how long the server waits for a
    silent client, `quiet_s` the longest silence of the server itself.
    """

    session: str
    name: str
    room: str
    epoch: str
    head: int
    since: str
    present: list[str]
    lease_s: float
    quiet_s: float


class Talk(msgspec.Struct, omit_defaults=True):
    """`sendMessage`: say something. Over HTTP `session` says who; a `key` makes it idempotent."""

    text: str
    key: str | None = None
    session: str | None = None


class Accepted(msgspec.Struct):
    """The answer to `Talk`: the message is in the log, at `offset`."""

    offset: int


class Leave(msgspec.Struct, omit_defaults=True):
    """`disconnect`: go, and be announced as gone at once."""

    session: str | None = None


class Position(NamedTuple):
    """A place in a log: everything up to `offset` was seen. `epoch` None means the present one."""

    epoch: str | None
    offset: int

    @classmethod
    def parse(cls, since: int | str) -> Position:
        """Read `"epoch:offset"` or a bare offset; raises `ChatError` `bad_request`."""
        epoch, _, offset = str(since).rpartition(":")
        if not (offset.isascii() and offset.isdecimal() and len(offset) <= 18):
            raise ChatError(
                "bad_request", f"since is {str(since)[:40]!r}; give an offset, or epoch:offset"
            )
        return cls(epoch or None, int(offset))

    def __str__(self) -> str:
        return f"{self.epoch or ''}:{self.offset}".lstrip(":")


class Batch(NamedTuple):
    """What a cursor moves over at once: messages of one epoch, in order."""

    epoch: str
    messages: list[Message]

    @property
    def end(self) -> Position:
        """The position of a client that has seen this batch."""
        return Position(self.epoch, self.messages[-1].offset)


def encode(value: Any) -> bytes:
    """A command, an answer or an error as JSON; raises `bad_request` for what is not Unicode."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError as error:
        raise ChatError("bad_request", f"not Unicode text: {error.reason}") from None


def encode_command(command: Join | Talk | Leave, settings: Settings) -> bytes:
    """A command as a client sends it, as JSON; raises `bad_request` for what is not Unicode.

    Raises `too_large` for what no server hears out: it would end this connection, and the next
    one on which it was tried again.
    """
    raw = encode(command)
    if len(raw) + ENVELOPE_BYTES > settings.hard_bytes:
        _check_size(len(raw), settings.body_bytes)
    return raw


def encode_batch(batch: Batch) -> bytes:
    """The JSON array that goes down inside every variant's frame, in UTF-8, without newlines."""
    return msgspec.json.encode(batch.messages)


def decode(raw: bytes | msgspec.Raw, wanted: type[T], limit_bytes: int) -> T:
    """Bytes from a client as a command; raises `too_large` or `bad_request`."""
    _check_size(len(bytes(raw)), limit_bytes)
    try:
        return msgspec.json.decode(raw, type=wanted)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ChatError("bad_request", f"not understood: {error}") from None


def convert(value: Any, wanted: type[T], limit_bytes: int) -> T:
    """The same check for a value that a library has parsed already (Socket.IO)."""
    try:
        _check_size(len(msgspec.json.encode(value)), limit_bytes)
        return msgspec.convert(value, type=wanted)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError) as error:
        raise ChatError("bad_request", f"not understood: {error}") from None


def clean_name(name: str, settings: Settings) -> str:
    """A name as it will be shown: NFC, trimmed; raises `bad_name`."""
    name = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(name) <= settings.name_chars:
        raise ChatError(
            "bad_name", f"a name has 1 to {settings.name_chars} characters, this one {len(name)}"
        )
    if any(unicodedata.category(c) in _UNSEEN or c in _BLANK for c in name):
        raise ChatError("bad_name", "a name has no characters that cannot be seen; leave them out")
    if unicodedata.normalize("NFKC", name).casefold() == SERVER_NAME.casefold():
        raise ChatError("bad_name", f"{name} is the server's own name; choose another")
    return name


def check_text(text: str, settings: Settings) -> str:
    """A text that may be said; raises `bad_text`."""
    if not 1 <= len(text) <= settings.text_chars:
        raise ChatError(
            "bad_text", f"a text has 1 to {settings.text_chars} characters, this one {len(text)}"
        )
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in text):
        raise ChatError(
            "bad_text", "a text has no control characters but newline and tab; leave them out"
        )
    return text


def check_key(key: str | None) -> str | None:
    """An idempotency key a client may use; raises `bad_request`."""
    if key is not None and not 1 <= len(key) <= 64:
        raise ChatError("bad_request", f"a key has 1 to 64 characters, this one {len(key)}")
    return key


# Characters that would hide in a name, or turn the direction of what stands beside it (Cf).
_UNSEEN = frozenset(("Cc", "Cf", "Cn", "Cs", "Zl", "Zp"))
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # fillers: letters by category, blank to see


def _check_size(size: int, limit_bytes: int) -> None:
    if size > limit_bytes:
        raise ChatError(
            "too_large", f"{size:,} bytes at once; the limit is {limit_bytes:,}, send less"
        )
