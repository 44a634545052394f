"""Listeners far from a server and a speaker beside it: one transit, told apart from all else.

    speaker -- at once --> server <-- one_way_ms, each way --> listeners

Between two strangers a message takes the speaker's transit, the server's work and the listener's
transit. Here the first is nothing, so that what is left is what the server's transport does. The
distance is a relay's (labs/net/shaper.py): bytes come later, nothing else changes. TCP connections
are opened at once; whoever counts round trips must add that one himself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic_ns
from typing import Any
from urllib.parse import urlsplit

import msgspec

from labs import lab
from labs.bench import heads
from labs.bench.light import Light, light
from labs.bench.player import Player
from labs.bench.schedule import Tick
from labs.errors import LabError
from labs.net.line import Order
from labs.net.network import Network
from labs.variants import load
from labs.wire.control import child, together

BIT_S = 1_000_000_000  # so that a short message takes no time but the delay
LEAD_S = 0.05  # before the first word
WAIT_S = 10.0  # for the last word to be heard
START_S = 20.0

FREE: dict[str, Any] = {"rate_per_s": 1e6, "rate_burst": 1_000_000}
"""Settings of a server that refuses nobody for asking often."""


def delay(one_way_ms: float) -> Network:
    """A network that does nothing but delay."""
    return Network("delay", delay_ms=one_way_ms, up_bit_s=BIT_S, down_bit_s=BIT_S)


@contextmanager
def network_file(one_way_ms: float) -> Iterator[str]:
    """The same in a file, as `labs.lab.take_latency` takes it, while inside."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "delay.toml")
        rates = f"up_bit_s = {BIT_S}\ndown_bit_s = {BIT_S}\n"
        file.write_text(f"delay_ms = {one_way_ms}\n{rates}", encoding="utf-8")
        yield str(file)


@asynccontextmanager
async def distance(url: str, one_way_ms: float) -> AsyncIterator[str]:
    """Where to reach a server from so far away, in milliseconds each way, while inside."""
    there = urlsplit(url)
    async with child("the distance", "labs.net.shaper") as relay:
        await relay.ask(msgspec.to_builtins(Order(delay(one_way_ms), 1)), START_S)
        port = (await relay.ask({"host": there.hostname, "port": there.port}))["port"]
        yield there._replace(netloc=f"{there.hostname}:{port}").geturl()


class Ears:
    """What light clients heard, and when: by client and number of the word.

    `hear` raises `LabError` for what went wrong meanwhile. The words of clients whose numbers are
    past the first `clients` are not waited for, nor kept.
    """

    def __init__(self, clients: int) -> None:
        self._clients = clients
        self.at_ns: dict[tuple[int, int], int] = {}
        self.wrong = ""
        self._wanted = 0
        self._all = asyncio.Event()

    def arrived(self, client: int, index: int, offset: int, at_ns: int) -> None:
        """A client heard a word."""
        if client >= self._clients:
            return
        if (client, index) in self.at_ns:
            self._fail(f"client{client} heard word {index} twice")
        self.at_ns[client, index] = at_ns
        if len(self.at_ns) >= self._wanted:
            self._all.set()

    def foreign(self, client: int) -> None:
        """A client heard what nobody said."""
        self._fail(f"client{client} heard what nobody said")

    def broke(self, client: int, at_ns: int) -> None:
        """A client has lost its connection."""
        self._fail(f"client{client} has lost its connection")

    async def hear(self, words: int) -> None:
        """Wait until this many were heard in all; raises `LabError` if they are not."""
        self._wanted = words
        if len(self.at_ns) < words and not self.wrong:
            self._all.clear()
            try:
                await asyncio.wait_for(self._all.wait(), WAIT_S)
            except TimeoutError:
                raise LabError(f"{words - len(self.at_ns)} deliveries are missing") from None
        if self.wrong:
            raise LabError(f"{self.wrong}; nothing is told")

    def _fail(self, what: str) -> None:
        self.wrong = self.wrong or what
        self._all.set()


@dataclass(frozen=True)
class Heard:
    """What came of some words: latencies in ms, from the intended moment of saying each.

    They are in the order in which the words were given, and of one word by listener. `batches` is
    in how many pieces listeners got them, each counted for itself; `polls` how many polls of
    theirs were answered in `took_s`, with news or without, 0 where they do not poll.
    """

    latencies_ms: list[float]
    batches: int
    polls: int
    took_s: float


@dataclass
class Talk:
    """A talk that goes on: in each room one speaker, beside the server, and its listeners.

    `url` is the server as the listeners reach it.
    """

    server: lab.Served
    url: str
    one_way_ms: float
    ears: Ears
    speakers: list[Light] = field(default_factory=list)
    listeners: list[Light] = field(default_factory=list)
    newcomers: list[Light] = field(default_factory=list)
    _said: int = 0
    _due: int = 0

    async def come_in(self) -> float:
        """How long, in milliseconds, one more listener takes until it is in; nobody waits for it.

        It counts from a TCP connection that stands, since the relay opens one at once.
        """
        number = len(self.listeners) + len(self.speakers) + len(self.newcomers)
        like = type(self.listeners[0])
        client = _client(like, number, self, self.url, len(self.speakers), 0.0)
        self.newcomers.append(client)
        since_ns = monotonic_ns()
        await _enter(number, client)
        return (monotonic_ns() - since_ns) / 1e6

    async def say(self, moments: Sequence[tuple[float, int]]) -> Heard:
        """Say a word at each moment: when, in seconds, and in which room.

        An open loop. Returns when all was heard; raises `LabError` when something was not.
        """
        ticks = self._ticks(moments)
        start_ns = monotonic_ns() + round(self._lead_s * 1e9)
        player = Player(ticks, start_ns, self._say)
        await player.calibrate()
        await player.until(start_ns)
        polls = self._polls()
        await player.open_loop()
        await self.ears.hear(self._due)
        polls, took_s = self._polls() - polls, (monotonic_ns() - start_ns) / 1e9
        if await player.finish(WAIT_S):
            raise LabError("a word was not answered; nothing is told")
        taken_ms = [ms for i in sorted(ticks) for ms in self._latencies_ms(i, ticks[i], start_ns)]
        return Heard(taken_ms, self._batches(ticks), polls, took_s)

    @property
    def _lead_s(self) -> float:
        # The last who came in was announced by then: to those whose polls were on their way with
        # the answer to these, after which another poll has to come.
        return LEAD_S + 4 * self.one_way_ms / 1e3

    def _ticks(self, moments: Sequence[tuple[float, int]]) -> dict[int, Tick]:
        first = self._said
        self._said += len(moments)
        self._due += len(moments) * (1 + len(self.listeners) // len(self.speakers))
        return {
            number: Tick(round(at_s * 1e9), room, f"#{number}")
            for number, (at_s, room) in sorted(enumerate(moments, first), key=itemgetter(1))
        }

    async def _say(self, index: int, tick: Tick) -> None:
        await self.speakers[tick.sender].send(tick.text)

    def _polls(self) -> int:
        return sum(getattr(each, "polls", 0) for each in self.listeners)

    def _batches(self, ticks: Iterable[int]) -> int:
        # What comes in one piece is heard at one moment.
        heard = ((each, index) for each in range(len(self.listeners)) for index in ticks)
        at_ns = self.ears.at_ns
        return len({(pair[0], at_ns[pair]) for pair in heard if pair in at_ns})

    def _latencies_ms(self, index: int, tick: Tick, start_ns: int) -> list[float]:
        since_ns, rooms = start_ns + tick.at_ns, len(self.speakers)
        here = range(tick.sender, len(self.listeners), rooms)
        return [(self.ears.at_ns[number, index] - since_ns) / 1e6 for number in here]


@asynccontextmanager
async def talk(
    name: str,
    one_way_ms: float,
    *,
    listeners: int = 1,
    rooms: int = 1,
    kind: type[Light] | None = None,
    phases: Sequence[float] = (),
    **settings: Any,
) -> AsyncIterator[Talk]:
    """A talk over this variant while inside, with so many listeners in each room.

    `kind` is the listeners' class, the variant's light client unless given; `phases` where in
    its interval each of them polls.
    """
    made = light(load(name))
    assert made, f"{name} has no light client"
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(lab.serve(name, **FREE, **settings))
        away = distance(server.direct_url, one_way_ms)
        url, ears = await stack.enter_async_context(away), Ears(rooms * (1 + listeners))
        found = Talk(server, url, one_way_ms, ears)
        for number in range(rooms * listeners):
            phase = phases[number] if phases else 0.0
            client = _client(kind or made, number, found, url, rooms, phase)
            found.listeners.append(client)
        for number in range(rooms * listeners, rooms * (1 + listeners)):
            client = _client(made, number, found, server.direct_url, rooms, 0.0)
            found.speakers.append(client)
        clients = [*found.listeners, *found.speakers]
        stack.callback(_drop, found)
        await together(*(_enter(number, client) for number, client in enumerate(clients)))
        yield found


def _drop(talk: Talk) -> None:
    # Nobody need hear that they leave.
    for client in (*talk.newcomers, *talk.speakers, *talk.listeners):
        client.drop()


async def _enter(number: int, client: Light) -> None:
    await client.connect(f"client{number}")


def _client(kind: type[Light], number: int, of: Talk, url: str, rooms: int, phase: float) -> Light:
    settings = of.server.settings.but(room=f"room{number % rooms}")
    return kind(number, url, settings, heads.find("python"), of.ears, phase=phase)
