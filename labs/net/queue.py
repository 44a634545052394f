"""One direction of a network: when each packet leaves it, or that it never does.

    put -- lost? -- queue full? -- wait for the link -- be sent -- delay + jitter -- take

Nothing here waits or does I/O: time is what the caller says it is. A packet is lost by chance
before it reaches the queue. A queue that would keep it longer than `queue_ms` drops it (drop-tail,
as with the `latency` of tc-tbf(8)). Then it takes its size over the bandwidth to send, one packet
after the other, and arrives after the delay and its own jitter.

Order is kept: a packet with little jitter arrives together with the one before it. Links do
so, radio links too, which deliver in order what they had to repeat; TCP would take the other
order for a loss. So in a dense stream the jitter comes in bunches, and its mean is above
`jitter_ms`.

Chance is seeded, loss and jitter each from a sequence of its own: whether the n-th packet is lost
depends on the seed, the direction and n alone.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Generic, TypeVar

import msgspec

from labs.net.network import Network

T = TypeVar("T")

MS = 1_000_000  # ns
S = 1_000_000_000


class Counts(msgspec.Struct):
    """What became of the packets that came: came = lost + overflowed + left + waiting."""

    packets: int = 0
    bytes: int = 0
    lost: int = 0  # by chance
    overflowed: int = 0  # dropped, the queue being full
    left_packets: int = 0
    left_bytes: int = 0

    @property
    def waiting(self) -> int:
        """Packets that are still under way."""
        return self.packets - self.lost - self.overflowed - self.left_packets


class DeadlineQueue(Generic[T]):
    """One direction, `up` or `down`, of a network.

    `lossless` is for a stream whose bytes cannot be lost: nothing is dropped, and whoever
    puts must watch `backlog_ns`.
    """

    def __init__(
        self, network: Network, direction: str, seed: int, *, lossless: bool = False
    ) -> None:
        self.counts = Counts()
        self._name = direction
        self._bit_s = network.bit_s(direction)
        self._delay_ns = round(network.delay_ms * MS)
        self._jitter_ns = network.jitter_ms * MS
        self._loss = 0.0 if lossless else network.loss
        self._queue_ns = None if lossless else round(network.queue_ms * MS)
        self._free_ns = 0  # when the link will have sent what waits for it
        self.last_ns = 0  # when the last packet leaves, or has left
        self._waiting: deque[tuple[int, int, T]] = deque()
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Begin the sequences of chance anew, and the counts; what waits, waits on."""
        self._loss_chance = random.Random(f"{seed} {self._name} loss")
        self._jitter_chance = random.Random(f"{seed} {self._name} jitter")
        waiting, size = len(self._waiting), sum(size for _, size, _ in self._waiting)
        self.counts = Counts(packets=waiting, bytes=size)

    def put(self, now_ns: int, size: int, packet: T) -> bool:
        """A packet of `size` bytes comes; answers whether it will leave again."""
        counts = self.counts
        counts.packets += 1
        counts.bytes += size
        if self._loss and self._loss_chance.random() < self._loss:
            counts.lost += 1
            return False
        start_ns = max(now_ns, self._free_ns)
        if self._queue_ns is not None and start_ns - now_ns > self._queue_ns:
            counts.overflowed += 1
            return False
        self._free_ns = start_ns - (-size * 8 * S // self._bit_s)  # rounded up: never faster
        self.last_ns = max(self.last_ns, self._free_ns + self._delay_ns + self._jitter())
        self._waiting.append((self.last_ns, size, packet))
        return True

    def _jitter(self) -> int:
        if not self._jitter_ns:
            return 0
        return int(self._jitter_chance.expovariate(1.0) * self._jitter_ns)

    @property
    def due_ns(self) -> int | None:
        """When the next packet leaves, None if there is none."""
        return self._waiting[0][0] if self._waiting else None

    def take(self, now_ns: int) -> list[tuple[int, T]]:
        """The packets that leave by now, in order, each with the moment when it should have."""
        left, waiting, counts = [], self._waiting, self.counts
        while waiting and waiting[0][0] <= now_ns:
            due_ns, size, packet = waiting.popleft()
            counts.left_packets += 1
            counts.left_bytes += size
            left.append((due_ns, packet))
        return left

    def backlog_ns(self, now_ns: int) -> int:
        """How long a packet that came now would wait for the link."""
        return max(0, self._free_ns - now_ns)
