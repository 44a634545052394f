"""Every error the lab raises on purpose, and what each looks like on every wire.

    LabError                an error with one sentence that says what to do
    |-- UsageError          a wrong word on the command line: one line, exit status 2
    `-- ChatError           a code of SPEC.md section 9, the same on all variants

`CODES` is the only place where a code meets a transport: HTTP answers its status, a
WebSocket that must end closes with its close code, Socket.IO puts it in an ack or an
`error` event.
"""

from __future__ import annotations

from typing import NamedTuple


class Code(NamedTuple):
    """What one error code becomes on the wires.

    `status` is an HTTP status (RFC 9110 section 15), `close` a WebSocket close code (RFC
    6455 section 7.4: 4000-4999 are private), `retry` whether a client may mend it by
    itself: by waiting, coming back, joining again.
    """

    status: int
    close: int
    retry: bool


CODES = {
    "bad_request": Code(400, 4400, False),
    "bad_name": Code(400, 4400, False),
    "bad_text": Code(400, 4400, False),
    "forbidden_origin": Code(403, 4403, False),
    "unknown_session": Code(404, 4404, True),
    "name_taken": Code(409, 4409, False),
    "replaced": Code(409, 4410, False),
    "too_large": Code(413, 1009, False),
    "rate_limited": Code(429, 4429, True),
    "room_full": Code(503, 1013, False),
    "slow_consumer": Code(503, 4408, True),
    "shutting_down": Code(503, 1012, True),
}


class LabError(Exception):
    """An error whose text is one sentence a person can act on."""


class UsageError(LabError):
    """The command line asked for something that does not exist or cannot be done."""


class ChatError(LabError):
    """An answer of the chat: `code` is a key of `CODES`, `message` says what to do.

    `retry_after_s` is set where the server knows when to come back (`rate_limited`).
    """

    def __init__(self, code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code if code in CODES else "bad_request"
        self.message = message
        self.retry_after_s = retry_after_s

    @property
    def wire(self) -> Code:
        """What this error becomes on each transport."""
        return CODES[self.code]

    def as_dict(self) -> dict[str, str]:
        """The error as it is sent, the same on all variants: `code` and `message`."""
        return {"code": self.code, "message": self.message}


def from_close(close: int, reason: str) -> ChatError | None:
    """The chat's error behind a WebSocket close code and reason, None for any other end."""
    for code, wire in CODES.items():
        if wire.close == close and reason.startswith(code):
            return ChatError(code, reason.removeprefix(code).lstrip(": ") or code)
    if close == CODES["too_large"].close:
        return ChatError("too_large", reason or "the message is too large; send less at once")
    return None
