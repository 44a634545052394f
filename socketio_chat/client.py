"""Socket.IO, the client's side: the library's connection, our return to where we were."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from socketio.exceptions import SocketIOError
from socketio.packet import DISCONNECT

from labs import engine, engine_client
from labs.chat import Accepted, Join, Joined, Message, Talk
from labs.chat.messages import encode, encode_command
from labs.errors import ChatError
from labs.http import refused
from labs.inbox import Backoff, Inbox, new_key
from labs.settings import Settings

BROKEN = (SocketIOError, OSError, msgspec.MsgspecError)


class Connection:
    """One connection of the library; `ended` says when it is over, and why."""

    def __init__(self, inbox: Inbox, settings: Settings) -> None:
        self.socket = engine_client.Client()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.joined = asyncio.Event()
        self._inbox, self._settings = inbox, settings
        self.socket.on("updateMessage", self._update_message)
        self.socket.on("error", self._error)
        self.socket.on("disconnect", self._disconnect)

    async def open(self, url: str) -> None:
        """Connect; raises the `ChatError` of a refusal, `SocketIOError` or `OSError`."""
        async with asyncio.timeout(self._settings.timeout_s):
            try:
                await self.socket.connect(
                    url,
                    socketio_path=self._settings.path,
                    transports=list(self._settings.transports),
                    wait_timeout=self._settings.timeout_s,
                )
            except SocketIOError as error:
                raise (await engine_client.refusal(error)) or error from None

    async def _update_message(self, batch: Any) -> None:
        # The ack that says where we stand came just before, but its reader comes after us.
        await self.joined.wait()
        try:
            await self._inbox.put(msgspec.convert(batch, list[Message]))
        except (ConnectionError, msgspec.MsgspecError) as error:
            self.end(error)

    async def _error(self, error: Any) -> None:
        self.end(refused(encode(error)))

    async def _disconnect(self, *_: object) -> None:
        self.end(ConnectionResetError("the connection has ended"))

    def end(self, error: Exception) -> None:
        """Take the connection for ended."""
        if not self.ended.done():
            self.ended.set_exception(error)

    async def leave(self) -> None:
        """Send the packet `disconnect`, be sure it has gone out, and end the connection."""
        if not self.ended.done():
            await self.socket.eio.send(str(DISCONNECT))
            out = asyncio.create_task(self.socket.eio.queue.join())
            await self._either(out)
            out.cancel()
        await self.drop()

    async def drop(self) -> None:
        """End the connection without a word."""
        await self.socket.drop()
        self.end(ConnectionResetError("the connection has ended"))
        self.ended.exception()

    async def ask(self, event: str, command: Join | Talk) -> bytes:
        """Emit an event and wait for its ack; raises the `ChatError` in it."""
        data = msgspec.json.decode(encode_command(command, self._settings))
        ack: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def acked(data: Any = None, *_: object) -> None:
            if not ack.done():
                ack.set_result(data)

        await self.socket.emit(event, data, callback=acked)
        await self._either(ack)
        if not ack.done():
            raise TimeoutError(f"{event} was not answered")
        if isinstance(ack.result(), dict) and "error" in ack.result():
            raise refused(encode(ack.result()["error"]))
        return encode(ack.result())

    async def _either(self, awaited: asyncio.Future[Any]) -> None:
        await asyncio.wait(
            {awaited, self.ended},
            timeout=self._settings.timeout_s,
            return_when=asyncio.FIRST_COMPLETED,
        )


class Client:
    """A chat client over Socket.IO; `labs.variants.Client` says what its members do."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.state = "closed"
        self._url = url.rstrip("/")
        self._settings = settings
        self._inbox = Inbox()
        self._joining = asyncio.Lock()
        self._joined: Joined | None = None
        self._connection: Connection | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self, name: str, since: int | str | None = None) -> Joined:
        """Open the connection and join, then listen until closed."""
        engine.raise_packet_limit(self._settings)
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
        """Emit it; when the outcome is unknown, emit it again with the same key."""
        key, backoff = key or new_key(), Backoff()
        while True:
            try:
                connection = await self._entered()
                body = await connection.ask("sendMessage", Talk(text, key))
                return msgspec.json.decode(body, type=Accepted).offset
            except (ChatError, *BROKEN) as error:
                await backoff.after(error)

    def messages(self) -> AsyncIterator[Message]:
        """What the events bring."""
        return self._inbox.messages()

    async def close(self) -> None:
        """Leave, with the packet that says so."""
        self.state = "closed"
        for task in self._tasks:
            task.cancel()
        if self._connection:
            await self._connection.leave()
        self._inbox.end()

    async def _follow(self) -> None:
        backoff = Backoff()
        try:
            while True:
                try:
                    connection = await self._entered()
                    backoff.reset()
                    await asyncio.shield(connection.ended)
                except (ChatError, *BROKEN) as error:
                    self.state = "reconnecting"
                    await backoff.after(error)
        except ChatError as error:
            self.state = "closed"
            self._inbox.end(error)

    async def _join(self, command: Join) -> Joined:
        if self._connection:
            await self._connection.drop()
        self._connection = connection = Connection(self._inbox, self._settings)
        try:
            await connection.open(self._url)
            body = await connection.ask("newUserConnect", command)
            self._joined = msgspec.json.decode(body, type=Joined)
        except BaseException:
            await connection.drop()
            raise
        self._inbox.start(self._joined)
        connection.joined.set()
        self.state = "open"
        return self._joined

    async def _entered(self) -> Connection:
        """The connection that holds: a new one, at our place, if the last has ended."""
        async with self._joining:
            assert self._joined, "connect() comes first"
            self._inbox.check_open()
            assert self._connection
            if self._connection.ended.done():
                old = self._joined
                await self._join(Join(old.name, self._inbox.position, old.session, old.room))
            return self._connection
