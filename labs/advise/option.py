"""One transport for a need: its figures, and which of them fail.

A transport meets a need if nothing on the way refuses it, 95 % of deliveries are there in time, and
one server process can do the work: it runs on one core, and past `BUSY` of it messages queue up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from labs.advise.costs import Costs, Range
from labs.advise.flow import DEFAULT, flow, weigh
from labs.advise.latency import interval_s, p95_s, use_of
from labs.advise.need import Need, duration
from labs.bench import heads
from labs.bench.cells import number, short
from labs.bench.prediction import handshake
from labs.variants import FIVE

BUSY = 0.7
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
    `notes` are what to know besides.
    """

    name: str
    p95_s: float
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
            duration(self.p95_s),
            number(self.client_bytes_per_s, 1),
            number(self.bit_per_s / 1e6, 3),
            number(self.requests_per_s, 1),
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
    cost, use = costs.each[name], use_of(need)
    carried = flow(name, weigh(name, need.profile, need.chars), use)
    exchanges = carried.batches + carried.empties
    cpu = cost.sent_s.times(need.rate_per_s * need.rooms).plus(
        cost.exchange_s.times(exchanges * need.clients)
    )
    p95 = p95_s(name, use, cost.exchange_s.middle)
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
        notes=tuple(_notes(name, need, cpu)),
    )


def _fails(name: str, need: Need, p95: float, cpu: Range) -> list[str]:
    found = []
    if need.behind_proxy and name in UPGRADED:
        found.append("the proxy refuses its upgrade")
    if p95 > need.max_latency_s:
        found.append(f"p95 {duration(p95)} > {duration(need.max_latency_s)}")
    if cpu.middle > BUSY:
        found.append(f"CPU {short(cpu.middle)} > {BUSY:g} of one core")
    return found


def _notes(name: str, need: Need, cpu: Range) -> Iterator[str]:
    asked_s = interval_s(need)
    if name == "polling":
        yield f"polling asks every {duration(asked_s)}: derived from the latency it may have"
    if name == "polling" and asked_s >= DEFAULT.lease_s:
        yield f"polling so rarely needs a lease_s above it; it is {DEFAULT.lease_s:g} s by default"
    if name == "streaming" and need.behind_proxy:
        yield "streaming needs a proxy that does not keep a response until it is complete"
    if cpu.middle <= BUSY < cpu.high:
        yield f"{name} may need too much CPU after all: one round says {short(cpu.high)} cores"


def _estimate(figure: Range, unit: float) -> str:
    low, middle, high = (short(value / unit) for value in figure)
    return middle if low == high else f"{middle} ({low}-{high})"
