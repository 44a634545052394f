"""The one place where a client reaches into python-engineio and python-socketio.

A client that takes messages in order must be given them one after another, must be able to end
a connection at once, and wants to hear why it was refused. `tests/labs/test_engine.py` fails
when a library's inside changes.
"""

from __future__ import annotations

from typing import Any

import engineio
import socketio
from aiohttp import ClientError, ClientResponse, ClientSession, WSServerHandshakeError
from socketio.exceptions import SocketIOError

from labs.engine import Packet
from labs.errors import CODES, ChatError
from labs.http import BROKEN, checked

LIMITED = "rate_limited"


class _InOrder(engineio.AsyncClient):  # type: ignore[misc]
    """Engine.IO's client, which reads on when what it has read was taken.

    The library makes each packet a task: those that wait overtake each other, and a reader
    who is slow would hold nobody back.
    """

    async def _trigger_event(self, event: str, *args: Any, run_async: bool = False) -> Any:
        return await super()._trigger_event(event, *args)

    async def _send_request(
        self, method: str, url: str, headers: Any = None, body: Any = None, timeout: float = 0
    ) -> Any:
        if self.ping_interval:
            # The library would give a dead server five seconds more.
            timeout = min(timeout, self.ping_interval + self.ping_timeout)
        response = await super()._send_request(method, url, headers, body, timeout)
        if isinstance(response, ClientResponse):
            # It would leave a refusal unread, and not survive an answer that breaks off.
            try:
                await response.read()
            except (ClientError, TimeoutError) as error:
                return str(error)
        return response


class Client(socketio.AsyncClient):  # type: ignore[misc]
    """A Socket.IO client that takes one event at a time; it never reconnects by itself."""

    def __init__(self) -> None:
        super().__init__(reconnection=False, handle_sigint=False, serializer=Packet)

    def _engineio_client_class(self) -> type[engineio.AsyncClient]:
        return _InOrder

    async def drop(self) -> None:
        """End the connection without a word, and everything that reads it or writes to it."""
        loops = filter(None, (self.eio.read_loop_task, self.eio.write_loop_task))
        await self.eio.disconnect(abort=True)
        for task in loops:
            task.cancel()


async def refusal(error: SocketIOError) -> ChatError | ConnectionError | None:
    """What the server said when it refused a connection, None if nobody said anything.

    Of a refused WebSocket the library keeps the status only. Too many requests are not followed
    by one more; the others are asked for again without the upgrade, which our server refuses in
    the same words. What another has refused, a proxy say, gets another status there.
    """
    told = error.__cause__.args[1:] if error.__cause__ else ()
    if told and isinstance(told[0], dict):
        return ChatError(**told[0])
    shake = error.__cause__.__context__ if error.__cause__ else None
    if not isinstance(shake, WSServerHandshakeError):
        return None
    if shake.status == CODES[LIMITED].status:
        return ChatError(LIMITED, "the server has refused the connection")
    try:
        async with ClientSession() as http, http.get(shake.request_info.url) as response:
            if response.status == shake.status:
                await checked(response)
    except ChatError as told_again:
        return told_again
    except BROKEN as lost:
        return ConnectionError(str(lost))
    return ConnectionError(f"the WebSocket was refused: HTTP {shake.status}")
