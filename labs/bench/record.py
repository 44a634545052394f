"""What a run leaves behind: every message's fate at every client, and how long it took.

The loss ledger gives each pair of message and client exactly one fate, the first that fits:

    lost        it was not there when the drain ended
    duplicate   it came more than once
    reordered   it came after a later one, or at another offset than elsewhere
    recovered   it came after the client's connection had broken and been resumed
    late        it came, but after late_s
    delivered   it came once, in order, in time

The first three are wrong: a latency taken from such a run would describe something that did
not work. Late is not wrong. It stands in the histogram; to void it would be to throw away the
worst measurements.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import msgspec
from hdrh.histogram import HdrHistogram

from labs.bench.schedule import Tick
from labs.chat import Message
from labs.errors import LabError

FATES = ("delivered", "late", "recovered", "reordered", "duplicate", "lost")
WRONG = ("lost", "duplicate", "reordered")
WRONG_SHOWN = 20  # wrong fates told one by one in a result

MISSED_MS = 10.0  # a message begun later than this after its moment is a missed tick
HIGHEST_US = 600_000_000
DIGITS = 3  # significant decimal digits of a latency


class ClockError(LabError):
    """A message arrived before it was sent: the clock, or the instrument, is wrong."""


class Outcome(msgspec.Struct, frozen=True):
    """What the generator saw of a run: fates, histograms, and how well it kept its schedule."""

    fates: dict[str, int]
    wrong: list[str]
    text_bytes: int
    corrected: str
    uncorrected: str
    missed_ticks: int
    lag_most_ms: float
    generator_cpu: float


class LossLedger:
    """Sees everything the clients receive. `foreign` counts texts that nobody sent."""

    def __init__(self, ticks: Sequence[Tick], clients: int) -> None:
        self.complete = asyncio.Event()
        self.foreign = 0
        self._clients = clients
        self._indexes = {tick.text: index for index, tick in enumerate(ticks)}
        self._intended_ns: list[int] = []
        self._offsets: dict[int, int] = {}
        self._arrived_ns: dict[tuple[int, int], int] = {}
        self._highest = [0] * clients
        self._broken_ns: list[list[int]] = [[] for _ in range(clients)]
        self._again: set[tuple[int, int]] = set()
        self._unordered: set[tuple[int, int]] = set()
        self._check_complete()

    def begin(self, intended_ns: Sequence[int]) -> None:
        """The moments at which each message is meant to be sent, on the monotonic clock."""
        self._intended_ns = list(intended_ns)

    def saw(self, client: int, message: Message, at_ns: int) -> None:
        """A client received a message."""
        if message.kind != "talk":
            return
        index = self._indexes.get(message.text)
        if index is None:
            self.foreign += 1
            return
        pair = (index, client)
        if pair in self._arrived_ns:
            self._again.add(pair)
            return
        self._arrived_ns[pair] = at_ns
        elsewhere = self._offsets.setdefault(index, message.offset)
        if message.offset < self._highest[client] or message.offset != elsewhere:
            self._unordered.add(pair)
        self._highest[client] = max(self._highest[client], message.offset)
        self._check_complete()

    def broke(self, client: int, at_ns: int) -> None:
        """A client was seen without a connection."""
        self._broken_ns[client].append(at_ns)

    def fate(self, index: int, client: int, late_s: float) -> str:
        """What became of a message at a client."""
        pair = (index, client)
        arrived_ns = self._arrived_ns.get(pair)
        if arrived_ns is None:
            return "lost"
        if pair in self._again:
            return "duplicate"
        if pair in self._unordered:
            return "reordered"
        intended_ns = self._intended_ns[index]
        if any(intended_ns <= at_ns <= arrived_ns for at_ns in self._broken_ns[client]):
            return "recovered"
        return "late" if arrived_ns - intended_ns > late_s * 1e9 else "delivered"

    def verdict(self, late_s: float) -> tuple[dict[str, int], list[str]]:
        """How many pairs met each fate, and the first of the wrong ones in words."""
        counts: Counter[str] = Counter(dict.fromkeys(FATES, 0))
        wrong: list[str] = []
        for index in range(len(self._indexes)):
            for client in range(self._clients):
                fate = self.fate(index, client, late_s)
                counts[fate] += 1
                if fate in WRONG and len(wrong) < WRONG_SHOWN:
                    wrong.append(f"message {index} at client {client}: {fate}")
        return dict(counts), wrong

    def latencies_ns(self, since_ns: Sequence[int]) -> list[int]:
        """From each message's moment to its arrival at each client; raises `ClockError`."""
        taken = [at_ns - since_ns[index] for (index, _), at_ns in self._arrived_ns.items()]
        if taken and min(taken) < 0:
            raise ClockError(f"a message arrived {-min(taken):,} ns before it was sent")
        return taken

    def _check_complete(self) -> None:
        if len(self._arrived_ns) == len(self._indexes) * self._clients:
            self.complete.set()


def histogram(latencies_ns: Sequence[int] = ()) -> HdrHistogram:
    """An HdrHistogram of latencies, in microseconds, to three significant digits."""
    taken = HdrHistogram(1, HIGHEST_US, DIGITS)
    for latency_ns in latencies_ns:
        taken.record_value(max(1, round(latency_ns / 1_000)))
    return taken


def packed(taken: HdrHistogram) -> str:
    """A histogram as text, in HdrHistogram's own V2 compressed encoding."""
    encoded: bytes = taken.encode()
    return encoded.decode("ascii")


def unpacked(encoded: str) -> HdrHistogram:
    """A histogram read back."""
    return HdrHistogram.decode(encoded.encode("ascii"))
