"""WebSocket, the client's side: one connection, frames both ways, acks by number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import msgspec
from websockets.asyncio import client as websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.protocol import State

from labs.chat import Accepted, Join, Joined, Message, Talk
from labs.chat.messages import encode, encode_command
from labs.errors import ChatError, from_close
from labs.http import refused
from labs.inbox import Backoff, Inbox, new_key
from labs.settings import Settings

BROKEN = (WebSocketException, OSError, msgspec.MsgspecError)
RETURN = 4_000  # who closes with 1000 has left; who closes with this may come back


class Down(msgspec.Struct):
    """A frame from the server: `updateMessage`, or the `ack` or `error` for frame `id`."""

    event: str
    data: msgspec.Raw
    id: int | None = None


class Client:
    """A chat client over a WebSocket; `labs.variants.Client` says what its members do."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.state = "closed"
        self._url = "ws" + url.removeprefix("http").rstrip("/") + "/"
        self._settings = settings
        self._inbox = Inbox()
        self._joining = asyncio.Lock()
        self._joined: Joined | None = None
        self._connection: websockets.ClientConnection | None = None
        self._ids = count(1)
        self._acks: dict[int, asyncio.Future[bytes]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self, name: str, since: int | str | None = None) -> Joined:
        """Open the connection and join, then read until closed."""
        self.state = "connecting"
        try:
            joined = await self._join(Join(name, since, room=self._settings.room))
        except BaseException as error:
            await self.close()
            if isinstance(error, BROKEN):
                raise ConnectionError(f"no chat answers at {self._url}: {error}") from error
            raise
        self._tasks.append(asyncio.create_task(self._follow()))
        return joined

    async def send(self, text: str, key: str | None = None) -> int:
        """Send a frame; when the outcome is unknown, send it again with the same key."""
        key, backoff = key or new_key(), Backoff()
        while True:
            try:
                connection = await self._entered()
                body = await self._ask(connection, "sendMessage", Talk(text, key))
                return msgspec.json.decode(body, type=Accepted).offset
            except (ChatError, *BROKEN) as error:
                await backoff.after(error)

    def messages(self) -> AsyncIterator[Message]:
        """What the frames bring."""
        return self._inbox.messages()

    async def close(self) -> None:
        """Leave, by closing the connection properly."""
        self.state = "closed"
        for task in self._tasks:
            task.cancel()
        if self._connection:
            await self._connection.close()
        self._inbox.end()

    async def _follow(self) -> None:
        backoff = Backoff()
        try:
            while True:
                try:
                    connection = await self._entered()
                    backoff.reset()
                    await self._read(connection)
                except (ChatError, *BROKEN) as error:
                    self.state = "reconnecting"
                    await backoff.after(error)
        except ChatError as error:
            self.state = "closed"
            self._inbox.end(error)

    async def _read(self, connection: websockets.ClientConnection) -> None:
        acks = self._acks
        try:
            while True:
                await self._take(msgspec.json.decode(await connection.recv(), type=Down))
        except ConnectionClosed as closed:
            told = closed.rcvd and from_close(closed.rcvd.code, closed.rcvd.reason)
            raise (told or ConnectionResetError("the connection has ended")) from None
        finally:
            for ack in acks.values():
                if not ack.done():
                    ack.set_exception(ConnectionResetError("the connection has ended"))
            await connection.close(RETURN)

    async def _take(self, down: Down) -> None:
        if down.event == "updateMessage":
            await self._inbox.put(msgspec.json.decode(down.data, type=list[Message]))
        elif down.id in self._acks and not self._acks[down.id].done():
            if down.event == "error":
                self._acks[down.id].set_exception(refused(bytes(down.data)))
            else:
                self._acks[down.id].set_result(bytes(down.data))

    async def _ask(
        self, connection: websockets.ClientConnection, event: str, command: Join | Talk
    ) -> bytes:
        ack: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        data = msgspec.Raw(encode_command(command, self._settings))
        number, acks = next(self._ids), self._acks
        acks[number] = ack
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                up = encode({"event": event, "data": data, "id": number})
                await connection.send(up.decode())
                return await ack
        finally:
            del acks[number]

    async def _join(self, command: Join) -> Joined:
        self._connection = connection = await self._open()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                up = encode({"event": "newUserConnect", "data": command, "id": 0})
                await connection.send(up.decode())
                reply = msgspec.json.decode(await connection.recv(), type=Down)
            if reply.event == "error":
                raise refused(bytes(reply.data))
            self._joined = msgspec.json.decode(reply.data, type=Joined)
        except BaseException:
            await connection.close()
            raise
        self._acks = {}
        self._inbox.start(self._joined)
        self.state = "open"
        return self._joined

    async def _open(self) -> websockets.ClientConnection:
        try:
            return await websockets.connect(
                self._url,
                compression="deflate" if self._settings.compress else None,
                max_size=None,
                open_timeout=self._settings.timeout_s,
                ping_interval=self._settings.heartbeat_s,
                # A dead peer is given up after both, one after the other.
                ping_timeout=self._settings.timeout_s / 2,
                close_timeout=self._settings.timeout_s / 2,
                proxy=None,
            )
        except InvalidStatus as refusal:
            try:
                told = refused(bytes(refusal.response.body))
            except msgspec.MsgspecError:  # not by our server: by a proxy, say
                raise refusal from None
            raise told from None

    async def _entered(self) -> websockets.ClientConnection:
        """The connection that holds: a new one, at our place, if the last has ended."""
        async with self._joining:
            assert self._joined, "connect() comes first"
            self._inbox.check_open()
            assert self._connection
            if self._connection.state is not State.OPEN:
                old = self._joined
                await self._join(Join(old.name, self._inbox.position, old.session, old.room))
            return self._connection
