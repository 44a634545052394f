"""Servers for notebooks: what `labs.lab.serve` gives, with people in it, answered by the tape."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from labs import lab
from labs.chat import Message
from labs.errors import LabError
from labs.lab import Drawing, Served
from labs.notebook.tape import Tape, current
from labs.variants import Client, load
from labs.wire.recording import Recording
from labs.wire.sequence import draw
from labs.wire.show import shown
from labs.wire.traffic import LAYERS, Traffic

HEAR_S = 10.0  # what was said is there sooner, or something is wrong
SETTLE_S = (
    0.25  # what follows an answer by itself, such as the next question, is on the wire by then
)


class Passed(Traffic, frozen=True):
    """Bytes by layer and phase, as a table."""

    def _repr_html_(self) -> str:
        layers = [layer for layer in LAYERS if self.of(layer=layer)]
        rows = "".join(_row(each, self.of("up", each), self.of("down", each)) for each in layers)
        heads = "<th>bytes · 바이트</th><th>up · 올라감</th><th>down · 내려옴</th>"
        total = _row("all · 모두", self.up, self.down)
        counts = f"requests · 요청 {self.requests:,}, connections · 연결 {self.connections:,}"
        return (
            f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}{total}</tbody></table>"
            f"<p>{counts}</p>"
        )


class Person:
    """Somebody in the chat."""

    def __init__(
        self, name: str, call: str, tape: Tape, client: Client | None, present: list[Person]
    ) -> None:
        self.name = name
        self._present = present
        self._call = f"{call} {name}"
        self._tape = tape
        self._client = client
        self._messages = client.messages() if client else None
        self._unheard = deque[Message]()

    async def send(self, text: str) -> int:
        """Say something; answers its offset in the room."""

        async def live() -> int:
            assert self._client
            return await self._client.send(text)

        offset: int = await self._tape.take(f"{self._call}: send {text!r}", int, live)
        return offset

    async def say(self, text: str) -> list[Message]:
        """Say something and wait until everyone has heard it; answers what each one heard."""
        await self.send(text)
        return [message for each in self._present for message in await each.hear()]

    async def hear(self, count: int = 1) -> list[Message]:
        """The next `count` things that were said, by anyone; who came and went is left out.

        Raises `LabError` if they are not there soon.
        """

        async def live() -> list[Message]:
            while len(self._unheard) < count:
                await self._read(f"heard {len(self._unheard)} of {count} messages")
            return [self._unheard.popleft() for _ in range(count)]

        call = f"{self._call}: hear {count}"
        heard: list[Message] = await self._tape.take(call, list[Message], live)
        return heard

    async def see(self, name: str) -> None:
        """Wait until the news that somebody came in is here."""
        came = ("", "")
        while came != ("join", name):
            message = await self._read(f"did not see {name} come in")
            came = message.kind, message.name

    async def _read(self, otherwise: str) -> Message:
        assert self._messages
        try:
            async with asyncio.timeout(HEAR_S):
                message = await anext(self._messages)
        except TimeoutError:
            raise LabError(f"{self.name} {otherwise} within {HEAR_S:g} s") from None
        if message.kind == "talk":
            self._unheard.append(message)
        return message


class Server:
    """A server that runs, or one that ran when the data was frozen."""

    def __init__(self, call: str, tape: Tape, served: Served | None) -> None:
        self._call = call
        self._tape = tape
        self._served = served
        self._people: list[Person] = []

    @property
    def served(self) -> Served:
        """The server itself, with its URL; raises `LabError` offline, where there is none."""
        if self._served is None:
            raise LabError("offline no server runs; run it live, without LABS_OFFLINE")
        return self._served

    async def join(self, name: str, **settings: Any) -> Person:
        """Somebody comes in, is seen by everyone there, and leaves when the server is left."""
        client = None if self._tape.offline else await self.served.join(name, **settings)
        person = Person(name, self._call, self._tape, client, self._people)
        self._people.append(person)
        if client:
            await asyncio.gather(*(each.see(name) for each in self._people))
        return person

    async def people(self, *names: str) -> list[Person]:
        """Several come in, one after the other."""
        return [await self.join(name) for name in names]

    async def traffic(self) -> Passed:
        """What has passed since this was last asked, by layer and phase, once it has settled."""
        return await self._passed("traffic")

    async def watch(self, seconds: float) -> Passed:
        """Let time go by; what passed in it. Offline no time goes by."""
        return await self._passed(f"watch {seconds:g} s", seconds)

    async def _passed(self, what: str, seconds: float | None = None) -> Passed:
        async def live() -> Traffic:
            await asyncio.sleep(SETTLE_S)
            if seconds is not None:
                await self.served.traffic()
                await asyncio.sleep(seconds)
            return await self.served.traffic()

        found = await self._tape.take(f"{self._call}: {what}", Traffic, live)
        return Passed(found.connections, found.requests, found.cells)

    async def cut(self) -> int:
        """Reset every connection; answers how many there were."""
        cut: int = await self._tape.take(f"{self._call}: cut", int, lambda: self.served.cut())
        return cut

    async def diagram(self, title: str = "") -> Drawing:
        """The conversation so far as a sequence diagram, drawn from the bytes on the wire."""
        return Drawing(draw(await self._recording(title)))

    async def conversation(self) -> str:
        """The conversation so far in words: heads, frames, events, packets."""
        return "\n".join(shown(await self._recording("")))

    async def _recording(self, title: str) -> Recording:
        call = f"{self._call}: recording {title!r}"
        found: Recording = await self._tape.take(
            call, Recording, lambda: self.served.recording(title)
        )
        return found


@asynccontextmanager
async def serve(name: str, **settings: Any) -> AsyncIterator[Server]:
    """Serve a variant while inside, in a process of its own; `settings` are those of `Settings`.

    Raises `UsageError` for a name or a setting that there is not, `LabError` if it cannot start.
    """
    tape = current()
    call = " ".join([name, *(f"{key}={value!r}" for key, value in settings.items())])
    if tape.offline:
        load(name)
        yield Server(call, tape, None)
        return
    async with lab.serve(name, **settings) as served:
        yield Server(call, tape, served)


def _row(name: str, up: int, down: int) -> str:
    return f"<tr><th>{name}</th><td>{up:,}</td><td>{down:,}</td></tr>"
