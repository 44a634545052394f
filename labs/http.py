"""HTTP answers as a client sees them: a body, or the chat's error."""

from __future__ import annotations

import aiohttp
import msgspec

from labs.errors import ChatError

BROKEN = (aiohttp.ClientError, OSError, msgspec.MsgspecError)
"""What a request raises when nobody knows whether the server has seen it."""


class _Refusal(msgspec.Struct):
    code: str
    message: str


def refused(body: bytes | str, retry_after_s: float | None = None) -> ChatError:
    """The chat's error in a body; raises `MsgspecError` if there is none."""
    refusal = msgspec.json.decode(body, type=_Refusal)
    return ChatError(refusal.code, refusal.message, retry_after_s)


async def checked(response: aiohttp.ClientResponse) -> bytes:
    """The body of an answer, empty for 204; raises the `ChatError` it holds."""
    body = await response.read()
    if response.ok:
        return body
    retry_after = response.headers.get("Retry-After", "")
    raise refused(body, float(retry_after) if retry_after.isdecimal() else None)
