"""What a run leaves behind: every message's fate at every client, and how long it took.

The loss ledger gives each pair of message and client of its room exactly one fate, the first
that fits:

    lost        it was not there when the drain ended
    duplicate   it came more than once
    reordered   it came after a later one, or not at one offset everywhere
    recovered   it was on its way while the client had no connection
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
from math import inf
from typing import Any, NamedTuple

import msgspec
import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from labs.bench.schedule import Tick
from labs.bench.workload import Workload
from labs.errors import LabError

Numbers = NDArray[np.signedinteger[Any]]

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
    missed_ticks: int  # messages of the window that were begun late
    missed_polls: int  # moments at which a poller's last poll was still open
    unsent: int  # of a closed loop: messages whose turn had not come when the window ended
    lag_most_ms: float
    generator_cpu: float  # of the busiest generator, in cores, waiting for moments left out
    skipped: int = 0  # of a closed loop: messages of the warm-up that had no turn before its end
    refused: int = 0  # requests the chat refused (rate_limited), which were made again later


class Arrivals(NamedTuple):
    """Timed deliveries, one an element: which message, at which client, when."""

    message: Numbers
    client: Numbers
    at_ns: Numbers


class LossLedger:
    """Sees everything the clients of one generator receive; `clients` are their numbers.

    `offsets` is where in its room's log each message was seen. What nobody sent, and what came
    to a room in which it was not said, is counted and makes a run wrong.
    """

    def __init__(self, ticks: Sequence[Tick], workload: Workload, clients: Sequence[int]) -> None:
        self.complete = asyncio.Event()
        self.offsets: dict[int, int] = {}
        self._workload = workload
        self._at_ns = np.array([tick.at_ns for tick in ticks], np.int64)
        self._sizes = np.array([len(tick.text.encode()) for tick in ticks], np.int64)
        self._indexes = {tick.text: index for index, tick in enumerate(ticks)}
        self._room = [tick.sender % workload.rooms for tick in ticks]
        self._said: list[list[int]] = [[] for _ in range(workload.rooms)]
        self._place = []  # of each message among those of its room
        for index, room in enumerate(self._room):
            self._place.append(len(self._said[room]))
            self._said[room].append(index)
        self._places = np.array(self._place, np.int64)
        self._arrived_ns = {
            client: array("q", bytes(8 * len(self._said[client % workload.rooms])))
            for client in clients
        }
        self._highest = dict.fromkeys(clients, 0)
        self._outages_ns: dict[int, list[list[float]]] = {client: [] for client in clients}
        self._again: dict[int, set[int]] = {client: set() for client in clients}
        self._unordered: dict[int, set[int]] = {client: set() for client in clients}
        self._foreign_count = self._strayed_count = self._arrived_count = 0
        self.sent(range(len(ticks)))

    def arrived(self, client: int, index: int, offset: int, at_ns: int) -> None:
        """A client received message `index` of the schedule, at `offset` of its room's log."""
        if index >= len(self._room):
            self._foreign_count += 1
            return
        if self._room[index] != client % self._workload.rooms:
            self._strayed_count += 1
            return
        row, place = self._arrived_ns[client], self._place[index]
        if row[place]:
            self._again[client].add(index)
            return
        row[place] = at_ns
        if offset <= self._highest[client] or self.offsets.setdefault(index, offset) != offset:
            self._unordered[client].add(index)
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
        sent = np.zeros(len(self._room), bool)
        sent[sorted(indexes)] = True
        self._sent = [np.array([i for i in said if sent[i]], np.int64) for said in self._said]
        rooms = self._workload.rooms
        self._expected_count = sum(len(self._sent[client % rooms]) for client in self._arrived_ns)
        if self._arrived_count >= self._expected_count:
            self.complete.set()

    def foreign(self, client: int) -> None:
        """A client received a text that no schedule has."""
        self._foreign_count += 1

    def broke(self, client: int, at_ns: int) -> None:
        """A client is without a connection from this moment on, until it is back."""
        outages_ns = self._outages_ns[client]
        if not outages_ns or outages_ns[-1][1] < inf:
            outages_ns.append([at_ns, inf])

    def back(self, client: int, at_ns: int) -> None:
        """A client has its connection again."""
        outages_ns = self._outages_ns[client]
        if outages_ns and outages_ns[-1][1] == inf:
            outages_ns[-1][1] = at_ns

    def fates(self, client: int, intended_ns: Numbers) -> list[str]:
        """What became of each message of its room at a client, of those that were sent."""
        return [FATES[code] for code in self._codes(client, intended_ns)]

    def verdict(self, intended_ns: Numbers) -> tuple[dict[str, int], list[str]]:
        """How many pairs met each fate, and the first of what is wrong in words."""
        counts, wrong = np.zeros(len(FATES), np.int64), list[tuple[int, int, str]]()
        for client in self._arrived_ns:
            codes = self._codes(client, intended_ns)
            counts += np.bincount(codes, minlength=len(FATES))
            places = np.flatnonzero(np.isin(codes, [FATES.index(name) for name in WRONG]))
            room = self._sent[client % self._workload.rooms]
            wrong += [(int(room[at]), client, FATES[codes[at]]) for at in places[:WRONG_SHOWN]]
        said = [
            f"message {index} at client {client}: {fate}" for index, client, fate in sorted(wrong)
        ]
        return dict(zip(FATES, counts.tolist(), strict=True)), [
            *said[:WRONG_SHOWN],
            *self._astray(),
        ]

    def arrivals(self) -> Arrivals:
        """The deliveries of the window; those of the warm-up are not timed."""
        found = []
        for client in self._arrived_ns:
            said, at_ns = self._row(client)
            timed = (at_ns > 0) & (self._at_ns[said] >= 0)
            found.append((said[timed], np.full(timed.sum(), client), at_ns[timed]))
        return Arrivals(*(np.concatenate(part) for part in zip(*found, strict=True)))

    def text_bytes(self) -> int:
        """Bytes of text delivered in the window, at all receivers."""
        return int(self._sizes[self.arrivals().message].sum())

    def _codes(self, client: int, intended_ns: Numbers) -> Numbers:
        said, at_ns = self._row(client)
        since_ns = intended_ns[said]
        codes = np.full(len(said), FATES.index("delivered"))
        codes[at_ns - since_ns > self._workload.late_s * 1e9] = FATES.index("late")
        for from_ns, until_ns in self._outages_ns[client]:
            codes[(since_ns <= until_ns) & (at_ns >= from_ns)] = FATES.index("recovered")
        for name, pairs in (("reordered", self._unordered), ("duplicate", self._again)):
            codes[np.isin(said, list(pairs[client]))] = FATES.index(name)
        codes[at_ns == 0] = FATES.index("lost")
        return codes

    def _row(self, client: int) -> tuple[Numbers, Numbers]:
        """The messages of a client's room that were sent, and when each came, 0 for never."""
        said = self._sent[client % self._workload.rooms]
        return said, np.frombuffer(self._arrived_ns[client], np.int64)[self._places[said]]

    def _astray(self) -> Iterator[str]:
        if self._foreign_count:
            yield f"{self._foreign_count} messages came down that nobody sent"
        if self._strayed_count:
            yield f"{self._strayed_count} messages came to a room in which they were not said"


def latencies_ns(arrivals: Arrivals, since_ns: Numbers) -> Numbers:
    """From each message's moment to its arrivals; raises `ClockError`."""
    taken = arrivals.at_ns - since_ns[arrivals.message]
    if len(taken) and taken.min() < 0:
        raise ClockError(f"a message arrived {-taken.min():,} ns before it was sent")
    return taken


def timeline(arrivals: Arrivals, intended_ns: Numbers, start_ns: int, window_s: float) -> list[str]:
    """Latencies by slices of the window, each a packed histogram."""
    after_s = (intended_ns[arrivals.message] - start_ns) / 1e9
    places = np.minimum((after_s / window_s * SLICES).astype(np.int64), SLICES - 1)
    taken = latencies_ns(arrivals, intended_ns)
    return [packed(histogram(taken[places == place])) for place in range(SLICES)]


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
        missed_polls=sum(each.missed_polls for each in outcomes),
        unsent=sum(each.unsent for each in outcomes),
        lag_most_ms=max(each.lag_most_ms for each in outcomes),
        generator_cpu=max(each.generator_cpu for each in outcomes),
        skipped=sum(each.skipped for each in outcomes),
        refused=sum(each.refused for each in outcomes),
    )


def histogram(latencies_ns: Sequence[int] | Numbers = ()) -> HdrHistogram:
    """An HdrHistogram of latencies, in microseconds, to three significant digits."""
    taken = HdrHistogram(1, HIGHEST_US, DIGITS)
    rounded_us = np.maximum(1, np.rint(np.asarray(latencies_ns, np.int64) / 1_000)).astype(int)
    for value_us, count in zip(*np.unique(rounded_us, return_counts=True), strict=True):
        taken.record_value(int(value_us), int(count))
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
