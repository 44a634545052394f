"""The floor: what this machine and the instrument take by themselves, before anything is measured.

    blocking    64 bytes there and back between two processes, blocking sockets
    websocket   the same as WebSocket frames, one end a light client's on the generator's loop
    tap         the same as the first, through the tap
    fan-out     one process sends to 100 connections, another one counts
    timer       how late the generator's clockwork wakes
    clock       what the monotonic clock can tell, and what asking it costs

No variant can be quicker than the first; what the second and the third add to it, and the timer's
error, is the instrument's own. The fan-out makes one send of each delivery: what limits a server
that does so, too. (The kernel may still put several into one segment, when the receiver is busy.)
The three kinds of round trip alternate, one by one, with the two ends on a core each: a scheduler
that put one kind's ends on one core and the other's on two would decide the figures (seen: 20
against 75 microseconds).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import ceil

import msgspec

from labs.wire.control import child, while_alive

SHARE_S = 0.2  # what a part may take: with the start of two processes less than 1.5 s in all
HOST = "127.0.0.1"
ANSWER_S = 20.0  # on a machine so busy that nothing else is worth measuring either

# What is expected of a machine that nothing else disturbs; what falls short is told, no more.
PING_MOST_US = 200.0
RATIO_MOST = 1.5  # the instrument adds less than half of what the loopback takes
FAN_OUT_LEAST = 150_000  # deliveries/s: what one generator takes; below, the loopback limits it
TIMER_MOST_US = 1_000.0  # a tenth of what counts as a missed tick
TAP_MOST_US = 100.0
STEP_MOST_NS = 1_000


class RoundTrips(msgspec.Struct, frozen=True):
    """How long round trips took, in microseconds, of `n`; percentiles by nearest rank."""

    n: int
    min_us: float
    p50_us: float
    p99_us: float

    @classmethod
    def of(cls, taken_ns: Sequence[int]) -> RoundTrips:
        """The figures of samples in nanoseconds, at least one."""
        ordered = sorted(taken_ns)
        return cls(len(ordered), ordered[0] / 1e3, rank_us(ordered, 50), rank_us(ordered, 99))


class Lateness(msgspec.Struct, frozen=True):
    """How late a timer woke, in microseconds, of `n` wakes."""

    n: int
    p50_us: float
    p99_us: float
    max_us: float

    @classmethod
    def of(cls, late_ns: Sequence[int]) -> Lateness:
        """The figures of samples in nanoseconds, at least one."""
        ordered = sorted(late_ns)
        return cls(len(ordered), rank_us(ordered, 50), rank_us(ordered, 99), ordered[-1] / 1e3)


class FanOut(msgspec.Struct, frozen=True):
    """One send a delivery: `deliveries` in `seconds`, from the first send to the last receipt.

    The shares of a core say which end was the limit.
    """

    connections: int
    frame_bytes: int
    deliveries: int
    seconds: float
    sender_cpu: float
    receiver_cpu: float

    @property
    def per_s(self) -> float:
        """Deliveries a second."""
        return self.deliveries / self.seconds


class Clock(msgspec.Struct, frozen=True):
    """The monotonic clock: the smallest step seen, and the cost of a reading, of `n`."""

    n: int
    step_ns: int
    cost_ns: float


class Floor(msgspec.Struct, frozen=True):
    """The self-measurement, with the generator on `loop`.

    `ping`, `websocket` and `tap` alternated; `pinned` says whether the two ends had a core each.
    """

    loop: str
    pinned: bool
    ping: RoundTrips
    websocket: RoundTrips
    timer: Lateness
    fanout: FanOut
    clock: Clock
    tap: RoundTrips | None = None

    @property
    def tap_us(self) -> float:
        """What the tap adds to the median round trip, in microseconds; 0.0 if not measured."""
        return self.tap.p50_us - self.ping.p50_us if self.tap else 0.0

    @property
    def ratio(self) -> float:
        """The median WebSocket round trip by the median blocking one."""
        return self.websocket.p50_us / self.ping.p50_us


class Job(msgspec.Struct, frozen=True):
    """What the probe is to do: speak to `port`, take so long for each part, stay on `core`.

    At `tap_port` the tap stands before `port`.
    """

    port: int
    tap_port: int
    share_s: float
    core: int | None


def rank_us(ordered: Sequence[int], percentile: float) -> float:
    """A percentile of ordered nanoseconds, by nearest rank, in microseconds."""
    return ordered[max(0, ceil(len(ordered) * percentile / 100) - 1)] / 1e3


async def measure(share_s: float = SHARE_S) -> Floor:
    """Measure the floor in three processes of their own; none is left behind.

    `share_s` bounds each part, in seconds. Raises `LabError` when a process fails, or what
    arrived is not what was sent.
    """
    here, there = _cores()
    core = [] if there is None else [str(there)]
    async with (
        child("the far end of the floor", "labs.bench.floor_peer", *core) as peer,
        child("the probe of the floor", "labs.bench.floor_probe") as probe,
    ):
        port = (await peer.hear(ANSWER_S))["port"]
        async with child("the tap", "labs.wire.tap", HOST, str(port)) as tap:
            job = Job(port, (await tap.hear(ANSWER_S))["port"], share_s, here)
            asked = probe.ask(msgspec.to_builtins(job), ANSWER_S)
            return msgspec.convert(await while_alive(asked, peer, tap), Floor)


def _cores() -> tuple[int | None, int | None]:
    """A core for each of the two processes, where there are two and the system lets us choose."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[-1]) if len(cores) > 1 else (None, None)
