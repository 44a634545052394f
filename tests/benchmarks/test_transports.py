"""A benchmark a variant and configuration: I say something, and it comes back to me.

    pytest tests/benchmarks --benchmark-json=report.json

The server runs in a process of its own, the connection is warm. `extra_info` holds what a
mean does not tell: percentiles, bytes and requests a message, losses.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from labs.bench.record import histogram
from labs.settings import Settings
from labs.variants import VARIANTS, load
from labs.wire.control import Child

T = TypeVar("T")

# Short, so that many polls fit; the answer comes half of it later on average.
SETTINGS: dict[str, Any] = {"interval_s": 0.05, "rate_per_s": 1_000.0, "rate_burst": 1_000}
ROUNDS = 30
TAPPED = 10  # messages of the pass that counts bytes
THINK_S = 0.05  # before each message, at most: no poll must be in step
TEXT = "안녕하세요, this is message {}"


class Person:
    """A client that talks to itself over a real server, one message after the other."""

    def __init__(self, name: str, url: str) -> None:
        variant = load(name)
        self._client = variant.client(url, variant.settings(Settings(**SETTINGS)))
        self._messages = self._client.messages()
        self._answer: asyncio.Task[int] | None = None
        self._random = random.Random(1)
        self.sent = self.lost = self.duplicated = 0

    async def come_in(self) -> None:
        """Join, and see it."""
        await self._client.connect("ann")
        assert (await anext(self._messages)).kind == "join"

    async def think(self) -> None:
        """Let the last answer come, and some time pass."""
        if self._answer:
            await self._answer
        await asyncio.sleep(self._random.uniform(0, THINK_S))

    async def round_trip(self) -> None:
        """Say something, and hear it."""
        self.sent += 1
        self._answer = asyncio.create_task(self._client.send(TEXT.format(self.sent)))
        heard = int((await anext(self._messages)).text.rpartition(" ")[2])
        self.lost += max(0, heard - self.sent)
        self.duplicated += max(0, self.sent - heard)

    async def leave(self) -> None:
        """Go, once the last answer has come."""
        if self._answer:
            await self._answer
        await self._client.close()


class Loop:
    """An event loop that runs only while something is asked of it."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._loop = runner.get_loop()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine."""
        return self._loop.run_until_complete(work)

    @contextmanager
    def child(self, module: str, *arguments: str) -> Iterator[Child]:
        """A child process while inside, which must have nothing to complain of."""
        process = self.do(Child.start(module, module, *arguments))
        try:
            yield process
        finally:
            self.do(process.stop())
        assert not process.log


@pytest.fixture
def loop() -> Iterator[Loop]:
    with asyncio.Runner() as runner:
        yield Loop(runner)


async def count(name: str, url: str, tap: Child) -> dict[str, float]:
    """Bytes and requests for each message of one person alone, think times included."""
    person = Person(name, url)
    await person.come_in()
    await person.think()
    await tap.ask({"mark": "join"})
    for _ in range(TAPPED):
        await person.round_trip()
        await person.think()
    traffic = (await tap.ask({"mark": "talk"}))["traffic"]
    await person.leave()
    return {
        "bytes_up_per_message": traffic["up"] / TAPPED,
        "bytes_down_per_message": traffic["down"] / TAPPED,
        "requests_per_message": traffic["requests"] / TAPPED,
    }


def tapped(loop: Loop, name: str, url: str) -> dict[str, float]:
    """The same through a tap."""
    there = urlsplit(url)
    with loop.child("labs.wire.tap", str(there.hostname), str(there.port)) as tap:
        port = loop.do(tap.hear(30))["port"]
        own = there._replace(netloc=f"{there.hostname}:{port}").geturl()
        return loop.do(count(name, own, tap))


@pytest.mark.parametrize("name", VARIANTS)
def test_round_trip(benchmark: BenchmarkFixture, loop: Loop, name: str) -> None:
    with loop.child("labs.bench.host", name) as server:
        url = loop.do(server.ask(SETTINGS, 30))["url"]
        person = Person(name, url)
        loop.do(person.come_in())
        benchmark.pedantic(  # type: ignore[no-untyped-call]
            lambda: loop.do(person.round_trip()),
            setup=lambda: loop.do(person.think()),
            rounds=ROUNDS,
            warmup_rounds=2,
        )
        loop.do(person.leave())
        traffic = tapped(loop, name, url)
    benchmark.extra_info.update(traffic, **percentiles(benchmark), **SETTINGS)
    benchmark.extra_info.update(sent=person.sent, lost=person.lost, duplicated=person.duplicated)
    assert person.sent == ROUNDS + 2
    assert person.lost == person.duplicated == 0
    assert traffic["bytes_down_per_message"] > len(TEXT.encode())


def percentiles(benchmark: BenchmarkFixture) -> dict[str, float]:
    assert benchmark.stats
    taken = histogram([round(seconds * 1e9) for seconds in benchmark.stats.stats.data])
    found = {f"p{q}_ms": taken.get_value_at_percentile(q) / 1_000 for q in (50, 95, 99)}
    return {**found, "max_ms": taken.get_max_value() / 1_000}
