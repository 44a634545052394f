"""Which transports meet a need, and which to take.

Of those that meet it the one with the fewest bytes is taken; of those within `TIE` of that, the one
that needs least memory a connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import inf

from labs.advise.costs import Costs
from labs.advise.flow import DEFAULT
from labs.advise.need import Need, duration
from labs.advise.option import HEADS, Option, candidates, weighed
from labs.bench.cells import count, number, short
from labs.bench.stats import OTHERS_LIMIT

TIE = 0.1
QUEUE = (
    "in p95 is the wait at one server with one core, by Pollaczek and Khinchine (M/D/1 where all "
    "work is alike; Kleinrock 1975), its tail taken for exponential"
)


@dataclass(frozen=True)
class Advice:
    """The options in the order of preference, and what is to be said of them, in two languages."""

    need: Need
    options: Sequence[Option]
    missing: Sequence[str]
    caveats: Sequence[str]

    @property
    def best(self) -> Option | None:
        """The one to take; None where nothing meets the need."""
        return self.options[0] if self.options and self.options[0].meets else None

    @property
    def runner_up(self) -> Option | None:
        """The next that meets the need, or that comes nearest."""
        return self.options[1] if self.best and len(self.options) > 1 else None

    @property
    def sentence(self) -> str:
        """The recommendation."""
        if not self.best:
            return f"Nothing meets it; {_nearest(self.options)}."
        said = f"Take {self.best.name}: {self._why()}."
        if other := self.runner_up:
            said += f" The runner-up is {other.name}: {compared(other, self.best)}."
        return said

    @property
    def sentence_ko(self) -> str:
        """The same in Korean."""
        if not self.best:
            return "이 조건을 만족하는 방식이 없다. 위 표의 마지막 열이 그 이유이다."
        said = f"추천: {self.best.name}. 조건을 만족하는 방식 가운데 {self._why_ko()}."
        if other := self.runner_up:
            met = "조건을 만족하고" if other.meets else "조건을 만족하지 못하고"
            times = other.client_bytes_per_s / self.best.client_bytes_per_s
            said += f" 차선: {other.name}. {met}, 바이트는 {short(times)}배이다."
            if other.p95_s is not None:
                said += f" 전달의 95 %가 {duration(other.p95_s)} 안에 도착한다."
        return said

    def _fewest(self) -> bool:
        assert self.best
        met = [option for option in self.options if option.meets]
        return self.best.client_bytes_per_s == min(option.client_bytes_per_s for option in met)

    def _why(self) -> str:
        assert self.best
        each = f"{number(self.best.client_bytes_per_s, 1)} B/s a client"
        if self._fewest():
            return f"of those that meet it, it carries the fewest bytes, {each}"
        return f"within {TIE:.0%} of the fewest bytes ({each}) it needs the least memory"

    def _why_ko(self) -> str:
        assert self.best
        each = f"클라이언트당 초당 {number(self.best.client_bytes_per_s, 1)} B"
        if self._fewest():
            return f"바이트가 가장 적다({each})"
        return f"바이트가 최소값의 {TIE:.0%} 이내이고({each}) 메모리가 가장 적다"

    def _repr_html_(self) -> str:
        heads = "".join(f"<th>{escape(head)}</th>" for head in HEADS)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in option.cells()) + "</tr>"
            for option in self.options
        )
        notes = "".join(f"<li>{escape(line)}</li>" for line in self.caveats)
        return (
            f"<p>{escape(str(self.need))}</p>"
            f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
            f"<p><b>{escape(self.sentence)}</b></p>"
            f'<p lang="ko">{escape(self.sentence_ko)}</p><ul>{notes}</ul>'
        )


def advise(need: Need, costs: Costs) -> Advice:
    """Weigh the transports of which the costs are known."""
    names = candidates(need)
    options = [weighed(name, need, costs) for name in names if name in costs.each]
    ordered = _ordered(options)
    missing = [name for name in names if name not in costs.each]
    return Advice(need, ordered, missing, _caveats(need, costs, ordered, missing))


def _ordered(options: Sequence[Option]) -> list[Option]:
    """The one to take first, then the others that meet the need, then those that do not."""
    met = sorted((each for each in options if each.meets), key=lambda each: each.client_bytes_per_s)
    if met:
        most = met[0].client_bytes_per_s * (1 + TIE)
        alike = [each for each in met if each.client_bytes_per_s <= most]
        best = min(alike, key=lambda each: each.memory.middle)
        met = [best, *(each for each in met if each is not best)]
    failed = [each for each in options if not each.meets]
    return [*met, *sorted(failed, key=_how_far)]


def _how_far(option: Option) -> tuple[int, float, float]:
    """How far from the need it is; where there is no p95 it is the work that tells."""
    p95_s = inf if option.p95_s is None else option.p95_s
    return len(option.fails), p95_s, option.cpu.middle


def compared(other: Option, best: Option) -> str:
    """One beside the one that was taken: bytes, CPU and memory as shares of its."""
    parts = [
        f"{short(mine / its)} times {what}"
        for what, mine, its in (
            ("the bytes", other.client_bytes_per_s, best.client_bytes_per_s),
            ("the CPU", other.cpu.middle, best.cpu.middle),
            ("the memory", other.memory.middle, best.memory.middle),
        )
        if its
    ]
    if other.p95_s is not None:
        parts.append(f"p95 {duration(other.p95_s)}")
    said = ", ".join(parts)
    return said if other.meets else f"{said}, but it does not meet it ({'; '.join(other.fails)})"


def _nearest(options: Sequence[Option]) -> str:
    if not options:
        return "of no transport the costs are known"
    first = options[0]
    return f"{first.name} comes nearest and fails by {'; '.join(first.fails)}"


def _caveats(
    need: Need, costs: Costs, options: Sequence[Option], missing: Sequence[str]
) -> list[str]:
    machine = costs.machine
    found = list(_warned(costs))
    found += [note for option in options for note in option.notes]
    if need.browser:
        found.append(
            "a browser has six connections to a host over HTTP/1.1, for all its tabs together; CPU "
            "was measured with the shorter heads of Python"
        )
    if need.members > DEFAULT.sessions or need.clients > DEFAULT.connections:
        found.append(
            f"the settings must allow it: they let {DEFAULT.sessions:,} into a room and take "
            f"{DEFAULT.connections:,} connections of an address"
        )
    if missing:
        found.append(f"not weighed, for no costs of them are known: {', '.join(missing)}")
    found += [
        f"CPU and memory: {costs.how}; on {machine.cpu}, {machine.cores} cores, {machine.kernel}",
        *_stretched(need, costs, options),
        "bytes: TCP's payload both ways, from the closed form; latency: theory, for one link "
        "without loss, and the time to reach everyone in a room",
        *_of_p95(need, options),
    ]
    return found


def _warned(costs: Costs) -> Iterator[str]:
    if costs.others_cpu > OTHERS_LIMIT:
        yield (
            f"CPU may be unstable: other programs took {costs.others_cpu:.1f} cores meanwhile. "
            "Close them and measure again."
        )


def _of_p95(need: Need, options: Sequence[Option]) -> Iterator[str]:
    """What is in a p95, and why there is none."""
    if not need.rate_per_s:
        yield "nothing is said and nothing delivered: no p95; compared is what silence costs"
        return
    none = [option.name for option in options if option.p95_s is None]
    if len(none) < len(options):
        yield QUEUE
    if none:
        yield (
            f"no p95 (-) of {', '.join(none)}: the server would need more than the one core it "
            "has, and its queue grows without bound"
        )


def _stretched(need: Need, costs: Costs, options: Sequence[Option]) -> list[str]:
    """How far beyond what was measured the need goes."""
    if not options:
        return []
    each = [costs.each[option.name] for option in options]
    clients = min(cost.clients for cost in each)
    times = max(
        option.exchanges_per_s / cost.exchanges_per_s
        for option, cost in zip(options, each, strict=True)
    )
    rounds = min(cost.rounds for cost in each)
    return [
        f"they are estimates: straight lines through the origin, from {clients} connections to "
        f"{need.clients:,} ({short(need.clients / clients)} times) and to at most {short(times)} "
        "times the exchanges a second; from-to are the least and the most of "
        f"{count(rounds, 'round')}, no interval of confidence; memory is of the first round's "
        "crowd, and of what a server allocates once"
    ]
