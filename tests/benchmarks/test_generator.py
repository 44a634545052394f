"""How much one generator process takes: deliveries a second, and requests of pollers.

The other end is `labs.bench.light.flood` in a process of its own, so that no chat is measured.
`extra_info` holds the rates of each round: `best` and `median` by the clock, and by the
generator's own processor time, which says what one core takes when it is not shared and the
flood is not the slower of the two.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from statistics import median
from typing import Any, TypeVar

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from labs import loops
from labs.bench import heads
from labs.bench.light import Light, Sink, light
from labs.bench.light.commands import Asking
from labs.bench.light.flood import FRAMES
from labs.settings import Settings
from labs.variants import load
from labs.wire.control import Child, allow_files
from tests.need import need

T = TypeVar("T")

RECEIVERS = 1_000
MESSAGES = 40  # a round, each to every receiver
ROUNDS = 5
POLLED_S = 0.4  # a round of polls
POLLS_PER_S = 100_000  # asked for, so that the pollers are what limits


class Tally:
    """A sink that counts each delivery by itself."""

    def __init__(self, messages: int) -> None:
        self.total = self.broken = self.foreigners = 0
        self.times = bytearray(RECEIVERS * messages)

    def arrived(self, client: int, index: int, offset: int, at_ns: int) -> None:
        self.times[index * RECEIVERS + client] += 1
        self.total += 1

    def foreign(self, client: int) -> None:
        self.foreigners += 1

    def broke(self, client: int, at_ns: int) -> None:
        self.broken += 1


class Rates:
    """What each round did, by the clock and by this process's own time."""

    def __init__(self) -> None:
        self.by_clock: list[float] = []
        self.by_cpu: list[float] = []

    @contextmanager
    def round(self, done: Callable[[], int]) -> Iterator[None]:
        """Measure what is done inside."""
        before, clock_s, cpu_s = done(), time.perf_counter(), time.process_time()
        yield
        clock_s, cpu_s = time.perf_counter() - clock_s, time.process_time() - cpu_s
        self.by_clock.append((done() - before) / clock_s)
        self.by_cpu.append((done() - before) / cpu_s)

    def told(self, what: str) -> dict[str, int]:
        return {
            f"best_{what}_per_s": round(max(self.by_clock)),
            f"median_{what}_per_s": round(median(self.by_clock)),
            f"best_{what}_per_cpu_s": round(max(self.by_cpu)),
            f"median_{what}_per_cpu_s": round(median(self.by_cpu)),
        }


class Bench:
    """An event loop with a flood, and light clients that follow it."""

    def __init__(self, runner: asyncio.Runner, name: str) -> None:
        self.name = name
        self._loop = runner.get_loop()
        self.flood = self.do(Child.start("flood", "labs.bench.light.flood", name))
        self._clients: list[Light] = []

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine."""
        return self._loop.run_until_complete(work)

    def gather(self, sink: Sink, **changes: float) -> None:
        """Let a thousand of them connect."""
        url = f"http://127.0.0.1:{self.do(self.flood.hear(30))['port']}"
        variant = load(self.name)
        kind, settings = light(variant), variant.settings(Settings(timeout_s=60.0, **changes))  # type: ignore[arg-type]
        assert kind
        python = heads.find("python")
        self._clients = [
            kind(number, url, settings, python, sink, phase=number / RECEIVERS)
            for number in range(RECEIVERS)
        ]
        self.do(self._connect())

    async def _connect(self) -> None:
        for client in self._clients:
            await client.connect("anybody")

    @property
    def pollers(self) -> list[Asking]:
        """The clients, being pollers."""
        return [client for client in self._clients if isinstance(client, Asking)]

    def leave(self) -> None:
        """Drop everyone, and end the flood, which must have nothing to complain of."""
        for client in self._clients:
            client.drop()
        self.do(self.flood.stop())
        assert not self.flood.log


@pytest.fixture(params=["uvloop", "asyncio"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """Each event loop, without the garbage collector, as in the load generator."""
    allow_files()
    if request.param == "uvloop":
        need(find_spec("uvloop"), "install uvloop to measure with it (it is not made for Windows)")
    chosen = loops.runner() if request.param == "uvloop" else asyncio.Runner()
    with chosen as one:
        gc.collect()
        gc.disable()
        yield one
        gc.enable()


@contextmanager
def bench(runner: asyncio.Runner, name: str) -> Iterator[Bench]:
    """A bench, and its end."""
    one = Bench(runner, name)
    try:
        yield one
    finally:
        one.leave()


@pytest.mark.parametrize("alike", [True, False], ids=["alike", "each its own"])
@pytest.mark.parametrize("name", FRAMES)
def test_deliveries(
    benchmark: BenchmarkFixture, runner: asyncio.Runner, name: str, alike: bool
) -> None:
    """Messages sent one by one to a thousand receivers: the same to all, or none twice."""
    messages = MESSAGES * (1 if benchmark.disabled else ROUNDS + 1)
    tally, rates, sent_s = Tally(messages), Rates(), list[float]()
    with bench(runner, name) as one:
        one.gather(tally)
        one.do(one.flood.ask({"receivers": RECEIVERS}, 30))

        async def round_() -> None:
            first, until = tally.total // RECEIVERS, tally.total + MESSAGES * RECEIVERS
            with rates.round(lambda: tally.total):
                one.flood.tell({"rounds": MESSAGES, "first": first, "alike": alike})
                async with asyncio.timeout(60):
                    while tally.total < until:  # noqa: ASYNC110 (an event would cost every delivery)
                        await asyncio.sleep(0.001)
            sent_s.append((await one.flood.hear(30))["spent_s"])

        benchmark.pedantic(lambda: one.do(round_()), rounds=ROUNDS, warmup_rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info.update(rates.told("deliveries"))
    benchmark.extra_info["flood_best_sends_per_s"] = round(MESSAGES * RECEIVERS / min(sent_s))
    assert {*tally.times} == {1}
    assert tally.total == RECEIVERS * messages
    assert tally.broken == tally.foreigners == 0


@pytest.mark.parametrize("name", ["polling", "longpolling"])
def test_requests(benchmark: BenchmarkFixture, runner: asyncio.Runner, name: str) -> None:
    """Polls of a thousand clients, each answered at once with nothing."""
    tally, rates = Tally(0), Rates()
    with bench(runner, name) as one:
        one.gather(tally, interval_s=RECEIVERS / POLLS_PER_S)

        def answered() -> int:
            return sum(client.polls for client in one.pollers)

        async def round_() -> None:
            with rates.round(answered):
                await asyncio.sleep(POLLED_S)

        benchmark.pedantic(lambda: one.do(round_()), rounds=ROUNDS, warmup_rounds=1)  # type: ignore[no-untyped-call]
        lone = min(client.polls for client in one.pollers)
    benchmark.extra_info.update(rates.told("requests"))
    assert lone > 0
    assert tally.broken == tally.total == 0
