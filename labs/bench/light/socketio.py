"""Socket.IO, light: events with acks in the root namespace; and the lesson's dialect of it."""

from __future__ import annotations

import asyncio
import re
from itertools import count
from typing import Any, Literal

import msgspec

from labs.bench import heads
from labs.bench.light.client import BROKEN
from labs.bench.light.engine import Engine
from labs.chat import Accepted, Join, Joined, Talk
from labs.chat.messages import SERVER_NAME, encode, encode_command
from labs.errors import ChatError, LabError
from labs.http import refused
from labs.settings import Settings

_BATCH = b'42["updateMessage",'
_NUMBERED = re.compile(rb"4[23]([0-9]{0,15})\[")

_parts = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Said(msgspec.Struct):
    """A message of the original lesson."""

    message: str
    name: str = ""


class Refused(msgspec.Struct):
    """An ack that says no."""

    error: msgspec.Raw


class SocketIO(Engine):
    """A client that speaks SPEC.md."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._ids = count(1)
        self._acks: dict[int, asyncio.Future[Any]] = {}
        self._joining = 0

    def send(self, text: str, key: str | None = None) -> asyncio.Future[int]:
        """Say something."""
        try:
            data = encode_command(Talk(text, key or self.key()), self.settings)
        except ChatError as error:
            future = self.future()
            future.set_exception(error)
            return future
        _, future = self.ask(b"sendMessage", data)
        return future

    def ask(self, event: bytes, data: bytes) -> tuple[int, asyncio.Future[Any]]:
        """Emit an event with an ack; answers its number, and what will hold the ack."""
        future = self.future()
        number = next(self._ids)
        if self._sid:
            self._acks[number] = future
            self.put(b'42%d["%b",%b]' % (number, event, data))
        else:
            future.set_exception(ConnectionError("not connected"))
        return number, future

    async def enter_namespace(self) -> None:
        """Open the transport and connect to the root namespace."""
        self._ids = count(1)
        await self.open()
        connected = self._expect("connect")
        self.put(b"40{}")
        await connected

    async def _enter(self, join: Join) -> Joined:
        await self.enter_namespace()
        data = encode_command(join, self.settings)
        self._joining, answer = self.ask(b"newUserConnect", data)
        joined: Joined = await answer
        return joined

    async def _leave(self) -> None:
        self.put(b"41")
        await super()._leave()

    def message(self, packet: bytes, at_ns: int) -> tuple[int, int] | None:
        """A Socket.IO packet (protocol 5, "Packet encoding")."""
        if packet.startswith(_BATCH):
            return self.update(packet[len(_BATCH) : -1], at_ns)
        kind = packet[1:2]
        if kind == b"3":
            self._acked(packet)
        elif kind == b"0":
            self._fulfil("connect", None)
        elif kind == b"1":
            raise ConnectionResetError("the server has ended the connection")
        elif kind == b"4":
            raise _refusal(packet[2:])
        elif kind == b"2" and (numbered := _NUMBERED.match(packet)):
            event, *data = _parts(packet[numbered.end() - 1 :])
            if bytes(event) == b'"updateMessage"':
                return self.update(bytes(data[0]), at_ns)
            if bytes(event) == b'"error"':
                raise _refusal(bytes(data[0]))
        return None

    def update(self, data: bytes, at_ns: int) -> tuple[int, int] | None:
        """The event `updateMessage`."""
        return self.take(data, at_ns)

    def acked(self, number: int, data: bytes) -> object:
        """The value of an ack; raises the `ChatError` in it."""
        if data.startswith(b'{"error"'):
            raise refused(bytes(msgspec.json.decode(data, type=Refused).error))
        if number != self._joining:
            return msgspec.json.decode(data, type=Accepted).offset
        # At once: what comes in the same read is counted from here.
        joined = msgspec.json.decode(data, type=Joined)
        self.start(joined)
        return joined

    def _acked(self, packet: bytes) -> None:
        numbered = _NUMBERED.match(packet)
        future = self._acks.pop(int(numbered[1]), None) if numbered and numbered[1] else None
        if numbered is None or future is None or future.done():
            return
        data = b"".join(map(bytes, _parts(packet[numbered.end() - 1 :])[:1]))
        try:
            future.set_result(self.acked(int(numbered[1]), data))
        except ChatError as error:
            future.set_exception(error)

    def _abort(self, error: Exception) -> None:
        super()._abort(error)
        self._acks.clear()


def _refusal(data: bytes) -> Exception:
    try:
        return refused(data)
    except msgspec.MsgspecError:
        return ConnectionError(f"the server refuses: {data[:200].decode(errors='replace')}")


class Lesson(SocketIO):
    """A client that speaks the original lesson's three events, to servers that know no others.

    Its messages have no offsets: what people say is numbered 1, 2, 3 ... as it comes, and what the
    server announces is not, since not everybody hears all of that. There are no acks either: a
    send is answered by its own text coming down.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._unheard: dict[str, asyncio.Future[Any]] = {}

    def send(self, text: str, key: str | None = None) -> asyncio.Future[int]:
        """Say something."""
        future = self.future()
        if self._sid:
            self._unheard[text] = future
            self.put(b'42["sendMessage",%b]' % encode({"message": text}))
        else:
            future.set_exception(ConnectionError("not connected"))
        return future

    async def _enter(self, join: Join) -> Joined:
        await self.enter_namespace()
        heard = self._expect("message")
        self.put(b'42["newUserConnect",%b]' % encode(join.name))
        await heard
        joined = Joined("", join.name, "", "", 0, "0", [join.name], 0.0, self._silence_s)
        if self._joined is None:
            self._joined = joined
        return joined

    def update(self, data: bytes, at_ns: int) -> tuple[int, int] | None:
        """One message; not two of them have the same bytes and the same offset."""
        said = msgspec.json.decode(data, type=Said)
        self._fulfil("message", None)
        if said.name == SERVER_NAME:
            return None
        self.position_offset += 1
        future = self._unheard.pop(said.message, None) if self._unheard else None
        if future and not future.done():
            future.set_result(self.position_offset)
        self.heard(said.message, self.position_offset, at_ns)
        return None

    def _abort(self, error: Exception) -> None:
        super()._abort(error)
        self._unheard.clear()


class _Deaf:
    """A sink for a client that only wants to know who is there."""

    def arrived(self, client: int, index: int, offset: int, at_ns: int) -> None:
        """Not wanted."""

    def foreign(self, client: int) -> None:
        """Not wanted."""

    def broke(self, client: int, at_ns: int) -> None:
        """The answer that does not come says it."""


class _Enquiry(SocketIO):
    """A client that joins in both dialects at once and sees which is answered first."""

    connected = False

    async def dialect(self) -> str:
        """`spec` or `lesson`."""
        await self.enter_namespace()
        self.connected, self.state = True, "open"
        answer = self._expect("dialect")
        self._ids, self._joining = count(0), 0
        _, ack = self.ask(b"newUserConnect", b'"probe"')
        ack.add_done_callback(lambda late: late.cancelled() or late.exception())  # may never come
        told: str = await answer
        return told

    def update(self, data: bytes, at_ns: int) -> tuple[int, int] | None:
        """A lesson's server has announced us."""
        self._fulfil("dialect", "lesson")
        return None

    def acked(self, number: int, data: bytes) -> object:
        """An ack as SPEC.md has it; some servers of the lesson ack too, with nothing in it."""
        if b'"session"' in data or b'"error"' in data:
            self._fulfil("dialect", "spec")
        return None


async def speaks(url: str, settings: Settings) -> Literal["spec", "lesson"]:
    """What a Socket.IO server speaks: SPEC.md, or the original lesson's three events.

    Joins as `probe` and leaves again. Raises `ConnectionError` when nobody answers, `LabError`
    when it speaks neither, both within `timeout_s`.
    """
    enquiry = _Enquiry(0, url, settings, heads.find("python"), _Deaf(), phase=0.0)
    enquiry.state = "connecting"
    try:
        async with asyncio.timeout(settings.timeout_s):
            told = await enquiry.dialect()
    except TimeoutError as error:
        if enquiry.connected:
            raise LabError(
                f"the server at {url} answers newUserConnect neither with an ack (SPEC.md) nor "
                "with updateMessage (the lesson); measure one that does"
            ) from None
        why = f"nothing came within {settings.timeout_s:g} s"
        raise ConnectionError(f"no Socket.IO server answers at {url}: {why}") from error
    except BROKEN as error:
        raise ConnectionError(f"no Socket.IO server answers at {url}: {error}") from error
    finally:
        await enquiry.close()
    return "spec" if told == "spec" else "lesson"
