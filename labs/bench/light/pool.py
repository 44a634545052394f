"""The HTTP connections of a light client, used again like those of aiohttp's client."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic_ns
from typing import Protocol, cast

from labs.bench.light.http import Address, Answer, read

IDLE_NS = 15_000_000_000  # aiohttp's client uses no connection again that has been idle for longer


class Last:
    """The last read that was one whole answer, and that answer.

    Most polls bring nothing, and are told so in the same bytes: what is equal to them need not
    be parsed again.
    """

    __slots__ = ("answer", "data")

    def __init__(self) -> None:
        self.data, self.answer = b"", Answer(0, b"", b"", False)


class Asker(Protocol):
    """Who waits for an answer."""

    def answered(self, answer: Answer, at_ns: int) -> None:
        """It has come whole, with a read at this moment of the monotonic clock."""

    def failed(self, error: Exception) -> None:
        """It will not come."""


class Connection(asyncio.Protocol):
    """A connection that carries one exchange at a time."""

    last = Last()
    transport: asyncio.Transport

    def __init__(self, pool: Pool) -> None:
        self.asker: Asker | None = None
        self._again = b""
        self._pool = pool
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        # uvloop's are not of asyncio's class, though they do the same.
        self.transport = cast(asyncio.Transport, transport)
        self._pool.made(self)

    def ask(self, request: bytes, asker: Asker, again: bytes) -> None:
        """Write a request; its answer goes to `asker`. `again` is what may be asked once more."""
        if self.transport.is_closing():
            asker.failed(ConnectionResetError("the connection ended before the request"))
            return
        self.asker, self._again = asker, again
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Part of an answer, or all of it."""
        at_ns = monotonic_ns()
        last, asker = self.last, self.asker
        if asker is None:
            # Its answer might be taken for that to the next request.
            self._end(ConnectionError("the server answers what nobody asked"))
            return
        if data == last.data and not self._tail:
            self.asker = None
            self._pool.release(self, last.answer.reusable, at_ns)
            asker.answered(last.answer, at_ns)
            return
        whole, data = not self._tail, self._tail + data
        try:
            answer = read(data)
        except ValueError as error:
            self._end(ConnectionError(str(error)))
            return
        if answer is None:
            self._tail = data
            return
        if whole and not answer.rest:
            last.data, last.answer = data, answer
        self._tail, self.asker = b"", None
        self._pool.release(self, answer.reusable and not answer.rest, at_ns)
        asker.answered(answer, at_ns)

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended, as an answer without a length may."""
        asker, self.asker = self.asker, None
        self._pool.forget(self)
        if asker is None:
            return
        if self._again and not self._tail:
            # What else is idle may have ended as well, unnoticed as yet.
            self._pool.dial(self._again, asker)
            return
        try:
            answer = read(self._tail, ended=error is None)
        except ValueError:
            answer = None
        if answer:
            asker.answered(answer, monotonic_ns())
        else:
            asker.failed(ConnectionResetError("the connection ended before the answer"))

    def _end(self, error: Exception) -> None:
        asker, self.asker = self.asker, None
        self._pool.forget(self)
        self.transport.abort()
        if asker:
            asker.failed(error)


class Pool:
    """The connections of one client to one server, used like those of aiohttp's client.

    The one that has been idle longest goes first; where none is idle a new one is opened.
    """

    def __init__(self, address: Address, keep_alive: bool) -> None:
        self._address, self._keep_alive = address, keep_alive
        self._idle: deque[tuple[Connection, int]] = deque()
        self._all: set[Connection] = set()
        self._dialling: dict[asyncio.Task[None], Asker] = {}

    def ask(self, request: bytes, asker: Asker, *, repeatable: bool = False) -> None:
        """Write a request, at once where a connection is idle.

        What is `repeatable` is asked once more if the connection ends before any answer (RFC
        9112 section 9.2), as aiohttp's client does with every GET.
        """
        again = request if repeatable else b""
        connection = self._reused()
        if connection:
            connection.ask(request, asker, again)
        else:
            self.dial(request, asker, again)

    def dial(self, request: bytes, asker: Asker, again: bytes = b"") -> None:
        """Write a request on a new connection, as soon as that stands."""
        task = asyncio.get_running_loop().create_task(self._dial(request, asker, again))
        self._dialling[task] = asker
        task.add_done_callback(self._dialled)

    async def ready(self) -> None:
        """See to it that a connection is idle; raises `OSError`."""
        if not self._idle:
            self._idle.append((await self.opened(), monotonic_ns()))

    async def take(self) -> asyncio.Transport:
        """A connection for other use than exchanges: an idle one, or a new one."""
        connection = self._reused() or await self.opened()
        if connection.transport.is_closing():
            raise ConnectionResetError("the connection ended before the request")
        self._all.discard(connection)
        return connection.transport

    def give(self, transport: asyncio.Transport) -> None:
        """Take a connection back that is at the end of an answer."""
        connection = Connection(self)
        connection.transport = transport
        transport.set_protocol(connection)
        self._all.add(connection)
        self.release(connection, True, monotonic_ns())

    async def opened(self) -> Connection:
        """A new connection; raises `OSError`."""
        address = self._address
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(self), address.host, address.port, ssl=address.tls or None
        )
        return connection

    def made(self, connection: Connection) -> None:
        """A connection stands."""
        self._all.add(connection)

    def release(self, connection: Connection, reusable: bool, at_ns: int) -> None:
        """An exchange is over."""
        if reusable and self._keep_alive:
            self._idle.append((connection, at_ns))
        else:
            connection.transport.close()

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self._all.discard(connection)

    def drop(self, error: Exception) -> None:
        """Abort everything; who waits for an answer gets this error."""
        connections, self._all = self._all, set()
        dialling, self._dialling = self._dialling, {}
        self._idle.clear()
        for task, asker in dialling.items():
            task.cancel()
            asker.failed(error)
        for connection in connections:
            waiting, connection.asker = connection.asker, None
            connection.transport.abort()
            if waiting:
                waiting.failed(error)

    def _reused(self) -> Connection | None:
        while self._idle:
            connection, since_ns = self._idle.popleft()
            fresh = monotonic_ns() - since_ns <= IDLE_NS
            if fresh and connection in self._all and not connection.transport.is_closing():
                return connection
            connection.transport.close()
        return None

    async def _dial(self, request: bytes, asker: Asker, again: bytes) -> None:
        try:
            connection = await self.opened()
        except OSError as error:
            asker.failed(ConnectionError(str(error)))
        else:
            connection.ask(request, asker, again)

    def _dialled(self, task: asyncio.Task[None]) -> None:
        self._dialling.pop(task, None)
