"""What the three HTTP variants have in common: commands go up as `POST`s, answered in JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any
from urllib.parse import quote

import msgspec

from labs.bench.light.client import BROKEN, Base
from labs.bench.light.http import Answer
from labs.bench.light.pool import Pool
from labs.chat import Accepted, Join, Joined, Leave, Talk
from labs.chat.messages import encode_command
from labs.errors import ChatError
from labs.http import refused

_RETRY_AFTER = b"\r\nretry-after: "


def refusal(status: int, head: bytes, body: bytes) -> Exception:
    """The error in an answer: the chat's, or that of something between us and the chat."""
    try:
        after = head.lower().partition(_RETRY_AFTER)[2].partition(b"\r\n")[0]
        return refused(body, float(after) if after.isdigit() else None)
    except (msgspec.MsgspecError, UnicodeError):
        return ConnectionError(f"the answer was HTTP status {status}")


class Reply:
    """A future that an answer fulfils, as a value made of its body."""

    def __init__(self, future: asyncio.Future[Any], value: Callable[[bytes], Any]) -> None:
        self._future, self._value = future, value

    def answered(self, answer: Answer, at_ns: int) -> None:
        """A value, or the error in it."""
        if self._future.done():
            return
        try:
            if answer.status >= 300:
                raise refusal(answer.status, answer.head, answer.body)
            self._future.set_result(self._value(answer.body))
        except ChatError as error:
            self._future.set_exception(error)
        except BROKEN as error:
            self._future.set_exception(ConnectionError(str(error)))

    def failed(self, error: Exception) -> None:
        """No answer."""
        if not self._future.done():
            self._future.set_exception(error)


def offset(body: bytes) -> int:
    """The offset that answers a talk."""
    return msgspec.json.decode(body, type=Accepted).offset


def joined(body: bytes) -> Joined:
    """The answer to a join."""
    return msgspec.json.decode(body, type=Joined)


class Commands(Base):
    """A client that has requests and answers."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.pool = Pool(self._address, self._keep_alive)

    def send(self, text: str, key: str | None = None) -> asyncio.Future[int]:
        """Say something."""
        assert self._joined, "connect() comes first"
        talk = Talk(text, key or self.key(), self._joined.session)
        return self._post("/sendMessage", talk, offset)

    async def _enter(self, join: Join) -> Joined:
        answer: Joined = await self._post("/newUserConnect", join, joined)
        self.start(answer)
        await self._follow()
        return answer

    async def _return(self) -> Joined:
        # The client holds the cursor: it need only ask again, unless it has been forgotten.
        assert self._joined
        try:
            await self._follow_again()
        except ChatError as error:
            if error.code != "unknown_session":
                raise
            return await self._enter(self._rejoin())
        return self._joined

    async def _follow(self) -> None:
        """Ask for messages, from the position on."""
        raise NotImplementedError

    async def _follow_again(self) -> None:
        """The same after a cut; over when the server has answered, and raises what it said."""
        await self._follow()

    async def _leave(self) -> None:
        assert self._joined
        self._quit()
        await self._post("/disconnect", Leave(self._joined.session), bytes)

    def _quit(self) -> None:
        """Stop asking for messages."""

    def _abort(self, error: Exception) -> None:
        self._quit()
        self.pool.drop(error)

    def _post(
        self, path: str, command: Join | Talk | Leave, value: Callable[[bytes], Any]
    ) -> asyncio.Future[Any]:
        future = self.future()
        try:
            body = encode_command(command, self.settings)
        except ChatError as error:
            future.set_exception(error)
            return future
        request = self._request("command", "POST", path, length=len(body)) + body
        self.pool.ask(request, Reply(future, value))
        return future

    def _request(
        self, kind: str, method: str, path: str, length: int | None = None, **fields: str
    ) -> bytes:
        address = self._address
        target = address.path + path
        head = self._heads.request(kind, method, target, address.netloc, length=length, **fields)
        return head if self._keep_alive else closing(head)

    def _update_target(self, kind: str, since: str) -> str:
        """What to ask for messages from a position on."""
        assert self._joined
        session = quote(self._joined.session, safe="")
        return self._heads.target(kind, session=session, since=since)


def closing(head: bytes) -> bytes:
    """A request head with which a connection ends."""
    head = head.replace(b"\r\nConnection: keep-alive\r\n", b"\r\n", 1)
    return head[:-2] + b"Connection: close\r\n\r\n"


class Asking(Commands):
    """A poller: one request after another, each answered whole; `polls` counts the answers."""

    hold_s = 0.0

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.polls = 0
        self._asked_s = 0.0
        self._before, self._after, self._asked_epoch = b"", b"", ""
        self._asking = False

    def answered(self, answer: Answer, at_ns: int) -> None:
        """A poll has its answer."""
        self._asking = False
        self.polls += 1
        try:
            if answer.status == 200:
                self.take(answer.body, at_ns)
            elif answer.status != 204:
                raise refusal(answer.status, answer.head, answer.body)
        except (ChatError, *BROKEN) as error:
            self.failed(error)
        else:
            self._again()

    def failed(self, error: Exception) -> None:
        """A poll has none."""
        self._asking = False
        self.ended(error)

    def _again(self) -> None:
        """A poll was answered."""

    def _ask(self) -> None:
        self._asking, self._asked_s = True, monotonic()
        if self._asked_epoch != self._epoch or not self._before:
            self._prepare()
        request = b"%b%d%b" % (self._before, self.position_offset, self._after)
        self.pool.ask(request, self, repeatable=True)

    def _prepare(self) -> None:
        # Only the offset changes from one poll to the next; it ends the request's target.
        head = self._request("poll", "GET", self._update_target("poll", f"{self._epoch}:"))
        line, end, rest = head.partition(b" HTTP/1.1\r\n")
        self._before, self._after, self._asked_epoch = line, end + rest, self._epoch

    def _check(self, now_s: float) -> None:
        if self._asking and now_s > self._asked_s + self.hold_s + self.settings.timeout_s:
            self.ended(ConnectionError("a poll was not answered in time"))

    def _quit(self) -> None:
        self._asking = False
