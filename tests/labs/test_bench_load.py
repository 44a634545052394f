"""The load of the instrument: workloads, schedules, the open loop, and every message's fate."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from pathlib import Path
from time import monotonic_ns
from typing import Any

import numpy as np
import pytest

from labs.bench.crowd import abreast
from labs.bench.load import Job
from labs.bench.player import Player
from labs.bench.record import (
    FATES,
    ClockError,
    LossLedger,
    Outcome,
    histogram,
    latencies_ns,
    merged,
    packed,
    timeline,
    together,
)
from labs.bench.schedule import Tick, phases, schedule
from labs.bench.workload import WORKLOADS, Workload, find
from labs.errors import LabError, UsageError

S = 1_000_000_000


def workload(**changes: Any) -> Workload:
    return Workload(name="test", **changes)


# Workloads


def test_an_unknown_workload_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean paced"):
        find("paces")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clients": 0}, "clients is 0; give 1 to 20000"),
        ({"korean_share": 1.5}, "korean_share is 1.5"),
        ({"rate_per_s": 0.1}, "rate_per_s is too low"),
        ({"settings": {"hold": 3}}, "no setting is called 'hold'"),
        ({"settings": {"hold_s": -1}}, "hold_s is -1"),
        ({"arrivals": "often"}, "arrivals is 'often'; give one of none, constant"),
        ({"senders": 30}, "cannot be more than clients"),
        ({"cut_at_s": 2.0}, "cut_at_s must be before duration_s"),
        ({"headers": "chromium"}, "probes = 0"),
        ({"keep_alive": False, "probes": 0, "settings": {"compress": True}}, "leave compress"),
    ],
)
def test_a_bad_workload_says_what_is_allowed(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        workload(**changes)


def test_a_sender_the_chat_would_hold_back_is_refused() -> None:
    """In 2 s a session may make 100 requests at once and 50 a second more: 100 a second."""
    once = {"senders": 1, "duration_s": 2.0, "warmup_s": 0.0}
    with pytest.raises(UsageError, match=r"rate_per_s is 101 of 1 sender; give 0 to 100, for the"):
        workload(rate_per_s=101.0, **once)
    assert workload(rate_per_s=100.0, **once).messages == 200
    assert workload(rate_per_s=200.0, **{**once, "senders": 2}).messages == 400
    assert workload(rate_per_s=101.0, settings={"rate_per_s": 51.0}, **once).messages == 202
    assert workload(rate_per_s=101.0, loop="closed", **once).messages == 202, "it waits anyway"


FILE = """
like = "paced"
question = "How does my class talk?"
clients = 12
korean_share = 1.0
[settings]
interval_s = 0.5
coalesce_ms = "off"
"""


def test_a_file_is_a_workload_too(tmp_path: Path) -> None:
    path = tmp_path / "class.toml"
    path.write_text(FILE)
    found = find(str(path))
    assert (found.name, found.clients, found.korean_share) == ("class", 12, 1.0)
    assert found.settings == {"interval_s": 0.5, "coalesce_ms": None}
    assert found.rate_per_s == WORKLOADS["paced"].rate_per_s


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("client = 3", r"class.toml: a workload has no 'client'; did you mean clients\?"),
        ("clients = 'many'", r"class.toml: clients is 'many'; give a whole number from 1 to 20000"),
        ("clients = 5.5", r"class.toml: clients is 5.5; give a whole number from 1 to 20000"),
        ("clients = 0", r"class.toml: workload class: clients is 0; give 1 to 20000"),
        ("rate_per_s = true", r"class.toml: rate_per_s is True; give 0 to 100000"),
        ("keep_alive = 1", r"class.toml: keep_alive is 1; give true or false"),
        ("name = 3", r"class.toml: name is 3; give a text"),
        ("arrivals = 'often'", r"class.toml: arrivals is 'often'; give one of none, constant, po"),
        ("arrivals = 3", r"class.toml: arrivals is 3; give one of none, constant, poisson, burst"),
        ("loop = 'round'", r"class.toml: loop is 'round'; give one of open, closed"),
        ("headers = ['python']", r"class.toml: headers is \['python'\]; give one of python, chrom"),
        ("like = 'loud'", r"class.toml: like is 'loud'; give one of idle, paced"),
        ("like = ['paced']", r"class.toml: like is \['paced'\]; give one of idle, paced"),
        ("settings = 3", r"class.toml: settings is 3; give a table of settings"),
        ("settings = {hold = 1}", r"class.toml: .*no setting is called 'hold'; did you mean hold_"),
        ("settings = {qqq = 1}", r"class.toml: .*no setting is called 'qqq'; there are room, "),
        ("settings = {hold_s = 'x'}", r"class.toml: .*hold_s is 'x'; give a number above 0"),
        ("settings = {hold_s = 0}", r"class.toml: .*settings: hold_s is 0; give a positive number"),
        ("settings = {retention = 2.5}", r"class.toml: .*retention is 2.5; give a whole number ab"),
        ("settings = {compress = 1}", r"class.toml: .*compress is 1; give true or false"),
        ("settings = {transports = 1}", r"class.toml: .*transports is 1; give a list of texts"),
        ("settings = {coalesce_ms = 'no'}", r"class.toml: .*coalesce_ms is 'no'; .* or \"off\""),
        (
            "senders = 1\nrate_per_s = 200",
            r"class.toml: .*rate_per_s is 200 of 1 sender; give 0 to",
        ),
        ("clients 3", r"class.toml is no TOML"),
    ],
)
def test_a_bad_file_names_file_key_and_range(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "class.toml"
    path.write_text(line)
    with pytest.raises(UsageError, match=said):
        find(str(path))
    with pytest.raises(UsageError, match=r"nowhere\.toml: No such file"):
        find(str(tmp_path / "nowhere.toml"))


def test_rooms_share_the_clients_out() -> None:
    each = workload(clients=7, rooms=3)
    assert [each.members(room) for room in range(3)] == [3, 2, 2]


# Joining


@pytest.mark.parametrize(
    ("clients", "in_order", "at_once"), [(20, True, 1), (20, False, 50), (200, True, 50)]
)
def test_only_a_small_crowd_whose_order_matters_joins_one_by_one(
    clients: int, in_order: bool, at_once: int
) -> None:
    assert abreast(clients, in_order) == at_once


def test_joining_may_take_longer_where_a_round_trip_does() -> None:
    def job(clients: int, rtt_s: float) -> Job:
        crowd = workload(clients=clients)
        return Job("socketio", "http://x", crowd, 1, 1, False, rtt_s=rtt_s)

    near_s, far_s = job(1_000, 0.0).join_s, job(1_000, 0.56).join_s
    turns, trips = 1_000 // 50, 8  # what Socket.IO needs of a handshake, a probe and a join
    assert far_s - near_s >= turns * trips * 0.56
    assert job(20, 0.56).join_s - job(20, 0.0).join_s >= trips * 0.56


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


# Open and closed loops


def player(ticks: list[Tick], start_ns: int, send: Any) -> Player:
    return Player(dict(enumerate(ticks)), start_ns, send)


async def test_a_send_that_is_never_answered_delays_no_other() -> None:
    ticks, begun, never = [Tick(n * 1_000_000, 0, f"#{n}") for n in range(50)], [], asyncio.Event()

    async def send(_: int, tick: Tick) -> None:
        begun.append(tick.text)
        await never.wait()

    playing = player(ticks, monotonic_ns(), send)
    await playing.open_loop()
    await asyncio.sleep(0)
    assert begun == [tick.text for tick in ticks]
    await playing.finish(within_s=0.01)


async def test_what_a_late_generator_adds_is_seen() -> None:
    ticks = [Tick(0, 0, "#0"), Tick(1_000_000, 0, "#1"), Tick(2_000_000, 0, "#2")]

    async def send(_: int, tick: Tick) -> None:
        if tick.text == "#0":
            time.sleep(0.05)  # noqa: ASYNC251 (the generator has something else to do)

    start_ns = monotonic_ns()
    playing = player(ticks, start_ns, send)
    await playing.open_loop()
    await playing.finish(within_s=1)
    assert min(playing.begun_ns[index] - start_ns for index in (1, 2)) > 45_000_000


async def test_a_closed_loop_omits_what_its_senders_had_to_wait_for() -> None:
    """One answer takes as long as all the window: what was meant for it is late, or never sent."""
    ticks = [Tick(n * 10_000_000, 0, f"#{n}") for n in range(8)] + [Tick(70_000_000, 1, "#8")]
    answer = asyncio.Event()

    async def send(_: int, tick: Tick) -> None:
        if tick.text == "#2":
            await answer.wait()

    start_ns = monotonic_ns()
    playing = player(ticks, start_ns, send)
    playing.closed_loop(think_s=0.0, end_ns=start_ns + 80_000_000)
    await playing.until(start_ns + 80_000_001)
    answer.set()
    await playing.finish(within_s=1)
    assert sorted(playing.begun_ns) == [0, 1, 2, 8], "the other sender did not wait"


async def test_the_warm_up_of_a_closed_loop_ends_when_the_window_begins() -> None:
    """Its answers take so long that most of it has had no turn by then."""
    ticks = [Tick(-n * 1_000_000, 0, f"#{n}") for n in range(30, 0, -1)]
    ticks += [Tick(n * 1_000_000, 0, f"#{n}") for n in range(3)]

    async def send(_: int, __: Tick) -> None:
        await answered.wait()

    answered, start_ns = asyncio.Event(), monotonic_ns() + 40_000_000
    playing = player(ticks, start_ns, send)
    playing.closed_loop(think_s=0.0, end_ns=start_ns + S)
    await playing.until(start_ns + 1)
    answered.set()
    await playing.finish(within_s=5)
    assert sorted(playing.begun_ns) == [0, 30, 31, 32], "the first of each, and all of the window"


async def test_waiting_for_a_moment_is_not_counted_as_work() -> None:
    playing = player([], 0, None)
    await playing.calibrate()
    await playing.until(monotonic_ns() + 1_000_000)
    idle_ns = playing.spun_ns
    assert 0 < idle_ns <= 1_200_000
    busy = asyncio.create_task(work(40))  # in every turn of the loop, as a crowd that receives
    await playing.until(monotonic_ns() + 1_000_000)
    await busy
    assert playing.spun_ns - idle_ns < idle_ns, "a turn in which there was work is no waiting"


async def work(turns: int) -> None:
    """Work of some twenty microseconds a turn."""
    for _ in range(turns):
        end_ns = monotonic_ns() + 20_000
        while monotonic_ns() < end_ns:
            pass
        await asyncio.sleep(0)


async def test_a_closed_loop_begins_nothing_early() -> None:
    """A sender that is always ahead of the schedule waits for each moment."""
    ticks = [Tick(n * 2_000_000, 0, f"#{n}") for n in range(40)]

    async def send(_: int, __: Tick) -> None:
        pass

    start_ns = monotonic_ns()
    playing = player(ticks, start_ns, send)
    playing.closed_loop(think_s=0.0, end_ns=start_ns + S)
    await playing.finish(within_s=5)
    assert len(playing.begun_ns) == 40
    assert all(playing.begun_ns[i] >= start_ns + tick.at_ns for i, tick in enumerate(ticks))


async def test_sends_that_are_never_answered_are_counted() -> None:
    never = asyncio.Event()

    async def send(index: int, _: Tick) -> None:
        if index:
            await never.wait()

    playing = player([Tick(0, 0, "#0"), Tick(0, 0, "#1")], monotonic_ns(), send)
    await playing.open_loop()
    assert await playing.finish(within_s=0.01) == 1


async def test_a_failed_send_is_not_swallowed() -> None:
    async def send(_: int, tick: Tick) -> None:
        raise LabError("refused")

    playing = player([Tick(0, 0, "#0")], monotonic_ns(), send)
    await playing.open_loop()
    with pytest.raises(LabError, match="refused"):
        await playing.finish(within_s=1)


async def test_until_never_returns_early() -> None:
    for after_ns in (-5, 0, 10_000, 3_000_000):
        moment_ns = monotonic_ns() + after_ns
        await player([], 0, None).until(moment_ns)
        assert monotonic_ns() >= moment_ns


# Fates

TICKS = [Tick(n * S, 0, f"#{n}") for n in range(3)]
INTENDED_NS = np.array([S + tick.at_ns for tick in TICKS])


def ledger(*seen: tuple[int, int]) -> LossLedger:
    """A ledger of one client that saw these messages, each so many ns after it was meant."""
    book = LossLedger(TICKS, workload(clients=1, late_s=1.0), [0])
    for index, after_ns in seen:
        book.arrived(0, index, index + 1, int(INTENDED_NS[index]) + after_ns)
    return book


def fates(book: LossLedger, client: int = 0) -> list[str]:
    return book.fates(client, INTENDED_NS)


def wrong(book: LossLedger) -> list[str]:
    return book.verdict(INTENDED_NS)[1]


def test_delivered() -> None:
    book = ledger((0, 5), (1, 5), (2, 5))
    assert fates(book) == ["delivered"] * 3
    assert book.complete.is_set()
    assert book.verdict(INTENDED_NS) == ({**dict.fromkeys(FATES, 0), "delivered": 3}, [])


def test_lost() -> None:
    book = ledger((0, 5), (2, 5))
    assert fates(book) == ["delivered", "lost", "delivered"]
    assert not book.complete.is_set()
    assert wrong(book) == ["message 1 at client 0: lost"]


def test_duplicate() -> None:
    book = ledger((0, 5), (1, 5), (1, 9), (2, 5))
    assert fates(book) == ["delivered", "duplicate", "delivered"]
    assert wrong(book) == ["message 1 at client 0: duplicate"]


def test_reordered() -> None:
    book = ledger((0, 5), (2, 5), (1, 5))
    assert fates(book) == ["delivered", "reordered", "delivered"]
    assert wrong(book) == ["message 1 at client 0: reordered"]


def test_two_messages_at_one_offset_are_reordered() -> None:
    book = ledger((0, 5))
    book.arrived(0, 1, 1, 2 * S + 5)
    assert fates(book)[:2] == ["delivered", "reordered"]


def test_reordered_between_clients() -> None:
    book = LossLedger(TICKS, workload(clients=2), [0, 1])
    for client, index, offset in ((0, 0, 1), (0, 1, 2), (1, 1, 1), (1, 0, 2)):
        book.arrived(client, index, offset, 5 * S)
    assert fates(book, 1)[:2] == ["reordered", "reordered"]


def test_recovered_is_what_was_on_its_way_during_an_outage() -> None:
    book = ledger((0, 5), (1, S // 2), (2, 5))
    book.broke(0, int(INTENDED_NS[1]) - 300)  # said while the client was away
    book.broke(0, int(INTENDED_NS[1]) - 200)  # seen again, but the same outage
    book.back(0, int(INTENDED_NS[1]) + 300)
    assert fates(book) == ["delivered", "recovered", "delivered"]
    assert not wrong(book)


def test_an_outage_goes_on_until_the_client_is_back() -> None:
    book = ledger((0, 5), (1, 5), (2, 5))
    book.broke(0, int(INTENDED_NS[1]) + 3)
    assert fates(book) == ["delivered", "recovered", "recovered"]


def test_late_is_told_but_is_not_wrong() -> None:
    book = ledger((0, 5), (1, 2 * S), (2, 5))
    assert fates(book) == ["delivered", "late", "delivered"]
    assert not wrong(book)


def test_what_nobody_sent_is_foreign_and_what_was_altered_is_lost_too() -> None:
    book = ledger((0, 5), (1, 5))
    book.heard(0, "#2?", 3, 3 * S)
    book.arrived(0, 7, 4, 3 * S)
    assert fates(book)[2] == "lost"
    assert wrong(book)[1:] == ["2 messages came down that nobody sent"]


def test_a_message_belongs_to_its_room_only() -> None:
    crowd = workload(clients=4, rooms=2)
    book = LossLedger([Tick(0, 0, "#0"), Tick(0, 1, "#1")], crowd, [0, 1, 2, 3])
    for client, index in ((0, 0), (2, 0), (1, 1), (3, 1)):
        assert not book.complete.is_set()
        book.arrived(client, index, 3, 2 * S)
    assert book.complete.is_set()
    assert book.verdict(np.array([S, S]))[0]["delivered"] == 4
    assert book.text_bytes() == 8


def test_what_leaks_into_another_room_is_wrong_and_completes_nothing() -> None:
    crowd = workload(clients=2, rooms=2)
    book = LossLedger([Tick(0, 0, "#0"), Tick(0, 1, "#1")], crowd, [0, 1])
    book.arrived(0, 0, 3, S)
    book.arrived(1, 0, 3, S)
    assert not book.complete.is_set()
    book.arrived(1, 1, 4, S)
    assert book.complete.is_set()
    _, said = book.verdict(np.array([S, S]))
    assert said == ["1 messages came to a room in which they were not said"]


def test_what_a_closed_loop_never_sent_is_not_lost() -> None:
    book = ledger((0, 5), (1, 5))
    book.sent([0, 1])
    assert book.complete.is_set()
    assert not wrong(book)


def test_the_warm_up_has_fates_but_no_latency() -> None:
    book = LossLedger([Tick(-5, 0, "#0"), Tick(5, 0, "#1")], workload(clients=1), [0])
    book.arrived(0, 0, 1, S)
    book.arrived(0, 1, 2, S + 7)
    assert list(latencies_ns(book.arrivals(), np.array([0, S]))) == [7]
    assert book.verdict(np.array([0, S]))[0]["delivered"] == 2


def test_a_negative_latency_raises() -> None:
    book = ledger((0, 5), (1, -1))
    with pytest.raises(ClockError, match="1 ns before it was sent"):
        latencies_ns(book.arrivals(), INTENDED_NS)


def test_latency_counts_from_the_moment_it_is_asked_for() -> None:
    book = ledger((0, 500_000), (1, 700_000))
    begun = INTENDED_NS + 100_000
    assert sorted(latencies_ns(book.arrivals(), INTENDED_NS)) == [500_000, 700_000]
    assert sorted(latencies_ns(book.arrivals(), begun)) == [400_000, 600_000]


def test_a_timeline_has_each_delivery_in_the_slice_it_was_meant_for() -> None:
    book = ledger((0, 500_000), (1, 700_000), (2, 900_000))
    slices = timeline(book.arrivals(), INTENDED_NS, start_ns=S, window_s=2.0)
    counts = [merged([each]).get_total_count() for each in slices]
    assert [i for i, count in enumerate(counts) if count] == [0, 10, 19]
    assert merged([slices[10]]).get_max_value() == pytest.approx(700, abs=1)


# Several generators


def outcome(**changes: Any) -> Outcome:
    empty = packed(histogram())
    told: dict[str, Any] = dict.fromkeys(("corrected", "uncorrected", "probes", "back"), empty)
    numbers = {
        "text_bytes": 5,
        "missed_ticks": 1,
        "missed_polls": 2,
        "unsent": 0,
        "lag_most_ms": 2.0,
    }
    told |= {"fates": {"delivered": 3}, "wrong": [], "timeline": [empty], "generator_cpu": 0.5}
    return Outcome(**{**told, **numbers, **changes})


def test_outcomes_of_several_generators_are_one() -> None:
    a = outcome(corrected=packed(histogram([1_000_000])), wrong=["a"])
    b = outcome(
        corrected=packed(histogram([3_000_000])),
        lag_most_ms=9.0,
        generator_cpu=0.7,
        skipped=3,
        refused=7,
    )
    both = together([a, b])
    assert both.fates == {"delivered": 6}
    assert (both.text_bytes, both.missed_ticks, both.lag_most_ms) == (10, 2, 9.0)
    assert (both.generator_cpu, both.wrong) == (0.7, ["a"])
    assert (both.skipped, both.refused) == (3, 7)
    assert merged([both.corrected]).get_total_count() == 2


def test_phases_are_uniform_and_their_seed_s() -> None:
    where = phases(workload(clients=2_000), 1, 1)
    assert where == phases(workload(clients=2_000), 1, 1)
    assert sum(where) / 2_000 == pytest.approx(0.5, abs=0.03)
    assert all(0 <= phase < 1 for phase in where)


def test_a_warm_up_comes_before_and_does_not_change_the_window() -> None:
    each = workload(warmup_s=1.0, rate_per_s=20.0)
    cold, warm = schedule(each, 1, 1), schedule(each, 1, 1, warm=True)
    assert [tick.at_ns for tick in warm if tick.at_ns >= 0] == [tick.at_ns for tick in cold]
    assert len(warm) == len(cold) + 20
    assert [tick.text.split()[0] for tick in warm] == [f"#{n}" for n in range(60)]
