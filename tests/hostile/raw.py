"""Engine.IO by hand: what a client that is not ours may put on the wire, well formed or not."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from io import BytesIO
from typing import Any

import aiohttp
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed

SEPARATOR = "\x1e"
PATIENCE_S = 20.0
"""How long a test waits for what must come; only a failing test ever waits this long."""


class EndedError(ConnectionError):
    """The server has ended the exchange; `close` is the WebSocket's close code."""

    def __init__(self, close: int, reason: str = "") -> None:
        super().__init__(f"{close} {reason}")
        self.close = close
        self.reason = reason


class RefusedError(ConnectionError):
    """The server has answered an HTTP request with an error."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body


class EngineIO:
    """One Engine.IO session, protocol 4, over the transports given; answers pings."""

    def __init__(self, url: str, transports: tuple[str, ...], path: str = "/socket.io") -> None:
        self.address = f"{url}{path}/"
        self.sid = ""
        self.opening: dict[str, Any] = {}
        self.socket: ClientConnection | None = None
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S))
        self._transports = transports
        self._arrived: deque[str] = deque()

    async def __aenter__(self) -> EngineIO:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.vanish()

    async def open(self) -> None:
        """Shake hands, and upgrade where there is something to upgrade to."""
        if self._transports[0] == "websocket":
            self.socket = await self.open_socket()
        self._opened(await self.receive())
        if len(self._transports) == 2:
            await self.upgrade()

    async def connect(self) -> None:
        """Open, and enter the root namespace."""
        await self.open()
        await self.send("40")
        assert (await self.receive()).startswith("40{")

    async def upgrade(self) -> None:
        """From polling to a WebSocket, as the protocol has it: probe, last poll, upgrade."""
        socket = await self.open_socket()
        await socket.send("2probe")
        assert await socket.recv() == "3probe"
        self._arrived += [one for one in await self.poll() if one != "6"]
        await socket.send("5")
        self.socket = socket

    async def open_socket(self) -> ClientConnection:
        """A WebSocket for this session, or for a new one."""
        query = "EIO=4&transport=websocket" + (f"&sid={self.sid}" if self.sid else "")
        return await open_websocket(
            f"ws{self.address.removeprefix('http')}?{query}",
            compression=None,
            max_size=None,
            ping_interval=None,
            proxy=None,
        )

    async def send(self, *packets: str | bytes) -> None:
        """Send packets as they are: a frame each, or one HTTP body for all."""
        raw = [one.encode() if isinstance(one, str) else one for one in packets]
        if self.socket is None:
            await self.post(SEPARATOR.encode().join(raw))
            return
        try:
            for one in raw:
                await self.socket.send(one, text=True)
        except ConnectionClosed as closed:
            raise _ended(closed) from None

    async def post(self, body: bytes) -> None:
        """POST this body."""
        async with self.http.post(self.address, params=self.query, data=BytesIO(body)) as response:
            if not response.ok:
                raise RefusedError(response.status, await response.text())

    async def poll(self) -> list[str]:
        """GET the packets there are."""
        async with self.http.get(self.address, params=self.query) as response:
            if not response.ok:
                raise RefusedError(response.status, await response.text())
            return (await response.text()).split(SEPARATOR)

    async def receive(self) -> str:
        """The next packet that is not about liveness."""
        async with asyncio.timeout(PATIENCE_S):
            while (packet := await self.receive_any()) in ("2", "6"):
                pass
            return packet

    async def receive_any(self) -> str:
        """The next packet, a ping too, which has been answered by then."""
        while not self._arrived:
            self._arrived += await self._read()
        packet = self._arrived.popleft()
        if packet == "2":
            await self.send("3")
        if packet == "1":
            raise EndedError(1000)
        return packet

    @property
    def query(self) -> dict[str, str]:
        """What a polling request carries."""
        return {"EIO": "4", "transport": "polling"} | ({"sid": self.sid} if self.sid else {})

    async def vanish(self) -> None:
        """End every connection without a word."""
        if self.socket:
            self.socket.transport.abort()
        await self.http.close()

    async def _read(self) -> list[str]:
        if self.socket is None:
            return await self.poll()
        try:
            return [str(await self.socket.recv())]
        except ConnectionClosed as closed:
            raise _ended(closed) from None

    def _opened(self, packet: str) -> None:
        assert packet[0] == "0"
        self.opening = json.loads(packet[1:])
        self.sid = self.opening["sid"]


def _ended(closed: ConnectionClosed) -> EndedError:
    return EndedError(closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else EndedError(1006)
