"""A short conversation of two people over any transport, as it went over the wire.

`python -m tests.labs.scenes FOLDER` records one for each of the five and draws it there.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from labs.chat import Message
from labs.settings import Settings
from labs.variants import FIVE, Client, load
from labs.wire.recording import Recording
from labs.wire.sequence import draw
from labs.wire.tap import Tap, tapping

QUICK = Settings(interval_s=0.15, hold_s=0.9, heartbeat_s=1.0, timeout_s=5.0, drain_s=0.3)
SAID = (("ann", "hello"), ("보라", "안녕하세요, 반가워요"))
"""Who says what, after both have come in."""


@asynccontextmanager
async def served(name: str, settings: Settings = QUICK) -> AsyncIterator[tuple[Tap, str]]:
    """A server behind a tap; yields the tap, and the URL to go to."""
    variant = load(name)
    settings = variant.settings(settings)
    async with (
        variant.serve(variant.chat(settings), "127.0.0.1", 0) as url,
        tapping("127.0.0.1", urlsplit(url).port or 0) as (tap, port),
    ):
        yield tap, f"http://127.0.0.1:{port}"


class _Person:
    def __init__(self, client: Client) -> None:
        self.client, self.seen = client, list[Message]()
        self._news = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def join(self, name: str) -> None:
        await self.client.connect(name)
        self._reading = asyncio.create_task(self._read())

    async def sees(self, count: int) -> None:
        while len(self.seen) < count:
            self._news.clear()
            await self._news.wait()

    async def leave(self) -> None:
        await self.client.close()
        assert self._reading
        await self._reading

    async def _read(self) -> None:
        async for message in self.client.messages():
            self.seen.append(message)
            self._news.set()


async def conversation(
    name: str, settings: Settings = QUICK, idle_s: float = 1.2, pause_s: float = 0.0
) -> Recording:
    """Two people come in, say something, are silent for a while, and go.

    `pause_s` is how long they think before they speak.
    """
    variant = load(name)
    async with served(name, settings) as (tap, url), asyncio.timeout(30):
        people = {who: _Person(variant.client(url, variant.settings(settings))) for who, _ in SAID}
        for who, person in people.items():
            await person.join(who)
        for who, text in SAID:
            await asyncio.sleep(pause_s)
            await people[who].client.send(text)
        await people["ann"].sees(len(people) + len(SAID))
        await people["보라"].sees(1 + len(SAID))
        await asyncio.sleep(idle_s)
        for person in people.values():
            await person.leave()
    return tap.recording(variant.title)


async def draw_all(folder: Path) -> None:
    """The five diagrams of docs/sequences."""
    for name in FIVE:
        recording = await conversation(name, pause_s=0.2)
        (folder / f"{name}.svg").write_text(draw(recording), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(draw_all(Path(sys.argv[1])))
