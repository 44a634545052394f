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


async def checked(response: aiohttp.ClientResponse) -> bytes:
    """The body of an answer, empty for 204; raises the `ChatError` it holds."""
    body = await response.read()
    if response.ok:
        return body
    try:
        refusal = msgspec.json.decode(body, type=_Refusal)
    except msgspec.MsgspecError:
        raise aiohttp.ClientPayloadError(f"{response.status} {response.reason}") from None
    retry_after = response.headers.get("Retry-After", "")
    raise ChatError(
        refusal.code,
        refusal.message,
        retry_after_s=float(retry_after) if retry_after.isdecimal() else None,
    )
