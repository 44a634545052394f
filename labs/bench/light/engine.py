"""Engine.IO, light: packets over a WebSocket, over polling, or over one and then the other."""

from __future__ import annotations

import asyncio
import secrets
import string
import time
from typing import Any

import msgspec

from labs.bench.light.client import BROKEN, Base, Known
from labs.bench.light.commands import Reply, closing, refusal
from labs.bench.light.frames import Socket, new_key
from labs.bench.light.http import Answer
from labs.bench.light.pool import Pool
from labs.engine import SEPARATOR
from labs.errors import ChatError

BETWEEN = SEPARATOR.encode()
_BASE36 = string.digits + string.ascii_lowercase


class Opened(msgspec.Struct):
    """The packet `open`; its times are in milliseconds."""

    sid: str
    upgrades: list[str]
    pingInterval: int  # noqa: N815 (the protocol's names)
    pingTimeout: int  # noqa: N815


class Post:
    """Waits for the answer to packets that went up in a body."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def answered(self, answer: Answer, at_ns: int) -> None:
        """They have arrived; the next may go."""
        if answer.status >= 300:
            self._engine.ended(refusal(answer.status, answer.head, answer.body), at_ns)
        else:
            self._engine.posted()

    def failed(self, error: Exception) -> None:
        """Nobody knows whether they have."""
        self._engine.ended(error)


class Engine(Base):
    """A connection of Engine.IO (protocol 4), by the `transports` of the settings."""

    known = Known()

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._pool = Pool(self._address, self._keep_alive)
        self._post = Post(self)
        self._socket: Socket | None = None
        self._awaited: dict[str, asyncio.Future[Any]] = {}  # what the opening waits for
        self._queue: list[bytes] = []
        self._posting = False
        self._posted = asyncio.Event()
        self._sid, self._upgrades = "", list[str]()
        self._silence_s = self._heard_s = 0.0

    async def open(self) -> None:
        """Open by the first transport, and upgrade to the second if there is one."""
        transports = self.settings.transports
        if transports[0] == "websocket":
            opened = self._expect("open")
            await self._upgrade()
            await opened
            return
        future = self.future()
        self._pool.ask(self._get(), Reply(future, bytes))
        self._take((await future), time.monotonic_ns())
        if not self._sid:
            raise ConnectionError("what answers is not Engine.IO")
        if "websocket" in self._upgrades and "websocket" in transports:
            await self._probe()
        if self._socket is None:
            self._poll()

    def put(self, packet: bytes) -> None:
        """Send a packet: at once in a frame, or in a body with the others of this moment."""
        if self._socket:
            self._socket.send(packet)
            return
        if not self._queue and not self._posting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._queue.append(packet)

    def message(self, packet: bytes, at_ns: int) -> tuple[int, int] | None:
        """A packet `message`, type included; answers offset and number of the talk it is."""
        raise NotImplementedError

    async def _leave(self) -> None:
        """Wait until all that was put has gone out, and end the connection."""
        async with asyncio.timeout(self.settings.drain_s):
            if self._socket:
                self._socket.close()
                await self._socket.closed.wait()
                return
            while self._queue or self._posting:
                self._posted.clear()
                await self._posted.wait()

    def text(self, payload: bytes, at_ns: int) -> tuple[int, int] | None:
        """A packet (Engine.IO protocol, "Packet encoding")."""
        if payload.startswith(b"4"):
            return self.message(payload, at_ns)
        if payload.startswith(b"2"):
            self.put(b"3" + payload[1:])
        elif payload.startswith(b"0"):
            self._open(payload)
        elif payload == b"3probe":
            self._fulfil("probe", None)
        elif payload == b"1":
            raise ConnectionResetError("the server closed the connection")
        return None

    def upgraded(self) -> None:
        """The WebSocket's opening handshake is over."""
        self._fulfil("upgrade", None)

    def socket_ended(self, socket: Socket, error: Exception, at_ns: int) -> None:
        """The WebSocket is over."""
        if socket is self._socket and self.state != "closed":
            self.ended(error, at_ns)

    def posted(self) -> None:
        """The last body of packets has arrived."""
        self._posting = False
        self._posted.set()
        self._flush()

    def answered(self, answer: Answer, at_ns: int) -> None:
        """A poll has its answer."""
        if not self._sid:
            return
        try:
            if answer.status != 200:
                raise refusal(answer.status, answer.head, answer.body)
            self._take(answer.body, at_ns)
        except (ChatError, *BROKEN) as error:
            self.ended(error, at_ns)
        else:
            if self._sid and self.state != "closed":
                self._poll()

    def failed(self, error: Exception) -> None:
        """A poll has none."""
        if self._sid and self.state != "closed":
            self.ended(error)

    def _take(self, body: bytes, at_ns: int) -> None:
        for packet in body.split(BETWEEN):
            self.text(packet, at_ns)
        self._heard_s = at_ns / 1e9

    def _open(self, packet: bytes) -> None:
        opened = msgspec.json.decode(packet[1:], type=Opened)
        self._sid, self._upgrades = opened.sid, opened.upgrades
        self._silence_s = (opened.pingInterval + opened.pingTimeout) / 1_000
        self._fulfil("open", None)

    async def _probe(self) -> None:
        probed = self._expect("probe")
        await self._upgrade()
        assert self._socket
        self._socket.send(b"2probe")
        await probed
        self._socket.send(b"5")

    async def _upgrade(self) -> None:
        transport, key, upgraded = await self._pool.take(), new_key(), self._expect("upgrade")
        self._socket = Socket(self, transport, key, self.known)
        transport.set_protocol(self._socket)
        transport.write(self._head("engine_upgrade", "GET", key=key))
        await upgraded

    def _flush(self) -> None:
        if not self._posting and self._queue and not self._socket:
            body, self._queue, self._posting = BETWEEN.join(self._queue), [], True
            self._pool.ask(self._head("engine_post", "POST", length=len(body)) + body, self._post)

    def _poll(self) -> None:
        self._pool.ask(self._get(), self, repeatable=True)

    def _get(self) -> bytes:
        return self._head("engine_get", "GET")

    def _head(self, kind: str, method: str, length: int | None = None, **fields: str) -> bytes:
        place = {"path": self.settings.path.rstrip("/"), "t": self._stamp()}
        if self._sid:
            place["sid"] = self._sid
        target = self._heads.target(kind, **place)  # a path in the URL is no path of Socket.IO
        netloc = self._address.netloc
        head = self._heads.request(kind, method, target, netloc, length=length, **fields)
        return head if self._keep_alive or "key" in fields else closing(head)

    def _stamp(self) -> str:
        if self._heads.name == "python":
            return str(time.time())
        return "".join(secrets.choice(_BASE36) for _ in range(round(self._heads.stamp_bytes)))

    def _expect(self, what: str) -> asyncio.Future[Any]:
        future = self._awaited[what] = self.step()
        return future

    def _fulfil(self, what: str, value: object) -> None:
        future = self._awaited.pop(what, None)
        if future and not future.done():
            future.set_result(value)

    def _check(self, now_s: float) -> None:
        heard_s = self._socket.heard_ns / 1e9 if self._socket else self._heard_s
        if now_s - heard_s > self._silence_s:
            self.ended(ConnectionError(f"the server was silent for {self._silence_s:g} s"))

    def _abort(self, error: Exception) -> None:
        socket, self._socket, self._sid = self._socket, None, ""
        self._queue, self._posting = [], False
        self._awaited.clear()
        self._pool.drop(error)
        if socket:
            socket.transport.abort()
