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
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from labs.bench.record import FATES, WRONG, Outcome, histogram, packed, unpacked
from labs.bench.results import Kind, Run, ServerUse, now
from labs.bench.run import Meter
from labs.bench.workload import Workload
from labs.chat import Message
from labs.settings import Settings
from labs.variants import VARIANTS, load
from labs.wire.control import Child
from labs.wire.traffic import Segments, Traffic

T = TypeVar("T")

# Short, so that many polls fit; the answer comes half of it later on average.
SETTINGS: dict[str, Any] = {"interval_s": 0.05, "rate_per_s": 1_000.0, "rate_burst": 1_000}
ROUNDS = 100  # so that a p99 is not the longest
SEED = 1  # of the pauses
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
    "clock around each round trip, without a schedule. The bytes are those of another such talk "
    "of as many messages, counted by a relay of its own, pauses included. Of each window also the "
    "CPU of the server, of the client's process and of all other programs is measured.",
    "서버는 다른 프로세스에 있고, 테스트 프로세스의 클라이언트 하나가 말하고 자기 말을 들을 때까지 "
    f"기다린다. 한 연결에서 {ROUNDS}번, 매번 무작위로 쉰 뒤에. 바이트는 중계기를 거쳐 같은 수의 "
    "메시지를 따로 잰 것. 서버, 클라이언트 프로세스, 다른 프로그램의 CPU도 잰다.",
)


class Trip(NamedTuple):
    """A message's way to the server and back, and its fate."""

    taken_ns: int
    fate: str


class Person:
    """A client that talks to itself over a real server, one message after the other."""

    def __init__(self, name: str, url: str) -> None:
        variant = load(name)
        self._client = variant.client(url, variant.settings(Settings(**SETTINGS)))
        self._messages = self._client.messages()
        self._answer: asyncio.Task[int] | None = None
        self._next: asyncio.Task[Message] | None = None
        self._random = random.Random(SEED)
        self.trips: list[Trip] = []
        self.sent = 0

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
        states, begun_ns = {self._client.state}, time.monotonic_ns()
        self._answer = asyncio.create_task(self._client.send(TEXT.format(self.sent)))
        message = await self._hear()
        taken_ns = time.monotonic_ns() - begun_ns
        states.add(self._client.state)
        self.trips.append(Trip(taken_ns, self._fate(message, taken_ns, states)))

    async def _hear(self) -> Message | None:
        """The next message, None if it does not come while one may still be late."""
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._messages))
        # Not cancelled when it is late: that would end the client's messages for good.
        done, _ = await asyncio.wait({self._next}, timeout=WORKLOAD.drain_s)
        if not done:
            return None
        message, self._next = self._next.result(), None
        return message

    async def leave(self) -> None:
        """Go, once the last answer has come."""
        if self._answer:
            await self._answer
        if self._next:
            self._next.cancel()
        await self._client.close()

    def _fate(self, message: Message | None, taken_ns: int, states: set[str]) -> str:
        if message is None:
            return "lost"
        if int(message.text.rpartition(" ")[2]) != self.sent:
            return "duplicate"
        if states != {"open"}:
            return "recovered"
        return "late" if taken_ns > WORKLOAD.late_s * 1e9 else "delivered"

    def outcome(self, used: Used) -> Outcome:
        """What became of the last messages, so many as the workload has."""
        trips = self.trips[-ROUNDS:]
        counts = Counter(trip.fate for trip in trips)
        wrong = Counter(trip.fate for trip in self.trips if trip.fate in WRONG)
        taken = packed(histogram([trip.taken_ns for trip in trips]))
        first = self.sent - len(trips) + 1
        return Outcome(
            fates={fate: counts[fate] for fate in FATES},
            wrong=[f"{count} messages: {fate}" for fate, count in wrong.items()],
            text_bytes=sum(
                len(TEXT.format(number).encode()) for number in range(first, self.sent + 1)
            ),
            corrected=taken,
            uncorrected=packed(histogram()),  # each follows an answer: nothing to be late against
            probes=taken,
            back=packed(histogram()),
            timeline=[],
            missed_ticks=0,
            missed_polls=0,
            unsent=ROUNDS - len(trips),
            lag_most_ms=0.0,
            generator_cpu=used.own_cpu,
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


@dataclass(frozen=True)
class Used:
    """Of a stretch of time: the server's use, and the cores this process and the others took."""

    server: ServerUse
    own_cpu: float
    others_cpu: float
    window_s: float


class Watch:
    """Measures what is used between two moments; `tap` is the relay, if there is one."""

    def __init__(self, loop: Loop, server: Child, tap: Child | None = None) -> None:
        self._loop, self._meter = loop, Meter(server, [tap] if tap else [])

    def begin(self) -> None:
        """From now on."""
        self._loop.do(self._meter.begin())
        self._begun_s = time.process_time()

    def end(self) -> Used:
        """Until now."""
        own_s = time.process_time() - self._begun_s
        server, others_cpu, window_s = self._loop.do(self._meter.end())
        assert server
        # To the meter this process, where the client lives, is one of the others.
        own_cpu = own_s / window_s
        return Used(server, own_cpu, max(0.0, others_cpu - own_cpu), window_s)


def run(kind: Kind, name: str, person: Person, used: Used, server: Child, **more: Any) -> Run:
    """One run, of what was measured."""
    return Run(
        workload=WORKLOAD.name,
        variant=name,
        kind=kind,
        number=1,
        started_at=now(),
        window_s=used.window_s,
        steady_s=used.window_s,
        outcome=person.outcome(used),
        server=used.server,
        others_cpu=used.others_cpu,
        log=list(server.log),
        **more,
    )


def tapped(loop: Loop, name: str, url: str, server: Child) -> Run:
    """The bytes of such a talk, think times included, through a tap."""
    there = urlsplit(url)
    with loop.child("labs.wire.tap", str(there.hostname), str(there.port)) as tap:
        port = loop.do(tap.hear(30))["port"]
        person = Person(name, there._replace(netloc=f"{there.hostname}:{port}").geturl())
        watch = Watch(loop, server, tap)
        loop.do(person.come_in())
        loop.do(person.think())
        ends: list[list[Any]] = [["join", time.monotonic()]]
        watch.begin()
        for _ in range(ROUNDS):
            loop.do(person.round_trip())
            loop.do(person.think())
        ends += [["steady", time.monotonic()], ["leave", None]]
        used = watch.end()
        loop.do(person.leave())
        answer = loop.do(tap.ask({"account": ends}))
    windows = msgspec.convert(answer["windows"], dict[str, Traffic])
    segments = msgspec.convert(answer["segments"], Segments | None)
    return run("bytes", name, person, used, server, windows=windows, segments=segments)


@pytest.mark.parametrize("name", VARIANTS)
def test_round_trip(
    benchmark: BenchmarkFixture, loop: Loop, labs_keep: Callable[..., None], name: str
) -> None:
    with loop.child("labs.bench.host", name) as server:
        url = loop.do(server.ask(SETTINGS, 30))["url"]
        watch, person = Watch(loop, server), Person(name, url)
        loop.do(person.come_in())
        watch.begin()
        benchmark.pedantic(  # type: ignore[no-untyped-call]
            lambda: loop.do(person.round_trip()),
            setup=lambda: loop.do(person.think()),
            rounds=ROUNDS,
            warmup_rounds=2,
        )
        used = watch.end()
        loop.do(person.leave())
        timed = run("latency", name, person, used, server)
        counted = tapped(loop, name, url, server)
    labs_keep(WORKLOAD, counted, timed, method=METHOD, seed=SEED)
    benchmark.extra_info.update(figures(person, counted, timed))
    assert person.sent == (1 if benchmark.disabled else ROUNDS + 2)
    for one in (timed, counted):
        assert one.valid
        assert 0 < one.outcome.generator_cpu < 2
        assert one.others_cpu >= 0
    check(name, counted)


class Forgetful:
    """A client that hears some of what it says: `None` in `heard` comes to nothing."""

    state = "open"

    def __init__(self, heard: list[str | None]) -> None:
        self._heard = heard
        self._said: asyncio.Queue[str] = asyncio.Queue()

    async def connect(self, name: str) -> None:
        self._said.put_nowait("join")

    async def send(self, text: str) -> int:
        if (heard := self._heard.pop(0)) is not None:
            self._said.put_nowait(heard or text)
        return 1

    async def messages(self) -> AsyncIterator[Message]:
        while True:
            text = await self._said.get()
            yield Message(1, "join" if text == "join" else "talk", "ann", text, 0)

    async def close(self) -> None:
        self._said = asyncio.Queue()


def test_what_does_not_come_is_lost_and_what_comes_again_is_a_duplicate(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.WORKLOAD", WORKLOAD.but(drain_s=0.1))
    person = Person("polling", "http://127.0.0.1:1")
    client = Forgetful(["", None, TEXT.format(1)])
    person._client, person._messages = client, client.messages()  # type: ignore[assignment]
    loop.do(person.come_in())
    for _ in range(3):
        loop.do(person.round_trip())
    loop.do(person.leave())
    outcome = person.outcome(Used(ServerUse(0.0, 0, 0), 0.0, 0.0, 1.0))
    assert [trip.fate for trip in person.trips] == ["delivered", "lost", "duplicate"]
    assert (outcome.fates["lost"], outcome.fates["duplicate"]) == (1, 1)
    assert outcome.wrong == ["1 messages: lost", "1 messages: duplicate"]


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
    taken = unpacked(timed.outcome.corrected)
    steady = counted.windows["steady"]
    return {
        **{f"p{q}_ms": taken.get_value_at_percentile(q) / 1_000 for q in (50, 95, 99)},
        "max_ms": taken.get_max_value() / 1_000,
        "bytes_up_per_message": steady.up / ROUNDS,
        "bytes_down_per_message": steady.down / ROUNDS,
        "bytes_by_layer_per_message": {
            f"{way}/{layer}": size / ROUNDS
            for way, layer in sorted({tuple(key.split("/")[:2]) for key in steady.cells})
            if (size := steady.of(way, layer))
        },
        "requests_per_message": steady.requests / ROUNDS,
        "sent": person.sent,
        "lost": timed.outcome.fates["lost"],
        "duplicated": timed.outcome.fates["duplicate"],
        **SETTINGS,
    }
