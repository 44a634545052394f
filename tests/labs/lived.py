"""Real traffic in virtual time: a server, a tap, and clients that follow a workload.

All share one event loop whose clock jumps to the next timer when nothing is on its way, so that a
minute takes none and every count is exact, however slow the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from itertools import cycle, islice
from time import monotonic_ns
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import pytest

from labs.bench.heads import find
from labs.bench.light import light
from labs.bench.prediction import Prediction, predict
from labs.bench.schedule import Tick
from labs.bench.workload import Workload
from labs.settings import Settings
from labs.variants import Client, load
from labs.wire.ledger import account
from labs.wire.tap import tapping
from labs.wire.traffic import Traffic
from tests.labs.virtual import VirtualLoop

EVERY = (
    "polling",
    "longpolling",
    "streaming",
    "websocket",
    "socketio",
    "socketio-websocket",
    "socketio-polling",
)
HOST = "127.0.0.1"
PYTHON = find("python")
GRACE_S = 0.005  # what is on its way between two sockets of loopback is there at once, or nearly
CLOCK_S = 1_795_379_121.6540225  # a time that takes as many digits as any
PHASES_S = (0.13, 0.28, 0.37, 0.06, 0.21)
SETTLE_S = 0.94  # before a window; every poller asks twice
T = TypeVar("T")


class PatientLoop(VirtualLoop):
    """Virtual time that jumps only when no byte is on its way between two sockets."""

    def __init__(self) -> None:
        super().__init__()
        jump = self._jump
        real, virtual = super(type(jump), jump).select, jump.select

        def select(timeout: float | None = None) -> Any:
            return real(0 if timeout == 0 else GRACE_S) or virtual(timeout)

        jump.select = select  # type: ignore[method-assign]


def run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        return runner.run(main)


def now_s() -> float:
    return asyncio.get_running_loop().time()


def set_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polling's goes with the loop, Engine.IO's always has all its digits."""
    monkeypatch.setattr("polling.client.monotonic", now_s)
    monkeypatch.setattr("labs.bench.light.polling.monotonic", now_s)
    monkeypatch.setattr("engineio.base_client.time", SimpleNamespace(time=lambda: CLOCK_S))
    phases_s = cycle(PHASES_S)
    monkeypatch.setattr("polling.client.random", SimpleNamespace(uniform=lambda *_: next(phases_s)))


class Lived(NamedTuple):
    """What really passed: by each join, and in the window; and where the clients had asked."""

    joins: list[Traffic]
    window: Traffic
    host: str
    age_s: float
    begun_s: float


class Nobody:
    """What light clients report to."""

    def arrived(self, client: int, index: int, offset: int, at_ns: int) -> None: ...
    def foreign(self, client: int) -> None: ...
    def broke(self, client: int, at_ns: int) -> None:
        raise AssertionError(f"client{client} broke")


class Site:
    """A server behind a tap, and clients that follow a workload: its probes are readable."""

    def __init__(self, variant: str, workload: Workload, ticks: Sequence[Tick]) -> None:
        self.variant, self.workload, self.ticks = load(variant), workload, ticks
        self.settings = self.variant.settings(Settings(**workload.settings))
        self.clients: list[Any] = []
        self._ends_ns: list[tuple[str, int | None]] = []
        self._reading: list[asyncio.Task[None]] = []

    async def live(self, spoil: Any = None) -> Lived:
        served = self.variant.serve(self.variant.chat(self.settings), HOST, 0)
        async with served as url, tapping(HOST, urlsplit(url).port or 0) as (tap, port):
            for number in range(self.workload.clients):
                await self._join(number, f"http://{HOST}:{port}")
            joined_s = now_s()
            if spoil:
                spoil(self.clients)
            await asyncio.sleep(SETTLE_S)
            begun_s = now_s()
            self._end("settled")
            await self._play(begun_s)
            self._end("window")
            windows = account([*tap.events], self._ends_ns)
            await self._leave()
        joins = [windows[f"client{number}"] for number in range(self.workload.clients)]
        return Lived(joins, windows["window"], f"{HOST}:{port}", begun_s - joined_s, begun_s)

    async def _join(self, number: int, url: str) -> None:
        rooms, settings = self.workload.rooms, self.settings
        own = settings if rooms == 1 else settings.but(room=f"room{number % rooms}")
        client = self._client(number, url, own)
        self.clients.append(client)
        await client.connect(f"client{number}")
        if number < self.workload.probes:
            self._reading.append(asyncio.create_task(self._read(client)))
        await asyncio.sleep(1e-9)  # until nothing is on its way
        self._end(f"client{number}")

    def _client(self, number: int, url: str, settings: Settings) -> Any:
        if number < self.workload.probes:
            return self.variant.client(url, settings)
        kind = light(self.variant)
        assert kind
        profile, phase = find(self.workload.headers), PHASES_S[number]
        return kind(number, url, settings, profile, Nobody(), phase=phase)

    async def _read(self, client: Client) -> None:
        async for _ in client.messages():
            pass

    async def _play(self, begun_s: float) -> None:
        sending = []
        for tick in self.ticks:
            await asyncio.sleep(begun_s + tick.at_ns / 1e9 - now_s())
            sending.append(asyncio.ensure_future(self.clients[tick.sender].send(tick.text)))
        end_s = begun_s + self.workload.duration_s + self.workload.tail_s
        await asyncio.sleep(end_s - now_s())
        assert all(task.done() for task in sending)

    async def _leave(self) -> None:
        for client in self.clients:
            await client.close()
        await asyncio.gather(*self._reading)

    def _end(self, name: str) -> None:
        self._ends_ns.append((name, monotonic_ns()))


def due_s(lived: Lived, workload: Workload) -> list[float] | None:
    """When each poller asks first; nobody's join had taken any time."""
    interval_s = Settings(**workload.settings).interval_s
    phases_s = islice(cycle(PHASES_S), workload.clients)
    return [(phase_s - lived.age_s) % interval_s for phase_s in phases_s]


def predicted(variant: str, workload: Workload, ticks: Sequence[Tick], lived: Lived) -> Prediction:
    found = predict(
        workload,
        variant,
        ticks,
        PYTHON,
        due_s=due_s(lived, workload) if variant == "polling" else None,
        age_s=lived.age_s,
        host=lived.host,
        stamp_bytes=len(str(CLOCK_S)),
    )
    assert found
    return found


def talking(**changes: Any) -> Workload:
    return Workload(
        **{
            "name": "talk",
            "clients": 4,
            "probes": 20,
            "duration_s": 12.0,
            "arrivals": "constant",
            "rate_per_s": 10.0,
            "chars_median": 60.0,
            "chars_sigma": 1.0,
            "chars_most": 600,
            "tail_s": 0.5,
            "settings": {"interval_s": 0.4, "hold_s": 0.07, "heartbeat_s": 1.0},
            **changes,
        }
    )
