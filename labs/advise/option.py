"""One transport for a need: its figures, and which of them fail.

A transport meets a need if nothing on the way refuses it, 95 % of deliveries are there in time, and
one server process can do the work: it runs on one core, and past `BUSY` of it messages queue up.
Where nothing is said nothing is delivered, and latency is not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from labs.advise.costs import Cost, Costs, Range
from labs.advise.flow import DEFAULT, FORMS, Flow, flow, weigh
from labs.advise.latency import BUSY, Kind, p95_s, queued_s, use_of
from labs.advise.need import Need, duration
from labs.bench import heads
from labs.bench.cells import NOTHING, number, short
from labs.bench.prediction import handshake
from labs.variants import FIVE

UPGRADED = ("websocket",)
FALLEN_BACK = {"socketio": "socketio-polling"}
"""What becomes of a transport whose upgrade is refused, and can do without."""

HEADS = (
    "",
    "p95",
    "B/s a client",
    "Mbit/s",
    "requests/s",
    "join, B",
    "CPU, cores",
    "memory, MB",
    "",
)


@dataclass(frozen=True)
class Option:
    """One transport for a need; `fails` says with which figures it does not meet it.

    Bytes are TCP's payload, both ways: of one client a second, of all in bit/s, of one join with
    everyone there. `cpu` is in cores of one server process, `memory` in bytes, of all connections.
    `p95_s` is None where there is none: nothing is said, or more than one core would be needed.
    `notes` are what to know besides.
    """

    name: str
    p95_s: float | None
    client_bytes_per_s: float
    bit_per_s: float
    requests_per_s: float
    join_bytes: float
    cpu: Range
    memory: Range
    exchanges_per_s: float
    fails: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def meets(self) -> bool:
        """Whether it meets the need."""
        return not self.fails

    def cells(self) -> list[str]:
        """A row of the table, under `HEADS`."""
        return [
            self.name,
            NOTHING if self.p95_s is None else duration(self.p95_s),
            _figure(self.client_bytes_per_s, 1),
            _figure(self.bit_per_s / 1e6, 3),
            _figure(self.requests_per_s, 1),
            number(self.join_bytes),
            _estimate(self.cpu, 1),
            _estimate(self.memory, 1e6),
            "meets it" if self.meets else "; ".join(self.fails),
        ]


def candidates(need: Need) -> list[str]:
    """The transports to think of, in the order of the lesson: Socket.IO falls back by itself."""
    if not need.behind_proxy:
        return list(FIVE)
    return [FALLEN_BACK.get(name, name) for name in FIVE]


def weighed(name: str, need: Need, costs: Costs) -> Option:
    """A transport of which the costs are known, under a need."""
    cost = costs.each[name]
    use = use_of(need, max(cost.sent_s.middle, cost.exchange_s.middle))
    carried = flow(name, weigh(name, need.profile, need.chars), use)
    exchanges = carried.batches + carried.empties
    cpu = cost.sent_s.times(need.rate_per_s * need.rooms).plus(
        cost.exchange_s.times(exchanges * need.clients)
    )
    queued = queued_s(work(name, need, carried, cost)) if need.rate_per_s else None
    p95 = None if queued is None else p95_s(name, use, cost.exchange_s.middle) + queued
    present = [f"client{number}" for number in range(1, need.members)]
    return Option(
        name=name,
        p95_s=p95,
        client_bytes_per_s=carried.bytes,
        bit_per_s=carried.bytes * need.clients * 8,
        requests_per_s=carried.requests * need.clients,
        join_bytes=sum(handshake(name, heads.find(need.profile), "client0", present).values()),
        cpu=cpu,
        memory=cost.connection_bytes.times(need.clients),
        exchanges_per_s=exchanges * need.clients,
        fails=tuple(_fails(name, need, p95, cpu)),
        notes=tuple(_notes(name, need, use.interval_s, cpu)),
    )


def work(name: str, need: Need, carried: Flow, cost: Cost) -> list[Kind]:
    """What keeps the server, for its queue: its lengths and rates come to the CPU time.

    Polls come one by one; to all others a message is handed at once, which is one piece of work.
    `need` is one in which something is said.
    """
    said_per_s = need.rate_per_s * need.rooms
    brought_per_s = carried.batches * need.clients
    empties = Kind(carried.empties * need.clients, cost.exchange_s.middle)
    if FORMS[name].model == "polled":
        news = Kind(brought_per_s, cost.exchange_s.middle)
        return [Kind(said_per_s, cost.sent_s.middle), news, empties]
    takes_s = cost.sent_s.middle + brought_per_s / said_per_s * cost.exchange_s.middle
    return [Kind(said_per_s, takes_s), empties]


def _fails(name: str, need: Need, p95: float | None, cpu: Range) -> list[str]:
    found = []
    if need.behind_proxy and name in UPGRADED:
        found.append("the proxy refuses its upgrade")
    if p95 is not None and p95 > need.max_latency_s:
        found.append(f"p95 {duration(p95)} > {duration(need.max_latency_s)}")
    if cpu.middle > BUSY:
        found.append(f"CPU {short(cpu.middle)} > {BUSY:g} of one core")
    return found


def _notes(name: str, need: Need, asked_s: float, cpu: Range) -> Iterator[str]:
    if name == "polling":
        yield f"polling asks every {duration(asked_s)}: derived from the latency it may have"
    if name == "polling" and asked_s >= DEFAULT.lease_s:
        yield f"polling so rarely needs a lease_s above it; it is {DEFAULT.lease_s:g} s by default"
    if name == "streaming" and need.behind_proxy:
        yield "streaming needs a proxy that does not keep a response until it is complete"
    if cpu.middle <= BUSY < cpu.high:
        yield f"{name} may need too much CPU after all: one round says {short(cpu.high)} cores"


def _figure(value: float, digits: int) -> str:
    """With so many digits, but whole where it has four of them before the point."""
    return number(value, digits if value < 1_000 else 0)


def _estimate(figure: Range, unit: float) -> str:
    low, middle, high = (short(value / unit) for value in figure)
    return middle if low == high else f"{middle} ({low}-{high})"
