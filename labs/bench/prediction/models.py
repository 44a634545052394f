"""From a schedule to bytes: how often each part of a transport happens while a window lasts.

Nothing is said but the schedule; an exchange takes no time; everyone had joined `age_s` before the
window, and had seen everyone join. Three models cover the five transports.

**Pushed** (streaming, websocket, socketio over a WebSocket). Messages of one instant make one
batch, or all that fall within the coalescing window after the first of them; without coalescing
each is one. Every client of the room is sent each batch. Heartbeats come every period T, whatever
is said: a client whose next is due at p has ceil((W - p) / T) of them in a window of W.

**Held** (longpolling, socketio over HTTP). A client always has a poll standing with the server:
there is one answer a batch, and one request after each answer. A long poll that nothing answers
ends after `hold_s`, and every answer begins that time anew: between two moments t_i and t_i+1 there
are ceil((t_i+1 - t_i) / hold_s) - 1 such ends. Engine.IO's pings come every period instead, each
with a pong posted. The head of a request counts where it went up, in the phase of what answers it;
the last one is unanswered at the end of the window, and is a heartbeat.

**Polled** (polling). Polls are made at p, p + T, p + 2T …. The moments t_i since the last poll are
one batch. With p unknown and uniform in [0, T), a poll brings something if a moment lies in the T
before it, so the number of those is expected to be the length of the union of [t_i, t_i + T)
divided by T:

    1 + sum of min(t_i+1 - t_i, T) / T        (the last gap ends with the window)

out of W / T polls; the others are empty. Sizes depend on how the moments fall into batches, and
that changes only where p passes a t_i modulo T: the mean over p is exact as a sum over the
intervals between these points. Past `PHASES` of them, so many evenly spaced p stand for all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from labs.bench.prediction.requests import Requests
from labs.bench.prediction.tally import ARRAY, Said, Tally, spoken, talk
from labs.bench.prediction.window import Held, Parts, Pushed, Room, Window
from labs.chat.delivery import BATCH_MESSAGES

PHASES = 128


def said_at_once(said: Sequence[Said]) -> Iterator[list[Said]]:
    """Messages by sender and instant, in order of time."""
    groups: dict[tuple[float, str], list[Said]] = {}
    for one in said:
        groups.setdefault((one.at_s, one.name), []).append(one)
    yield from groups.values()


def coalesced(said: Sequence[Said], coalesce_ms: float | None) -> list[list[Said]]:
    """The batches of a room: what one flush takes."""
    groups: list[list[Said]] = []
    for one in said:
        last = groups[-1] if groups else None
        within_s = (coalesce_ms or 0) / 1_000
        if coalesce_ms is not None and last and one.at_s <= last[0].at_s + within_s:
            last.append(one)
        else:
            groups.append([one])
    return groups


def sent(parts: Parts, room: Room, window: Window) -> None:
    """What goes up, and what answers it there and then."""
    for said in said_at_once(room.said):
        window.tally.take(parts.send(said))
        window.sending.take(parts.send(said))
    window.counts.messages += len(room.said)
    window.counts.acks += len(room.said)
    window.counts.deliveries += len(room.said) * len(room.members)


def pushed(parts: Pushed, room: Room, window: Window, coalesce_ms: float | None) -> None:
    """What the server pushes."""
    members, period_s = len(room.members), parts.period_s
    for group in coalesced(room.said, coalesce_ms):
        for first in range(0, len(group), BATCH_MESSAGES):
            piece = group[first : first + BATCH_MESSAGES]
            window.tally.take(parts.delivery(piece), members)
            window.delivering.take(parts.delivery(piece), members)
            window.counts.batches += members
    times = sum(window.times(window.first_s(one, period_s), period_s) for one in room.members)
    window.tally.take(parts.heartbeat(), times)
    window.counts.heartbeats += times


def held(parts: Held, room: Room, window: Window, coalesce_ms: float | None) -> None:
    """What polls bring that wait for it."""
    groups = coalesced(room.said, coalesce_ms)
    alike: Counter[tuple[float, str]] = Counter()
    senders = {one.name for one in room.said}
    for member in room.members:
        name = f"client{member}" if f"client{member}" in senders else ""
        alike[window.first_s(member, parts.period_s), name] += 1
    for (due_s, name), clients in alike.items():
        _held(parts, room.head, groups, name, due_s, window, clients)


def _held(
    parts: Held,
    head: int,
    groups: Sequence[Sequence[Said]],
    name: str,
    due_s: float,
    window: Window,
    clients: int,
) -> None:
    answers: list[tuple[Tally | None, int]] = []  # None for the end of a period
    for group in groups:
        at_s = group[0].at_s
        while due_s < at_s:
            answers.append((None, head))
            due_s += parts.period_s
        own = [one for one in group if one.name == name]
        *acks, batch = parts.answers(group, own)
        answers += [(one, head) for one in acks]
        for ack in acks:
            window.sending.take(parts.ask(head, "steady"), clients).take(ack, clients)
        window.delivering.take(parts.ask(head, "steady"), clients).take(batch, clients)
        head = group[-1].offset
        answers.append((batch, head))
        due_s = at_s + parts.period_s if parts.renewed else due_s
    answers += [(None, head)] * window.times(due_s, parts.period_s)
    phases = ["heartbeat" if one is None else "steady" for one, _ in answers]
    for (one, since), after in zip(answers, [*phases[1:], "heartbeat"], strict=True):
        window.tally.take(one or parts.idle(), clients)
        window.tally.take(parts.ask(since, after), clients)
        if one is None:
            window.tally.take(parts.idle_after(), clients)
    counts, news = window.counts, phases.count("steady")
    counts.polls += len(phases) * clients
    counts.polls_with_news += news * clients
    counts.batches += len(groups) * clients
    counts.heartbeats += (len(phases) - news) * clients


def polled(parts: Requests, room: Room, window: Window, _: float | None) -> None:
    """What polls bring that are made at an interval; they are not flushed to."""
    interval_s = parts.scene.settings.interval_s
    sums = _Sums(room.said)
    unknown = [member for member in room.members if window.due_s[member] is None]
    if unknown:
        for due_s, share in _phases(sums.moments_s, interval_s, window.length_s):
            _polled(parts, room.head, sums, due_s, window, share * len(unknown))
    for member in room.members:
        known_s = window.due_s[member]
        if known_s is not None:
            _polled(parts, room.head, sums, known_s, window, 1)


class _Sums:
    """The envelope and text of any run of messages, by sums over all before."""

    def __init__(self, said: Sequence[Said]) -> None:
        self.moments_s = [one.at_s for one in said]
        self.offsets = [one.offset for one in said]
        self._around = [0, *accumulate(map(talk, said))]
        self._text = [0, *accumulate(spoken(one.text) for one in said)]

    def batch(self, begin: int, end: int) -> tuple[int, int]:
        around = self._around[end] - self._around[begin] + ARRAY + end - begin - 1
        return around, self._text[end] - self._text[begin]


def _phases(
    moments_s: Sequence[float], interval_s: float, length_s: float
) -> Iterator[tuple[float, float]]:
    """Phases that stand for all, each with its share."""
    points = {at_s % interval_s for at_s in (*moments_s, length_s)}
    if len(points) > PHASES:
        points = {index * interval_s / PHASES for index in range(PHASES)}
    for begin_s, end_s in pairwise(sorted({0.0, *points, interval_s})):
        yield (begin_s + end_s) / 2, (end_s - begin_s) / interval_s


def _polled(
    parts: Requests, head: int, sums: _Sums, due_s: float, window: Window, clients: float
) -> None:
    interval_s = parts.scene.settings.interval_s
    polls, seen, news, steady = window.times(due_s, interval_s), 0, 0, Tally()
    empty: Counter[int] = Counter()  # by how far the client has seen
    for index in range(polls):
        end = bisect_right(sums.moments_s, due_s + index * interval_s)
        if end == seen:
            empty[head] += 1
            continue
        steady.take(parts.ask(head, "steady")).take(parts.bring(*sums.batch(seen, end)))
        seen, head, news = end, sums.offsets[end - 1], news + 1
    window.tally.take(steady, clients)
    window.delivering.take(steady, clients)
    for since, times in empty.items():
        window.tally.take(parts.ask(since, "heartbeat"), times * clients)
        window.tally.take(parts.nothing(), times * clients)
    counts = window.counts
    counts.polls += polls * clients
    counts.polls_with_news += news * clients
    counts.batches += news * clients
    counts.heartbeats += (polls - news) * clients
