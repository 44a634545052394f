"""The load of the instrument: workloads, schedules, the open loop, and every message's fate."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from time import monotonic_ns
from typing import Any

import pytest

from labs.bench.load import Player, until
from labs.bench.record import FATES, ClockError, LossLedger
from labs.bench.schedule import Tick, schedule
from labs.bench.workload import WORKLOADS, Workload, find
from labs.chat import Message
from labs.errors import LabError, UsageError

S = 1_000_000_000


def workload(**changes: Any) -> Workload:
    return Workload("test", "a question?", "질문?", **changes)


# Workloads


def test_an_unknown_workload_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean paced"):
        find("paces")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clients": 0}, "clients is 0; give 1 to 1000"),
        ({"korean_share": 1.5}, "korean_share is 1.5"),
        ({"rate_per_s": 0.1}, "rate_per_s is too low"),
        ({"settings": {"hold": 3}}, "no setting is called 'hold'"),
        ({"settings": {"hold_s": -1}}, "hold_s is -1"),
    ],
)
def test_a_bad_workload_says_what_is_allowed(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        workload(**changes)


# Schedules


@pytest.mark.parametrize("name", [name for name, each in WORKLOADS.items() if each.messages])
def test_a_schedule_is_its_seed(name: str) -> None:
    each = WORKLOADS[name]
    assert schedule(each, 7, 1) == schedule(each, 7, 1)
    assert schedule(each, 7, 1) != schedule(each, 8, 1)
    assert schedule(each, 7, 1) != schedule(each, 7, 2)


@pytest.mark.parametrize("arrivals", ["constant", "poisson", "burst"])
def test_a_schedule_has_its_messages_within_its_time(arrivals: Any) -> None:
    each = workload(arrivals=arrivals, duration_s=4.0, rate_per_s=50.0, clients=7)
    ticks = schedule(each, 1, 1)
    moments = [tick.at_ns for tick in ticks]
    assert len(ticks) == each.messages == 200
    assert moments == sorted(moments)
    assert moments[0] >= 0
    assert moments[-1] <= 4 * S
    assert {tick.sender for tick in ticks} == set(range(7))


def test_arrivals_are_what_they_are_called() -> None:
    def gaps(arrivals: Any) -> list[int]:
        each = workload(arrivals=arrivals, duration_s=100.0, rate_per_s=20.0)
        moments = [tick.at_ns for tick in schedule(each, 3, 1)]
        return [b - a for a, b in pairwise(moments)]

    assert max(gaps("constant")) - min(gaps("constant")) <= 1
    poisson = gaps("poisson")
    mean = sum(poisson) / len(poisson)
    deviation = (sum((gap - mean) ** 2 for gap in poisson) / len(poisson)) ** 0.5
    assert deviation / mean == pytest.approx(1.0, abs=0.1)  # as an exponential has it
    assert len([gap for gap in gaps("burst") if gap]) == 2_000 // 50 - 1


def test_texts_are_distinct_of_drawn_length_and_partly_korean() -> None:
    each = workload(duration_s=100.0, rate_per_s=20.0, chars_most=60)
    texts = [tick.text for tick in schedule(each, 1, 1)]
    korean = [text for text in texts if any("가" <= char <= "힣" for char in text)]
    lengths = sorted(len(text) for text in texts)
    assert len(set(texts)) == 2_000
    assert 0.4 < len(korean) / 2_000 < 0.6
    assert lengths[1_000] == pytest.approx(24, abs=3)
    assert lengths[-1] <= 60


# Open loop


async def test_a_send_that_is_never_answered_delays_no_other() -> None:
    ticks, begun, never = [Tick(n * 1_000_000, 0, f"#{n}") for n in range(50)], [], asyncio.Event()

    async def send(tick: Tick) -> None:
        begun.append(tick.text)
        await never.wait()

    player = Player(ticks)
    await player.play(monotonic_ns(), send)
    await asyncio.sleep(0)
    assert begun == [tick.text for tick in ticks]
    await player.finish(within_s=0.01)


async def test_what_a_late_generator_adds_is_seen() -> None:
    ticks = [Tick(0, 0, "#0"), Tick(1_000_000, 0, "#1"), Tick(2_000_000, 0, "#2")]

    async def send(tick: Tick) -> None:
        if tick.text == "#0":
            time.sleep(0.05)  # noqa: ASYNC251 (the generator has something else to do)

    player = Player(ticks)
    start_ns = monotonic_ns()
    await player.play(start_ns, send)
    await player.finish(within_s=1)
    assert player.intended_ns == [start_ns, start_ns + 1_000_000, start_ns + 2_000_000]
    assert min(player.lags_ns[1:]) > 45_000_000


async def test_a_failed_send_is_not_swallowed() -> None:
    async def send(tick: Tick) -> None:
        raise LabError("refused")

    player = Player([Tick(0, 0, "#0")])
    await player.play(monotonic_ns(), send)
    with pytest.raises(LabError, match="refused"):
        await player.finish(within_s=1)


async def test_until_never_returns_early() -> None:
    for after_ns in (-5, 0, 10_000, 3_000_000):
        moment_ns = monotonic_ns() + after_ns
        await until(moment_ns)
        assert monotonic_ns() >= moment_ns


# Fates

TICKS = [Tick(n * S, 0, f"#{n}") for n in range(3)]


def talk(index: int, offset: int | None = None) -> Message:
    return Message(offset or index + 1, "talk", "ann", f"#{index}", 0)


def ledger(*seen: tuple[Message, int]) -> LossLedger:
    """A ledger of one client that saw these messages, each so many ns after it was meant."""
    book = LossLedger(TICKS, 1)
    book.begin([tick.at_ns for tick in TICKS])
    for message, after_ns in seen:
        book.saw(0, message, int(message.text[1:]) * S + after_ns)
    return book


def fates(book: LossLedger, late_s: float = 1.0) -> list[str]:
    return [book.fate(index, 0, late_s) for index in range(3)]


def test_delivered() -> None:
    book = ledger((talk(0), 5), (talk(1), 5), (talk(2), 5))
    assert fates(book) == ["delivered"] * 3
    assert book.complete.is_set()
    assert book.verdict(1.0) == ({**dict.fromkeys(FATES, 0), "delivered": 3}, [])


def test_lost() -> None:
    book = ledger((talk(0), 5), (talk(2), 5))
    assert fates(book) == ["delivered", "lost", "delivered"]
    assert not book.complete.is_set()
    assert book.verdict(1.0)[1] == ["message 1 at client 0: lost"]


def test_duplicate() -> None:
    book = ledger((talk(0), 5), (talk(1), 5), (talk(1), 9), (talk(2), 5))
    assert fates(book) == ["delivered", "duplicate", "delivered"]
    assert book.verdict(1.0)[1] == ["message 1 at client 0: duplicate"]


def test_reordered() -> None:
    book = ledger((talk(0), 5), (talk(2), 5), (talk(1), 5))
    assert fates(book) == ["delivered", "reordered", "delivered"]
    assert book.verdict(1.0)[1] == ["message 1 at client 0: reordered"]


def test_reordered_between_clients() -> None:
    book = LossLedger(TICKS[:2], 2)
    book.begin([0, 0])
    book.saw(0, talk(0, offset=1), 5)
    book.saw(0, talk(1, offset=2), 5)
    book.saw(1, talk(1, offset=1), 5)
    book.saw(1, talk(0, offset=2), 5)
    assert [book.fate(index, 1, 1.0) for index in (0, 1)] == ["reordered", "reordered"]


def test_recovered() -> None:
    book = ledger((talk(0), 5), (talk(1), 900), (talk(2), 5))
    book.broke(0, 1 * S + 300)
    assert fates(book) == ["delivered", "recovered", "delivered"]
    assert book.verdict(1.0)[1] == []


def test_late_is_told_but_is_not_wrong() -> None:
    book = ledger((talk(0), 5), (talk(1), 2 * S), (talk(2), 5))
    assert fates(book) == ["delivered", "late", "delivered"]
    assert book.verdict(1.0)[1] == []


def test_what_nobody_sent_is_foreign_and_what_was_altered_is_lost_too() -> None:
    book = ledger((talk(0), 5), (talk(1), 5))
    book.saw(0, Message(3, "talk", "ann", "#2?", 0), 3 * S)
    book.saw(0, Message(4, "join", "#2", "", 0), 3 * S)
    assert book.foreign == 1
    assert fates(book)[2] == "lost"


def test_a_negative_latency_raises() -> None:
    book = ledger((talk(0), 5), (talk(1), -1))
    with pytest.raises(ClockError, match="1 ns before it was sent"):
        book.latencies_ns([tick.at_ns for tick in TICKS])


def test_latency_counts_from_the_moment_it_is_asked_for() -> None:
    book = ledger((talk(0), 500_000), (talk(1), 700_000))
    intended = [tick.at_ns for tick in TICKS]
    begun = [at_ns + 100_000 for at_ns in intended]
    assert sorted(book.latencies_ns(intended)) == [500_000, 700_000]
    assert sorted(book.latencies_ns(begun)) == [400_000, 600_000]
