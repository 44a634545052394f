"""What a run leaves behind: every message's fate at every client, and how long it took.

The loss ledger gives each pair of message and client of its room exactly one fate, the first
that fits:

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
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from hdrh.histogram import HdrHistogram

from labs.bench.schedule import Tick
from labs.bench.workload import Workload
from labs.errors import LabError

FATES = ("delivered", "late", "recovered", "reordered", "duplicate", "lost")
WRONG = ("lost", "duplicate", "reordered")
WRONG_SHOWN = 20  # wrong fates told one by one in a result

MISSED_MS = 10.0  # a message begun later than this after its moment is a missed tick
HIGHEST_US = 600_000_000
DIGITS = 3  # significant decimal digits of a latency
SLICES = 20  # of the window, in a timeline


class ClockError(LabError):
    """A message arrived before it was sent: the clock, or the instrument, is wrong."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the generators saw of a run: fates, histograms, and how well they kept the schedule.

    Histograms are in microseconds, packed. `corrected` is from the intended moment of sending,
    at all receivers; `probes` the same at the readable clients alone; `uncorrected` from the
    moment the sending began. `back` is from a cut until a client was back (storms), `timeline`
    corrected by slices of the window, equally long, in order of the intended moment.
    """

    fates: dict[str, int]
    wrong: list[str]
    text_bytes: int  # of text, at all receivers
    corrected: str
    uncorrected: str
    probes: str
    back: str
    timeline: list[str]
    missed_ticks: int
    unsent: int  # of a closed loop: messages whose turn had not come when the window ended
    lag_most_ms: float
    generator_cpu: float  # of the busiest generator, in cores, waiting for moments left out


class Arrival(NamedTuple):
    """A timed delivery: which message, at which client, when."""

    message: int
    client: int
    at_ns: int


class LossLedger:
    """Sees everything the clients of one generator receive.

    `clients` are their numbers. `foreign` counts texts that nobody sent.
    """

    def __init__(self, ticks: Sequence[Tick], workload: Workload, clients: Sequence[int]) -> None:
        self.complete = asyncio.Event()
        self.foreign_count = 0
        self._ticks, self._workload = ticks, workload
        self._indexes = {tick.text: index for index, tick in enumerate(ticks)}
        self._arrived_ns = {client: array("q", bytes(8 * len(ticks))) for client in clients}
        self._highest = dict.fromkeys(clients, 0)
        self._broken_ns: dict[int, list[int]] = {client: [] for client in clients}
        self._offsets: dict[int, int] = {}
        self._again: set[tuple[int, int]] = set()
        self._unordered: set[tuple[int, int]] = set()
        self._sent: Sequence[int] = range(len(ticks))
        self._arrived_count = 0
        self._count_expected()

    def arrived(self, client: int, index: int, offset: int, at_ns: int) -> None:
        """A client received message `index` of the schedule, at `offset` of its room's log."""
        row = self._arrived_ns[client]
        if index >= len(row):
            self.foreign_count += 1
            return
        if row[index]:
            self._again.add((index, client))
            return
        row[index] = at_ns
        if offset < self._highest[client] or self._offsets.setdefault(index, offset) != offset:
            self._unordered.add((index, client))
        else:
            self._highest[client] = offset
        self._arrived_count += 1
        if self._arrived_count == self._expected_count:
            self.complete.set()

    def heard(self, client: int, text: str, offset: int, at_ns: int) -> None:
        """A client that reads whole texts received one: it must be as it was sent."""
        index = self._indexes.get(text)
        if index is None:
            self.foreign(client)
        else:
            self.arrived(client, index, offset, at_ns)

    def sent(self, indexes: Collection[int]) -> None:
        """Only these messages were sent: the others' turn never came."""
        self._sent = sorted(indexes)
        self._count_expected()

    def foreign(self, client: int) -> None:
        """A client received a text that no schedule has."""
        self.foreign_count += 1

    def broke(self, client: int, at_ns: int) -> None:
        """A client was seen without a connection."""
        self._broken_ns[client].append(at_ns)

    @property
    def offsets(self) -> dict[int, int]:
        """At which offset each message was seen."""
        return self._offsets

    def fate(self, index: int, client: int, intended_ns: int) -> str:
        """What became of a message at a client."""
        pair, arrived_ns = (index, client), self._arrived_ns[client][index]
        if not arrived_ns:
            return "lost"
        if pair in self._again:
            return "duplicate"
        if pair in self._unordered:
            return "reordered"
        if any(intended_ns <= at_ns <= arrived_ns for at_ns in self._broken_ns[client]):
            return "recovered"
        late_ns = self._workload.late_s * 1e9
        return "late" if arrived_ns - intended_ns > late_ns else "delivered"

    def verdict(self, intended_ns: Sequence[int]) -> tuple[dict[str, int], list[str]]:
        """How many pairs met each fate, and the first of the wrong ones in words."""
        counts: Counter[str] = Counter(dict.fromkeys(FATES, 0))
        wrong: list[str] = []
        for index, client in self._pairs():
            fate = self.fate(index, client, intended_ns[index])
            counts[fate] += 1
            if fate in WRONG and len(wrong) < WRONG_SHOWN:
                wrong.append(f"message {index} at client {client}: {fate}")
        if self.foreign_count:
            wrong.append(f"{self.foreign_count} messages came down that nobody sent")
        return dict(counts), wrong

    def arrivals(self) -> Iterator[Arrival]:
        """The deliveries of the window; those of the warm-up are not timed."""
        for index, client in self._pairs():
            at_ns = self._arrived_ns[client][index]
            if at_ns and self._ticks[index].at_ns >= 0:
                yield Arrival(index, client, at_ns)

    @property
    def text_bytes(self) -> int:
        """Bytes of text delivered in the window, at all receivers."""
        sizes = [len(tick.text.encode()) for tick in self._ticks]
        return sum(sizes[arrival.message] for arrival in self.arrivals())

    def _pairs(self) -> Iterator[tuple[int, int]]:
        rooms = self._workload.rooms
        members: dict[int, list[int]] = {room: [] for room in range(rooms)}
        for client in self._arrived_ns:
            members[client % rooms].append(client)
        for index in self._sent:
            for client in members[self._ticks[index].sender % rooms]:
                yield index, client

    def _count_expected(self) -> None:
        rooms = self._workload.rooms
        in_room = Counter(client % rooms for client in self._arrived_ns)
        self._expected_count = sum(in_room[self._ticks[i].sender % rooms] for i in self._sent)
        if self._arrived_count == self._expected_count:
            self.complete.set()


def latencies_ns(arrivals: Iterable[Arrival], since_ns: Sequence[int]) -> list[int]:
    """From each message's moment to its arrivals; raises `ClockError`."""
    taken = [arrival.at_ns - since_ns[arrival.message] for arrival in arrivals]
    if taken and min(taken) < 0:
        raise ClockError(f"a message arrived {-min(taken):,} ns before it was sent")
    return taken


def timeline(
    arrivals: Iterable[Arrival], ticks: Sequence[Tick], intended_ns: Sequence[int], window_s: float
) -> list[str]:
    """Latencies by slices of the window, each a packed histogram."""
    slices: list[list[int]] = [[] for _ in range(SLICES)]
    for message, _, at_ns in arrivals:
        place = int(ticks[message].at_ns / 1e9 / window_s * SLICES)
        slices[min(place, SLICES - 1)].append(at_ns - intended_ns[message])
    return [packed(histogram(each)) for each in slices]


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """What several generators saw of the same run, as one."""
    if len(outcomes) == 1:
        return outcomes[0]
    fates: Counter[str] = Counter()
    for each in outcomes:
        fates.update(each.fates)
    return Outcome(
        fates=dict(fates),
        wrong=[line for each in outcomes for line in each.wrong][:WRONG_SHOWN],
        text_bytes=sum(each.text_bytes for each in outcomes),
        corrected=packed(merged(each.corrected for each in outcomes)),
        uncorrected=packed(merged(each.uncorrected for each in outcomes)),
        probes=packed(merged(each.probes for each in outcomes)),
        back=packed(merged(each.back for each in outcomes)),
        timeline=[
            packed(merged(parts))
            for parts in zip(*(each.timeline for each in outcomes), strict=True)
        ],
        missed_ticks=sum(each.missed_ticks for each in outcomes),
        unsent=sum(each.unsent for each in outcomes),
        lag_most_ms=max(each.lag_most_ms for each in outcomes),
        generator_cpu=max(each.generator_cpu for each in outcomes),
    )


def histogram(latencies_ns: Iterable[int] = ()) -> HdrHistogram:
    """An HdrHistogram of latencies, in microseconds, to three significant digits."""
    taken = HdrHistogram(1, HIGHEST_US, DIGITS)
    for latency_ns in latencies_ns:
        taken.record_value(max(1, round(latency_ns / 1_000)))
    return taken


def merged(encoded: Iterable[str]) -> HdrHistogram:
    """Packed histograms as one."""
    total = histogram()
    for each in encoded:
        total.add(unpacked(each))
    return total


def packed(taken: HdrHistogram) -> str:
    """A histogram as text, in HdrHistogram's own V2 compressed encoding."""
    encoded: bytes = taken.encode()
    return encoded.decode("ascii")


def unpacked(encoded: str) -> HdrHistogram:
    """A histogram read back."""
    return HdrHistogram.decode(encoded.encode("ascii"))
