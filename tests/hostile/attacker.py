"""Somebody who sends what he likes: the same mistake on every transport, and the code it gets."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from typing import Any, Protocol

import aiohttp
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed

from labs.errors import CODES
from labs.settings import Settings
from tests.hostile.raw import PATIENCE_S, EndedError, EngineIO, RefusedError

OK = "ok"
ENDED = {1007: "bad_request", 1009: "too_large"}
"""What a WebSocket says that ends on bytes no frame may hold (RFC 6455 section 7.4.1)."""


class Attacker(Protocol):
    """A connection, or what stands for one, with no client in between."""

    async def arrive(self) -> None:
        """Open what there is to open."""

    async def say(self, event: str, data: bytes) -> str:
        """Send these bytes as the data of a command; answers the code, or `OK`."""

    def carried(self, event: str, data: bytes) -> bytes:
        """The body, frame or packet that this is sent in."""

    async def join(self, name: str) -> str:
        """Join properly; answers the session's token."""

    async def go(self) -> None:
        """End every connection."""


def code_of(error: Any, status: int | None = None) -> str:
    """The code of an error, which has a code, a sentence, and nothing else."""
    assert isinstance(error, dict)
    assert set(error) == {"code", "message"}
    assert error["code"] in CODES
    assert len(error["message"].split()) > 2, f"{error['message']!r} is no sentence"
    assert status in (None, CODES[error["code"]].status)
    return str(error["code"])


class OverHttp:
    """polling, longpolling and streaming: a POST for each command."""

    def __init__(self, url: str, _: Settings) -> None:
        self._url = url
        self._joined: dict[str, Any] = {}

    async def arrive(self) -> None:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S))

    async def say(self, event: str, data: bytes) -> str:
        async with self._http.post(f"{self._url}/{event}", data=BytesIO(data)) as response:
            body = await response.read()
            if response.ok:
                self._joined = json.loads(body) if event == "newUserConnect" else self._joined
                return OK
            return code_of(json.loads(body), response.status)

    def carried(self, _: str, data: bytes) -> bytes:
        return data

    async def join(self, name: str) -> str:
        assert await self.say("newUserConnect", json.dumps({"name": name}).encode()) == OK
        return str(self._joined["session"])

    async def go(self) -> None:
        await self._http.close()


class OverWebSocket:
    """websocket: a frame for each command, with an id, so that it is answered."""

    def __init__(self, url: str, _: Settings) -> None:
        self._url = "ws" + url.removeprefix("http") + "/"
        self._joined: dict[str, Any] = {}

    async def arrive(self) -> None:
        self.socket: ClientConnection = await open_websocket(
            self._url, compression=None, ping_interval=None, proxy=None
        )

    async def say(self, event: str, data: bytes) -> str:
        return await self.frame(self.carried(event, data))

    async def frame(self, raw: bytes, text: bool = True) -> str:
        """Send a frame as it is; answers the code, or `OK`."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.socket.send(raw, text=text)
                while True:
                    down = json.loads(await self.socket.recv())
                    if down["event"] == "error":
                        return code_of(down["data"])
                    if down["event"] == "ack":
                        self._joined = down["data"] if "session" in down["data"] else self._joined
                        return OK
        except ConnectionClosed as closed:
            return ENDED[closed.rcvd.code if closed.rcvd else 1006]

    def carried(self, event: str, data: bytes) -> bytes:
        return b'{"event":"%b","id":7,"data":%b}' % (event.encode(), data)

    async def join(self, name: str) -> str:
        assert await self.say("newUserConnect", json.dumps({"name": name}).encode()) == OK
        return str(self._joined["session"])

    async def go(self) -> None:
        await self.socket.close()


class OverSocketIO:
    """socketio, on any of its transports: an event that asks for an ack."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.engine = EngineIO(url, settings.transports, settings.path)
        self._joined: dict[str, Any] = {}

    async def arrive(self) -> None:
        await self.engine.connect()

    async def say(self, event: str, data: bytes) -> str:
        return await self.packet(self.carried(event, data))

    async def packet(self, raw: bytes) -> str:
        """Send a packet as it is; answers the code in its ack or in an `error` event, or `OK`."""
        try:
            await self.engine.send(raw)
            while True:
                packet = await self.engine.receive()
                if packet.startswith('42["error",'):
                    return code_of(json.loads(packet[2:])[1])
                if packet.startswith("437"):
                    answer = json.loads(packet[3:])[0]
                    if "error" in answer:
                        return code_of(answer["error"])
                    self._joined = answer if "session" in answer else self._joined
                    return OK
        except EndedError as ended:
            return ENDED[ended.close]
        except RefusedError as refused:
            return code_of(json.loads(refused.body), refused.status)

    def carried(self, event: str, data: bytes) -> bytes:
        return b'427["%b",%b]' % (event.encode(), data)

    async def join(self, name: str) -> str:
        assert await self.say("newUserConnect", json.dumps({"name": name}).encode()) == OK
        return str(self._joined["session"])

    async def go(self) -> None:
        await self.engine.vanish()
