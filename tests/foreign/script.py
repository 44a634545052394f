"""A script under node: told what to do by lines of JSON, and telling what happens to it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

PATIENCE_S = 20.0
"""How long a test waits for what must come; only a failing test ever waits this long."""
LINE_BYTES = 16_777_216


class Event(NamedTuple):
    """Something a script has shown: `what` it was, and what there was to see."""

    what: str
    shown: Any


class Script:
    """A running script. `seen` is everything it has shown, in order."""

    def __init__(self, node: str, path: str) -> None:
        self.seen: list[Event] = []
        self._command = (node, path)
        self._news = asyncio.Condition()

    async def start(self, *arguments: object) -> None:
        """Run it with these arguments, as JSON."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            *map(json.dumps, arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
        )
        self._reading = asyncio.create_task(self._read())

    async def tell(self, what: str, given: object = None) -> None:
        """Have it do something."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"what": what, "given": given}).encode() + b"\n")
        await self._process.stdin.drain()

    async def shows(self, what: str, shown: object = None, times: int = 1) -> Any:
        """Wait until it has shown this so often; answers what there was to see the last time."""
        return await self.shows_one(
            what, lambda one: shown is None or one == shown, times, f"{what} {shown!r}"
        )

    async def shows_one(
        self, what: str, fits: Callable[[Any], bool], times: int = 1, wanted: str = ""
    ) -> Any:
        """Wait until it has shown so often something that fits; answers the last of it."""

        def found() -> list[Any]:
            return [one.shown for one in self.seen if one.what == what and fits(one.shown)]

        try:
            async with asyncio.timeout(PATIENCE_S), self._news:
                await self._news.wait_for(lambda: len(found()) >= times)
        except TimeoutError:
            raise AssertionError(f"no {wanted or what} among {self.seen[-20:]}") from None
        return found()[-1]

    def all(self, what: str) -> list[Any]:
        """Everything of this kind that it has shown, in order."""
        return [one.shown for one in self.seen if one.what == what]

    def send_signal(self, number: signal.Signals) -> None:
        """As from a terminal or a crash."""
        self._process.send_signal(number)

    async def stop(self) -> None:
        """End it, whatever it does."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout
        async for line in self._process.stdout:
            async with self._news:
                self.seen.append(Event(**json.loads(line)))
                self._news.notify_all()
