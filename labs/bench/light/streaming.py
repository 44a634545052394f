"""HTTP streaming, light: the chunks of an event stream."""

from __future__ import annotations

import asyncio
import random
import re
from time import monotonic_ns

from labs.bench.light.client import BROKEN, Known
from labs.bench.light.commands import Commands, refusal
from labs.bench.light.http import read, split, status_of
from labs.errors import ChatError
from labs.http import refused

LEAST_S = 0.01  # before a stream that has ended is asked for again
# What our servers send for a batch: one event, in one chunk.
_BATCH = re.compile(
    rb"([0-9a-f]{1,8})\r\nevent: updateMessage\nid: [^\r\n]*\ndata: (\[[^\r\n]*\])\n\n\r\n"
)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)


class Stream(asyncio.Protocol):
    """One response that goes on, until a chunk without data ends it."""

    known = Known()

    def __init__(self, client: Streaming, transport: asyncio.Transport) -> None:
        self.heard_ns = monotonic_ns()
        self.transport = transport
        self._client, self._number = client, client.number
        self._arrived = client.sink.arrived
        self._begun = False
        self._tail = b""  # of a chunk, or of the head
        self._event = b""  # of an event

    def data_received(self, data: bytes) -> None:
        """As many chunks as came, or part of one."""
        self.heard_ns = at_ns = monotonic_ns()
        known, client = self.known, self._client
        if data == known.data and not self._tail and not self._event:
            offset = known.offset
            if offset > client.position_offset:
                client.position_offset = offset
            self._arrived(self._number, known.index, offset, at_ns)
            return
        whole = self._begun and not self._tail and not self._event
        try:
            only = self._read(self._tail + data, at_ns)
        except (ChatError, *BROKEN) as error:
            self.transport.abort()
            client.stream_ended(self, error, at_ns)
            return
        if only and whole and not self._tail and not self._event:
            known.data, (known.offset, known.index) = data, only

    def connection_lost(self, error: Exception | None) -> None:
        """It broke off."""
        why = error or ConnectionResetError("the stream broke off")
        self._client.stream_ended(self, why, monotonic_ns())

    def _read(self, data: bytes, at_ns: int) -> tuple[int, int] | None:
        if not self._begun:
            rest = self._begin(data)
            if rest is None:
                self._tail = data
                return None
            data, self._begun = rest, True
            self._client.stream_begun()
        only, count, place = None, 0, 0
        while not self._event and (one := _BATCH.match(data, place)):
            if int(one[1], 16) != one.end() - one.end(1) - 4:
                break
            only, count, place = self._client.take(one[2], at_ns), count + 1, one.end()
        while (line := data.find(b"\r\n", place)) >= 0:
            size = int(data[place:line].partition(b";")[0], 16)
            end = line + 2 + size
            if len(data) < end + 2:
                break
            if data[end : end + 2] != b"\r\n":
                raise ValueError("a chunk that is longer than it says")
            if size == 0:
                self._tail = b""
                self._client.stream_ended(self, None, at_ns, clean=len(data) == end + 2)
                return None
            only, count, place = self._events(data[line + 2 : end], at_ns), count + 1, end + 2
        self._tail = data[place:]
        return only if count == 1 else None

    def _begin(self, data: bytes) -> bytes | None:
        parts = split(data)
        if parts is None:
            return None
        head, rest = parts
        if status_of(head) != 200:
            answer = read(data)
            if answer is None:
                return None
            raise refusal(answer.status, head, answer.body)
        if not _CHUNKED.search(head):
            raise ConnectionError("the event stream is not chunked; ask its server directly")
        return rest

    def _events(self, data: bytes, at_ns: int) -> tuple[int, int] | None:
        text, held = self._event + data, b""
        if b"\r" in text:
            if text.endswith(b"\r"):  # the other half of a CR LF may be on its way
                text, held = text[:-1], b"\r"
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *events, rest = text.split(b"\n\n")
        self._event = rest + held
        only = None
        for event in events:
            only = self._one(event, at_ns)
        return only if len(events) == 1 else None

    def _one(self, event: bytes, at_ns: int) -> tuple[int, int] | None:
        name, data = b"", []
        for line in event.split(b"\n"):
            field, _, value = line.partition(b":")
            if field == b"event":
                name = value.removeprefix(b" ")
            elif field == b"data":
                data.append(value.removeprefix(b" "))
            elif field == b"retry" and value.strip().isdigit():
                self._client.retry_s = int(value) / 1_000
        if name == b"updateMessage" and data:
            return self._client.take(b"\n".join(data), at_ns)
        if name == b"error":
            raise refused(b"\n".join(data))
        return None


class Streaming(Commands):
    """Asks once, and again when the server has ended the response."""

    retry_s = 0.2
    _stream: Stream | None = None
    _begun: asyncio.Future[None] | None = None
    _timer: asyncio.TimerHandle | None = None
    _asking: asyncio.Task[None] | None = None

    async def _follow(self) -> None:
        self._begun = self.step()
        await self._ask()
        await self._begun

    async def _ask(self) -> None:
        transport = await self.pool.take()
        self._stream = Stream(self, transport)
        transport.set_protocol(self._stream)
        target = self._update_target("stream", self.position)
        transport.write(self._request("stream", "GET", target, last_event_id=self.position))

    def stream_begun(self) -> None:
        """The response is an event stream."""
        if self._begun and not self._begun.done():
            self._begun.set_result(None)

    def stream_ended(
        self, stream: Stream, error: Exception | None, at_ns: int, *, clean: bool = False
    ) -> None:
        """It is over; without an error it was at its proper end, and is asked for again."""
        if stream is not self._stream:
            return
        self._stream = None
        if error:
            self.ended(error, at_ns)
            return
        if clean:
            self.pool.give(stream.transport)
        else:
            stream.transport.abort()
        # A server that ends all its streams at once must not be asked for all of them at once.
        wait_s = max(LEAST_S, random.uniform(0, self.retry_s))
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._ask_again)

    def _ask_again(self) -> None:
        self._asking = asyncio.get_running_loop().create_task(self._ask())
        self._asking.add_done_callback(self._asked)

    def _asked(self, asking: asyncio.Task[None]) -> None:
        if not asking.cancelled() and (error := asking.exception()):
            self.ended(ConnectionError(str(error)))

    def _check(self, now_s: float) -> None:
        assert self._joined
        silence_s = self._joined.quiet_s + self.settings.timeout_s
        if self._stream and now_s - self._stream.heard_ns / 1e9 > silence_s:
            self.ended(ConnectionError(f"the stream was silent for {silence_s:g} s"))

    def _quit(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            stream.transport.abort()
        if self._timer:
            self._timer.cancel()
        if self._asking:
            self._asking.cancel()
