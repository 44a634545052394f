"""The floor: its figures hold together, what arrives is checked, and nothing is left running."""

from __future__ import annotations

import asyncio
import os

import msgspec
import psutil
import pytest

from labs import loops
from labs.bench import floor, floor_probe
from labs.bench.floor import Floor, Lateness, RoundTrips
from labs.bench.floor_probe import CONNECTIONS, FRAME_BYTES
from labs.bench.floor_rows import describe
from labs.errors import LabError
from tests.need import need

SHARE_S = 0.02  # the figures are of no account here, only that they hold together


def ours() -> list[int]:
    """Our children that belong to a floor."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if any("labs.bench.floor" in word for word in child.cmdline()):
                found.append(child.pid)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture(scope="module")
def measured() -> Floor:
    found = asyncio.run(floor.measure(share_s=SHARE_S))
    assert ours() == []
    return found


def test_measures_on_the_loop_of_the_generator(measured: Floor) -> None:
    assert measured.loop == loops.name()


def test_percentiles_are_in_order(measured: Floor) -> None:
    assert measured.tap
    for found in (measured.ping, measured.websocket, measured.tap):
        assert 0 < found.min_us <= found.p50_us <= found.p99_us
    late = measured.timer
    assert 0 <= late.p50_us <= late.p99_us <= late.max_us


def test_there_is_one_of_each_kind_of_round_trip_in_turn(measured: Floor) -> None:
    assert measured.tap
    assert measured.ping.n == measured.websocket.n == measured.tap.n >= 1
    assert measured.timer.n >= 1


def test_the_ratio_is_of_the_medians(measured: Floor) -> None:
    assert measured.ratio * measured.ping.p50_us == pytest.approx(measured.websocket.p50_us)


def test_what_the_tap_adds_is_a_difference_of_medians(measured: Floor) -> None:
    assert measured.tap
    assert measured.tap.min_us > measured.ping.min_us, "there are two sockets more on the way"
    assert measured.ping.p50_us + measured.tap_us == pytest.approx(measured.tap.p50_us)


def test_the_fan_out_is_whole_rounds(measured: Floor) -> None:
    found = measured.fanout
    assert (found.connections, found.frame_bytes) == (CONNECTIONS, FRAME_BYTES)
    assert found.deliveries >= CONNECTIONS
    assert found.deliveries % CONNECTIONS == 0
    assert found.per_s * found.seconds == pytest.approx(found.deliveries)
    assert 0 < found.sender_cpu < 2  # of a core; each end is one thread
    assert 0 < found.receiver_cpu < 2


def test_the_clock_moves(measured: Floor) -> None:
    assert measured.clock.step_ns >= 1
    assert measured.clock.cost_ns > 0


def test_goes_into_a_result_and_back(measured: Floor) -> None:
    data = msgspec.json.encode(measured)
    assert msgspec.json.decode(data, type=Floor) == measured
    assert len(data) < 2_000


def test_percentiles_are_by_nearest_rank() -> None:
    found = RoundTrips.of([number * 1_000 for number in range(200, 0, -1)])
    assert (found.n, found.min_us, found.p50_us, found.p99_us) == (200, 1.0, 100.0, 198.0)
    late = Lateness.of([3_000])
    assert (late.n, late.p50_us, late.p99_us, late.max_us) == (1, 3.0, 3.0, 3.0)


def test_every_row_says_what_it_rests_on(measured: Floor) -> None:
    rows = describe(measured)
    assert len(rows) == len({row.label for row in rows}) == 6
    for row in rows:
        assert "n = " in row.note
        assert "n = " in row.note_ko
        assert row.label != row.label_ko
        assert row.advice.endswith(".")
    assert f"n = {measured.fanout.deliveries:,} deliveries" in rows[3].note
    assert measured.loop in rows[1].note


def slowed(found: Floor) -> Floor:
    """The same floor, on a machine a thousand times slower."""
    given = msgspec.to_builtins(found)
    given["ping"]["p50_us"] = 100_000.0
    given["websocket"]["p50_us"] = 1_000_000.0
    given["tap"]["p50_us"] = 300_000.0
    given["timer"]["p99_us"] = given["timer"]["max_us"] = 50_000.0
    given["fanout"]["seconds"] *= 1_000
    given["clock"]["step_ns"] = 1_000_000
    return msgspec.convert(given, Floor)


def test_what_falls_short_is_not_met(measured: Floor) -> None:
    assert not any(row.met for row in describe(slowed(measured)))


@pytest.mark.parametrize(
    ("sender", "receiver", "limit"),
    [
        (0.99, 0.6, "the sender was the limit"),
        (0.7, 0.98, "the receiver was the limit"),
        (0.4, 0.3, "other programs, or the kernel, were the limit"),
    ],
)
def test_says_what_limited_the_fan_out(
    measured: Floor, sender: float, receiver: float, limit: str
) -> None:
    fanout = msgspec.structs.replace(measured.fanout, sender_cpu=sender, receiver_cpu=receiver)
    row = describe(msgspec.structs.replace(measured, fanout=fanout))[3]
    assert limit in row.note
    assert limit in row.advice


async def begun() -> asyncio.Task[Floor]:
    """A measurement that would take long, with both its processes there."""
    measuring = asyncio.create_task(floor.measure(share_s=5.0))
    while len(ours()) < 2:
        assert not measuring.done()
        await asyncio.sleep(0.01)
    return measuring


@pytest.mark.parametrize("which", ["floor_peer", "floor_probe"])
async def test_a_process_that_dies_is_an_error_and_leaves_nothing(which: str) -> None:
    measuring = await begun()
    (victim,) = (pid for pid in ours() if any(which in it for it in psutil.Process(pid).cmdline()))
    psutil.Process(victim).kill()
    with pytest.raises(LabError):
        await measuring
    assert ours() == []


async def test_given_up_half_way_it_leaves_nothing() -> None:
    measuring = await begun()
    measuring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await measuring
    assert ours() == []


def test_a_core_is_held_no_longer_than_needed() -> None:
    need(hasattr(os, "sched_getaffinity"), "Linux is needed to hold a process on one core.")
    before = os.sched_getaffinity(0)
    with floor_probe._pinned(max(before)):
        assert os.sched_getaffinity(0) == {max(before)}
    assert os.sched_getaffinity(0) == before
    with floor_probe._pinned(None):
        assert os.sched_getaffinity(0) == before
