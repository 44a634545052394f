"""Clients without the comforts of ours: they say what they are told to, once, and never return.

One class a transport, written from SPEC.md section 10 alone, so that a mistake that our server
and our client share is a difference here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import aiohttp
import socketio
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed

from labs.errors import ChatError
from labs.settings import Settings
from labs.variants import Variant
from tests.contract.waiting import News

Data = dict[str, Any]


class Raw:
    """What the three kinds have in common: what came down, and how it ended."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url, self.settings = url, settings
        self.seen: list[Data] = []
        self.batches: list[list[Data]] = []
        self.error: ChatError | None = None
        self.ended = False
        self._news = News()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Be ready to ask."""

    async def ask(self, event: str, data: object) -> Any:
        """Send one command; answers the data of its answer, raises its `ChatError`."""
        raise NotImplementedError

    async def join(self, name: str, **more: object) -> Data:
        """`newUserConnect`, and listen from where the answer says."""
        joined: Data = await self.ask("newUserConnect", {"name": name, **more})
        self.listen(joined["since"])
        return joined

    async def leave(self) -> None:
        """`disconnect`."""
        await self.ask("disconnect", {})

    def listen(self, since: str) -> None:
        """Begin to read what comes down, where that takes a request."""

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something to be true of what came down."""
        await self._news.until(true)

    async def told(self) -> str:
        """The code with which the server ended what came down."""
        await self.until(lambda: self.ended)
        return self.error.code if self.error else ""

    async def close(self) -> None:
        """Be gone without a goodbye."""
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _take(self, batch: list[Data]) -> None:
        self.batches.append(batch)
        self.seen += batch
        self._news.tell()

    def _end(self, error: ChatError | None) -> None:
        self.error = self.error or error
        self.ended = True
        self._news.tell()


class Http(Raw):
    """Polling, long polling and streaming: three POSTs, and what `GET /updateMessage` brings."""

    async def open(self) -> None:
        self.token = ""
        self._http = aiohttp.ClientSession(self.url)

    async def ask(self, event: str, data: object) -> Any:
        if isinstance(data, dict) and event != "newUserConnect":
            data = {"session": self.token, **data}
        async with self._http.post(f"/{event}", data=json.dumps(data)) as response:
            answer = await _body(response)
        if event == "newUserConnect":
            self.token = answer["session"]
        return answer

    def listen(self, since: str) -> None:
        if self._task:
            self._task.cancel()
        self._task = asyncio.create_task(self._listen(since))

    async def close(self) -> None:
        await super().close()
        await self._http.close()

    async def _listen(self, since: str) -> None:
        try:
            while True:
                since = await self._get(since)
        except ChatError as error:
            self._end(error)
        except aiohttp.ClientError:
            self._end(None)

    async def _get(self, since: str) -> str:
        raise NotImplementedError

    def _position(self, batch: list[Data], since: str) -> str:
        epoch = since.rpartition(":")[0]
        for one in batch:
            epoch = one["text"] if one["kind"] == "gap" else epoch
        return f"{epoch}:{batch[-1]['offset']}".lstrip(":")


class Polling(Http):
    """Ask, and ask again; over long polling there is nothing to wait for in between."""

    pause_s = 0.0

    async def _get(self, since: str) -> str:
        query = {"session": self.token, "since": since}
        async with self._http.get("/updateMessage", params=query) as response:
            batch = await _body(response)
        if batch:
            self._take(batch)
            since = self._position(batch, since)
        await asyncio.sleep(self.pause_s)
        return since


class ShortPolling(Polling):
    """The same at an interval."""

    pause_s = 0.03


class Streaming(Http):
    """Ask once; an event ends with an empty line."""

    async def _get(self, since: str) -> str:
        query = {"session": self.token, "since": since}
        async with self._http.get("/updateMessage", params=query) as response:
            if response.status != 200:
                await _body(response)
            text = b""
            async for data in response.content.iter_any():
                *events, text = (text + data).split(b"\n\n")
                for event in events:
                    since = self._event(event.decode(), since)
        raise aiohttp.ClientError("the stream has ended")

    def _event(self, event: str, since: str) -> str:
        lines = [line.partition(": ") for line in event.split("\n")]
        fields = {field: value for field, _, value in lines}
        if fields.get("event") == "error":
            raise ChatError(**json.loads(fields["data"]))
        if fields.get("event") != "updateMessage":
            return since
        self._take(json.loads(fields["data"]))
        return fields["id"]


async def _body(response: aiohttp.ClientResponse) -> Any:
    body = await response.read()
    answer: Any = json.loads(body) if body else None
    if response.status >= 400:
        raise ChatError(**answer)
    return answer


class WebSocket(Raw):
    """Frames, and acks by number."""

    close_code = 0

    async def open(self) -> None:
        self._ids = count(1)
        self._acks: dict[int, asyncio.Future[Any]] = {}
        self._socket: ClientConnection = await open_websocket(
            "ws" + self.url.removeprefix("http"), max_size=None, proxy=None, ping_interval=None
        )
        self._task = asyncio.create_task(self._read())

    async def ask(self, event: str, data: object) -> Any:
        number = next(self._ids)
        self._acks[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"event": event, "data": data, "id": number}))
        return await self._acks[number]

    async def close(self) -> None:
        await super().close()
        self._socket.transport.abort()
        await self._socket.wait_closed()

    async def _read(self) -> None:
        error: ChatError | None = None
        try:
            while True:
                self._frame(json.loads(await self._socket.recv()))
        except ConnectionClosed as closed:
            if closed.rcvd and ":" in closed.rcvd.reason:
                code, _, message = closed.rcvd.reason.partition(": ")
                error = ChatError(code, message)
                self.close_code = closed.rcvd.code
        self._end(error)
        for ack in self._acks.values():
            if not ack.done():
                ack.set_exception(error or ConnectionResetError("closed"))

    def _frame(self, down: Data) -> None:
        if down["event"] == "updateMessage":
            self._take(down["data"])
        elif down["event"] == "error":
            self._acks[down["id"]].set_exception(ChatError(**down["data"]))
        else:
            self._acks[down["id"]].set_result(down["data"])


class SocketIO(Raw):
    """The plain python-socketio client."""

    async def open(self) -> None:
        self._socket = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        self._socket.on("updateMessage", self._take)
        self._socket.on("error", lambda error: self._end(ChatError(**error)))
        self._socket.on("disconnect", lambda *_: self._end(None))
        await self._socket.connect(
            self.url,
            socketio_path=self.settings.path,
            transports=list(self.settings.transports),
            wait_timeout=20,
        )

    async def ask(self, event: str, data: object) -> Any:
        answer = await self._socket.call(event, data, timeout=20)
        if isinstance(answer, dict) and "error" in answer:
            raise ChatError(**answer["error"])
        return answer

    async def leave(self) -> None:
        await self._socket.eio.send("1")  # the library's own goodbye may not get out

    async def close(self) -> None:
        with suppress(aiohttp.ClientError):
            await self._socket.eio.disconnect(abort=True)


RAW: dict[str, type[Raw]] = {
    "polling": ShortPolling,
    "longpolling": Polling,
    "streaming": Streaming,
    "websocket_chat": WebSocket,
    "socketio_chat": SocketIO,
}


def raw(variant: Variant, url: str, settings: Settings) -> Raw:
    """A raw client for a variant; not open yet."""
    return RAW[variant.package](url, settings)
