"""The raw WebSocket, light."""

from __future__ import annotations

import asyncio
from itertools import count
from time import monotonic
from typing import Any

import msgspec

from labs.bench.light.client import Base, Known
from labs.bench.light.commands import offset
from labs.bench.light.frames import Socket, new_key
from labs.bench.light.pool import Pool
from labs.chat import Join, Joined, Talk
from labs.chat.messages import encode, encode_command
from labs.errors import ChatError
from labs.http import refused

_BATCH = b'{"event":"updateMessage","data":'


class Down(msgspec.Struct):
    """A frame from the server."""

    event: str
    data: msgspec.Raw
    id: int | None = None


_down = msgspec.json.Decoder(Down).decode


class WebSocket(Base):
    """One connection, on which the server speaks when it likes; pings every `heartbeat_s`."""

    known = Known()

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._pool = Pool(self._address, keep_alive=True)
        self._socket: Socket | None = None
        self._upgrading: asyncio.Future[None] | None = None
        self._ids = count(1)
        self._acks: dict[int, asyncio.Future[Any]] = {}
        self._pinged_s = 0.0
        self._pinging: asyncio.TimerHandle | None = None

    def send(self, text: str, key: str | None = None) -> asyncio.Future[int]:
        """Say something."""
        future = self.future()
        try:
            data = msgspec.Raw(encode_command(Talk(text, key or self.key()), self.settings))
        except ChatError as error:
            future.set_exception(error)
            return future
        if self._socket is None:
            future.set_exception(ConnectionError("not connected"))
            return future
        number = next(self._ids)
        self._acks[number] = future
        self._socket.send(encode({"event": "sendMessage", "data": data, "id": number}))
        return future

    async def _enter(self, join: Join) -> Joined:
        transport = await self._pool.take()
        key = new_key()
        self._socket = Socket(self, transport, key, self.known)
        transport.set_protocol(self._socket)
        self._upgrading = self.step()
        address = self._address
        target = f"{address.path}/"
        transport.write(self._heads.request("upgrade", "GET", target, address.netloc, key=key))
        await self._upgrading
        self._acks[0] = answer = self.step()
        self._socket.send(encode({"event": "newUserConnect", "data": join, "id": 0}))
        joined: Joined = await answer
        self._ping_later()
        return joined

    async def _leave(self) -> None:
        socket = self._socket
        if socket:
            socket.close()
            async with asyncio.timeout(self.settings.drain_s):
                await socket.closed.wait()

    def upgraded(self) -> None:
        """The opening handshake is over."""
        if self._upgrading and not self._upgrading.done():
            self._upgrading.set_result(None)

    def text(self, payload: bytes, at_ns: int) -> tuple[int, int] | None:
        """A frame."""
        if payload.startswith(_BATCH) and payload.endswith(b"]}"):
            return self.take(payload[len(_BATCH) : -1], at_ns)
        down = _down(payload)
        if down.event == "updateMessage":
            return self.take(bytes(down.data), at_ns)
        if down.id is None or (future := self._acks.pop(down.id, None)) is None or future.done():
            return None
        if down.event == "error":
            future.set_exception(refused(bytes(down.data)))
        elif down.id == 0:
            # At once: what comes in the same read is counted from here.
            joined = msgspec.json.decode(down.data, type=Joined)
            self.start(joined)
            future.set_result(joined)
        else:
            future.set_result(offset(bytes(down.data)))
        return None

    def socket_ended(self, socket: Socket, error: Exception, at_ns: int) -> None:
        """The connection is over."""
        if socket is self._socket and self.state != "closed":
            self.ended(error, at_ns)

    def _ping_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._pinging = loop.call_later(self.settings.heartbeat_s, self._ping)

    def _ping(self) -> None:
        # One at a time, as the readable client does: the next waits for this one's pong.
        if self._socket and self._answered():
            self._pinged_s = monotonic()
            self._socket.ping()
        self._ping_later()

    def _answered(self) -> bool:
        return self._socket is None or self._socket.ponged_ns / 1e9 >= self._pinged_s

    def _check(self, now_s: float) -> None:
        if not self._answered() and now_s - self._pinged_s > self.settings.timeout_s:
            self.ended(ConnectionError("a ping was not answered in time"))

    def _abort(self, error: Exception) -> None:
        socket, self._socket = self._socket, None
        if socket:
            socket.transport.abort()
        if self._pinging:
            self._pinging.cancel()
        self._acks.clear()
