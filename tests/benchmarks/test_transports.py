"""A benchmark a variant and configuration: I say something, and it comes back to me.

    pytest tests/benchmarks --benchmark-json=all.json --labs-report=report.html

The server runs in a process of its own, the connection is warm, and a sample is one message's
round trip, not a connection made, used once and closed. The loop is closed: one client waits for
its own words before it says more. `extra_info` holds what a mean does not tell: percentiles,
bytes by layer and requests a message, losses.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from labs.bench.record import FATES, Outcome, histogram, packed
from labs.bench.results import Kind, Run, ServerUse, now
from labs.bench.workload import Workload
from labs.settings import Settings
from labs.variants import VARIANTS, load
from labs.wire.control import Child
from labs.wire.traffic import Segments, Traffic

T = TypeVar("T")

# Short, so that many polls fit; the answer comes half of it later on average.
SETTINGS: dict[str, Any] = {"interval_s": 0.05, "rate_per_s": 1_000.0, "rate_burst": 1_000}
ROUNDS = 30
TAPPED = 10  # messages of the pass that counts bytes
THINK_S = 0.05  # before each message, at most: no poll must be in step
TEXT = "안녕하세요, this is message {}"

WORKLOAD = Workload(
    name="round-trip",
    question="How long until I hear myself?",
    question_ko="내가 한 말을 내가 듣기까지 얼마나 걸리는가?",
    clients=1,
    senders=1,
    probes=1,
    loop="closed",
    think_s=THINK_S / 2,  # in the mean
    arrivals="constant",
    rate_per_s=ROUNDS,
    duration_s=1.0,
    warmup_s=0.0,
    tail_s=0.0,
    settings=SETTINGS,
)
METHOD = (
    "The server runs in a process of its own; one client, in the process of the tests, says "
    f"something and waits until it hears itself: {ROUNDS} times after two that are not counted, "
    "on one connection, each after a random pause. That is a closed loop, timed by the monotonic "
    "clock around each round trip. The bytes are those of a talk of "
    f"{TAPPED} messages, counted by a relay of its own, pauses included.",
    "서버는 다른 프로세스에 있고, 테스트 프로세스의 클라이언트 하나가 말하고 자기 말을 들을 때까지 "
    f"기다린다. 한 연결에서 {ROUNDS}번, 매번 무작위로 쉰 뒤에. 바이트는 중계기를 거쳐 메시지 "
    f"{TAPPED}개를 따로 잰 것.",
)


class Person:
    """A client that talks to itself over a real server, one message after the other."""

    def __init__(self, name: str, url: str) -> None:
        variant = load(name)
        self._client = variant.client(url, variant.settings(Settings(**SETTINGS)))
        self._messages = self._client.messages()
        self._answer: asyncio.Task[int] | None = None
        self._random = random.Random(1)
        self.taken_ns: list[int] = []
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
        begun_ns = time.monotonic_ns()
        self._answer = asyncio.create_task(self._client.send(TEXT.format(self.sent)))
        heard = int((await anext(self._messages)).text.rpartition(" ")[2])
        self.taken_ns.append(time.monotonic_ns() - begun_ns)
        self.lost += max(0, heard - self.sent)
        self.duplicated += max(0, self.sent - heard)

    async def leave(self) -> None:
        """Go, once the last answer has come."""
        if self._answer:
            await self._answer
        await self._client.close()

    def outcome(self, taken_ns: list[int]) -> Outcome:
        """What became of the messages whose round trips these are."""
        taken = packed(histogram(taken_ns))
        wrong = {"lost": self.lost, "duplicate": self.duplicated}
        good = len(taken_ns) - sum(wrong.values())
        return Outcome(
            fates={**dict.fromkeys(FATES, 0), **wrong, "delivered": good},
            wrong=[f"{count} messages: {fate}" for fate, count in wrong.items() if count],
            text_bytes=sum(
                len(TEXT.format(number).encode())
                for number in range(self.sent - len(taken_ns) + 1, self.sent + 1)
            ),
            corrected=taken,
            uncorrected=taken,
            probes=taken,
            back=packed(histogram()),
            timeline=[],
            missed_ticks=0,
            unsent=ROUNDS - len(taken_ns),
            lag_most_ms=0.0,
            generator_cpu=0.0,
        )


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


@dataclass
class Meter:
    """What a server uses between two moments."""

    loop: Loop
    server: Child

    def __post_init__(self) -> None:
        self._empty_bytes = self._memory()

    def begin(self) -> None:
        """From now on."""
        self._begun = self.loop.do(self.server.ask({"use": True}))

    def end(self) -> tuple[ServerUse, float]:
        """Until now: the use, and for how many seconds."""
        ended = self.loop.do(self.server.ask({"use": True}))
        window_s = ended["at_s"] - self._begun["at_s"]
        cpu = (ended["cpu_s"] - self._begun["cpu_s"]) / window_s
        return ServerUse(cpu, self._empty_bytes, self._memory()), window_s

    def _memory(self) -> int:
        used: int = psutil.Process(self.server.pid).memory_info().rss
        return used


def run(
    kind: Kind, name: str, window_s: float, outcome: Outcome, server: ServerUse, **more: Any
) -> Run:
    """One run, of what was measured."""
    return Run(
        workload=WORKLOAD.name,
        variant=name,
        kind=kind,
        number=1,
        started_at=now(),
        window_s=window_s,
        steady_s=window_s,
        outcome=outcome,
        server=server,
        others_cpu=0.0,
        log=[],
        **more,
    )


async def talk(name: str, url: str) -> tuple[Person, list[list[Any]]]:
    """One person alone, some messages long; answers when its joining and its talk ended."""
    person = Person(name, url)
    await person.come_in()
    await person.think()
    ends: list[list[Any]] = [["join", time.monotonic()]]
    for _ in range(TAPPED):
        await person.round_trip()
        await person.think()
    ends += [["steady", time.monotonic()], ["leave", None]]
    await person.leave()
    return person, ends


def tapped(loop: Loop, name: str, url: str, server: ServerUse) -> Run:
    """The bytes of such a talk, think times included, through a tap."""
    there = urlsplit(url)
    with loop.child("labs.wire.tap", str(there.hostname), str(there.port)) as tap:
        port = loop.do(tap.hear(30))["port"]
        own = there._replace(netloc=f"{there.hostname}:{port}").geturl()
        person, ends = loop.do(talk(name, own))
        answer = loop.do(tap.ask({"account": ends}))
    return run(
        "bytes",
        name,
        ends[1][1] - ends[0][1],
        person.outcome(person.taken_ns),
        server,
        windows=msgspec.convert(answer["windows"], dict[str, Traffic]),
        segments=msgspec.convert(answer["segments"], Segments | None),
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_round_trip(
    benchmark: BenchmarkFixture, loop: Loop, labs_keep: Callable[..., None], name: str
) -> None:
    with loop.child("labs.bench.host", name) as server:
        url = loop.do(server.ask(SETTINGS, 30))["url"]
        meter = Meter(loop, server)
        person = Person(name, url)
        loop.do(person.come_in())
        meter.begin()
        benchmark.pedantic(  # type: ignore[no-untyped-call]
            lambda: loop.do(person.round_trip()),
            setup=lambda: loop.do(person.think()),
            rounds=ROUNDS,
            warmup_rounds=2,
        )
        used, window_s = meter.end()
        loop.do(person.leave())
        counted = tapped(loop, name, url, used)
    timed = run("latency", name, window_s, person.outcome(person.taken_ns[-ROUNDS:]), used)
    labs_keep(WORKLOAD, counted, timed, method=METHOD)
    benchmark.extra_info.update(figures(person, counted, timed))
    assert person.sent == (1 if benchmark.disabled else ROUNDS + 2)
    assert timed.valid
    assert counted.valid
    check(name, counted)


def check(name: str, counted: Run) -> None:
    """Every word went up once and came down once, and nothing passed that was not understood."""
    steady = counted.windows["steady"]
    assert not steady.of(layer="opaque")
    assert not counted.windows["leave"].of(layer="text")
    if "deflate" not in name:  # what is compressed cannot be told apart
        words = counted.outcome.text_bytes
        assert (steady.of("up", "text"), steady.of("down", "text")) == (words, words)


def figures(person: Person, counted: Run, timed: Run) -> dict[str, Any]:
    """What stands beside pytest-benchmark's own statistics."""
    taken = histogram(person.taken_ns[-ROUNDS:])
    steady = counted.windows["steady"]
    return {
        **{f"p{q}_ms": taken.get_value_at_percentile(q) / 1_000 for q in (50, 95, 99)},
        "max_ms": taken.get_max_value() / 1_000,
        "bytes_up_per_message": steady.up / TAPPED,
        "bytes_down_per_message": steady.down / TAPPED,
        "bytes_by_layer_per_message": {
            f"{way}/{layer}": size / TAPPED
            for way, layer in sorted({tuple(key.split("/")[:2]) for key in steady.cells})
            if (size := steady.of(way, layer))
        },
        "requests_per_message": steady.requests / TAPPED,
        "sent": person.sent,
        "lost": person.lost + timed.outcome.fates["lost"],
        "duplicated": person.duplicated,
        **SETTINGS,
    }
