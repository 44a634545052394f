"""With the profile `python` a light client sends the bytes of the readable client.

But for one: a long poller that was dropped joins again, so that it knows when it is back.

The same conversation is held by both through a tap. What nobody can foretell is made equal
before the bytes are compared, without a change of length: tokens, keys, epochs, masks, ports.
Engine.IO's `t` is the time, and as long as that happens to be.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from labs.settings import Settings
from labs.variants import Variant, load
from labs.wire.relay import Relay, relaying
from labs.wire.tap import Tap
from tests.contract.waiting import until
from tests.labs.lights import EVERY, Notes, made, serving

TEXTS = ("#0 안녕하세요, 여러분", '#1 "quoted" \\ and <b>', "#2 " + "긴 글 " * 60)

SECRETS = (
    rb'(?<="session":")[^"]+',
    rb'(?<="key":")[^"]+',
    rb'(?<="since":")[^"]+',
    rb"(?<=session=)[^& ]+",
    rb"(?<=since=)[^& ]+",
    rb"(?<=sid=)[^& ]+",
    rb"(?<=Last-Event-ID: )[^\r]+",
    rb"(?<=Sec-WebSocket-Key: )[^\r]+",
    rb"(?<=127\.0\.0\.1:)[0-9]+",
)
COMMANDS = (b"newUserConnect", b"sendMessage", b"POST /disconnect", b"\x88", b"Upgrade")
"""What is in an exchange that happens as often as the conversation asks for it."""


def alike(data: bytes) -> bytes:
    """The same bytes with nothing in them that differs from one conversation to the next."""
    for secret in SECRETS:
        data = re.sub(secret, lambda found: b"?" * len(found[0]), data)
    return re.sub(rb"(?<=[?&]t=)[0-9.]+", b"?", data)


def exchanges(stream: bytes) -> list[bytes]:
    """What went up one connection: requests with their bodies, frames with their payloads."""
    found = []
    while stream:
        if stream[0] & 0x80:
            part, stream = frame(stream)
        else:
            head, _, _ = stream.partition(b"\r\n\r\n")
            length = re.search(rb"Content-Length: ([0-9]+)", head)
            end = len(head) + 4 + (int(length[1]) if length else 0)
            part, stream = alike(stream[:end]), stream[end:]
        found.append(part)
    return found


def frame(stream: bytes) -> tuple[bytes, bytes]:
    """The first frame's head without its mask, its payload, and what follows."""
    start = {0xFE: 4, 0xFF: 10}.get(stream[1], 2)
    length = stream[1] & 0x7F if start == 2 else int.from_bytes(stream[2:start], "big")
    end = start + 4 + length
    mask, masked = stream[start : start + 4], stream[start + 4 : end]
    payload = bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))
    return stream[:start] + alike(payload), stream[end:]


def uttered(tap: Tap) -> Counter[bytes]:
    """Every exchange that went up, and how often."""
    streams: dict[int, bytes] = {}
    for event in tap.events:
        if event.kind == "up":
            streams[event.connection] = streams.get(event.connection, b"") + event.data
    return Counter(part for stream in streams.values() for part in exchanges(stream))


class Light:
    """A light client, as the conversation asks for one."""

    def __init__(self, variant: Variant, url: str, settings: Settings) -> None:
        self.notes = Notes()
        self.client = made(variant, url, settings, self.notes)

    async def connect(self, name: str) -> None:
        await self.client.connect(name)

    async def say(self, index: int, text: str) -> None:
        key = "x" * 16
        while True:
            try:
                await self.client.send(text, f"{key[:14]}{index:02}")
                break
            except ConnectionError:
                await self.back()
        await self.notes.hears(0, index)

    def lost(self) -> bool:
        return self.client.state == "reconnecting"

    async def back(self) -> None:
        if self.lost():
            await self.client.resume()

    async def close(self) -> None:
        await self.client.close()


class Readable:
    """The readable client of the variant, likewise."""

    def __init__(self, variant: Variant, url: str, settings: Settings) -> None:
        self.client = variant.client(url, settings)
        self.messages = self.client.messages()

    async def connect(self, name: str) -> None:
        await self.client.connect(name)

    async def say(self, index: int, text: str) -> None:
        await self.client.send(text)
        while (await anext(self.messages)).text != text:
            pass

    def lost(self) -> bool:
        return False

    async def back(self) -> None:
        """It comes back by itself."""

    async def close(self) -> None:
        await self.client.close()


Talk = Callable[[Any, Relay], Awaitable[None]]


async def plain(person: Any, _: Relay) -> None:
    """Come, say something, hear it, go."""
    await person.connect("ann")
    for index, text in enumerate(TEXTS):
        await person.say(index, text)
    await person.close()


def answered(tap: object) -> bool:
    """Whether no packets are on their way up: cut off then, Engine.IO would begin anew."""
    assert isinstance(tap, Tap)
    sent = sum(b"POST /socket.io" in one.data for one in tap.events if one.kind == "up")
    return sent == sum(one.data.endswith(b"OK") for one in tap.events if one.kind == "down")


def opened(tap: object) -> int:
    """How many connections there have been."""
    assert isinstance(tap, Tap)
    return sum(one.kind == "opened" for one in tap.events)


async def cut(person: Any, relay: Relay) -> None:
    """The same, cut off in between."""
    await person.connect("ann")
    await person.say(0, TEXTS[0])
    await until(lambda: answered(relay.observer))
    begun = opened(relay.observer)
    assert relay.cut()
    await until(lambda: person.lost() or opened(relay.observer) > begun)
    await person.back()
    await person.say(1, TEXTS[1])
    await person.close()


async def tapped(
    variant: Variant, kind: type[Light] | type[Readable], talk: Talk
) -> Counter[bytes]:
    async with serving(variant, interval_s=0.2) as (url, settings):
        tap = Tap()
        async with relaying("127.0.0.1", int(url.rpartition(":")[2]), tap) as relay:
            await talk(kind(variant, f"http://127.0.0.1:{relay.port}", settings), relay)
            await asyncio.sleep(0)
            return uttered(tap)


def told(found: Counter[bytes]) -> str:
    return "\n".join(f"{count} x {part!r}" for part, count in found.items())


@pytest.mark.parametrize("name", EVERY)
async def test_the_same_conversation_is_the_same_bytes(name: str) -> None:
    variant = load(name)
    ours = await tapped(variant, Light, plain)
    theirs = await tapped(variant, Readable, plain)
    assert ours.keys() == theirs.keys(), f"{told(ours)}\n\nreadable:\n{told(theirs)}"
    for part in ours:
        if any(command in part for command in COMMANDS):
            assert ours[part] == theirs[part], part


@pytest.mark.parametrize("name", EVERY)
async def test_coming_back_is_the_same_bytes(name: str) -> None:
    variant = load(name)
    ours, theirs = await tapped(variant, Light, cut), await tapped(variant, Readable, cut)
    assert ours.keys() == theirs.keys(), f"{told(ours)}\n\nreadable:\n{told(theirs)}"


def test_the_comparison_would_see_a_difference() -> None:
    """A byte more, in a request or in a frame, is another exchange."""
    post = b"POST /sendMessage HTTP/1.1\r\nHost: 127.0.0.1:4\r\nContent-Length: 2\r\n\r\n{}"
    assert exchanges(post * 2) == [alike(post)] * 2
    assert exchanges(post.replace(b"Host: ", b"Host:  ")) != exchanges(post)
    one, two = (Frame(Opcode.TEXT, text).serialize(mask=True) for text in (b"ab", b"abc"))
    assert exchanges(one + two) == [b"\x81\x82ab", b"\x81\x83abc"]
