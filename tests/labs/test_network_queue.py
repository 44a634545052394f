"""The deadline queue, in virtual time: order, rate, delay, loss, drop-tail, nothing invented."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labs.net.line import Line
from labs.net.network import NETWORKS, Network
from labs.net.queue import MS, DeadlineQueue, S
from tests.labs.properties import PROPERTY
from tests.labs.virtual import run

PLAIN = Network("plain", delay_ms=10, up_bit_s=1_000_000, down_bit_s=8_000_000, queue_ms=60_000)

networks = st.builds(
    Network,
    name=st.just("any"),
    delay_ms=st.floats(0, 500),
    jitter_ms=st.floats(0, 50),
    up_bit_s=st.integers(10_000, 1_000_000_000),
    down_bit_s=st.just(1_000),
    loss=st.floats(0, 0.5),
    queue_ms=st.floats(1, 1_000),
)
arrivals = st.lists(st.tuples(st.integers(0, 50 * MS), st.integers(1, 1_500)), max_size=60)
Arrivals = list[tuple[int, int]]


def through(
    queue: DeadlineQueue[int], packets: Arrivals
) -> tuple[list[int], dict[int, int], list[bool]]:
    """Put packets in, and take each out when it is due.

    Answers when each came, when those that left did, in that order, and which were taken in.
    """
    came_ns = list(accumulate(gap_ns for gap_ns, _ in packets))
    left_ns: dict[int, int] = {}

    def take_until(end_ns: int | None) -> None:
        while (due_ns := queue.due_ns) is not None and (end_ns is None or due_ns <= end_ns):
            assert not queue.take(due_ns - 1), "a packet left before its time"
            for said_ns, number in queue.take(due_ns):
                assert said_ns == due_ns
                assert number not in left_ns, "a packet left twice"
                left_ns[number] = due_ns

    taken = []
    for number, (now_ns, (_, size)) in enumerate(zip(came_ns, packets, strict=True)):
        take_until(now_ns)
        taken.append(queue.put(now_ns, size, number))
    take_until(None)
    return came_ns, left_ns, taken


def sending_ns(size: int, network: Network) -> float:
    return size * 8 * S / network.up_bit_s


@PROPERTY
@given(networks, arrivals, st.integers(0, 9))
def test_what_is_taken_in_leaves_once_in_order_and_nothing_else(
    network: Network, packets: Arrivals, seed: int
) -> None:
    queue = DeadlineQueue[int](network, "up", seed)
    _, left_ns, taken = through(queue, packets)
    assert list(left_ns) == [number for number, stayed in enumerate(taken) if stayed]
    assert list(left_ns.values()) == sorted(left_ns.values())
    counts = queue.counts
    assert counts.packets == len(packets)
    assert counts.bytes == sum(size for _, size in packets)
    assert counts.left_packets == len(left_ns)
    assert counts.left_bytes == sum(packets[number][1] for number in left_ns)
    assert counts.lost + counts.overflowed + counts.left_packets == counts.packets
    assert counts.waiting == 0


@PROPERTY
@given(networks, arrivals, st.integers(0, 9))
def test_nothing_is_sooner_than_its_sending_and_the_delay(
    network: Network, packets: Arrivals, seed: int
) -> None:
    came_ns, left_ns, _ = through(DeadlineQueue(network, "up", seed), packets)
    for number, at_ns in left_ns.items():
        least_ns = sending_ns(packets[number][1], network) + round(network.delay_ms * MS)
        assert at_ns - came_ns[number] >= least_ns - 1e-3


@PROPERTY
@given(networks, arrivals)
def test_without_jitter_it_is_a_wire_of_that_bandwidth(network: Network, packets: Arrivals) -> None:
    network = replace(network, jitter_ms=0.0)
    came_ns, left_ns, _ = through(DeadlineQueue(network, "up", 1), packets)
    delay_ns, free_ns = round(network.delay_ms * MS), 0
    for number, at_ns in left_ns.items():
        free_ns = max(free_ns, came_ns[number])
        took_ns = at_ns - delay_ns - free_ns
        # Rounded up to whole nanoseconds, packet by packet.
        assert 0 <= took_ns - sending_ns(packets[number][1], network) < 1 + 1e-3
        free_ns = at_ns - delay_ns
    for (_, one_ns), (other, other_ns) in pairwise(left_ns.items()):
        assert other_ns - one_ns >= sending_ns(packets[other][1], network) - 1e-3


@PROPERTY
@given(arrivals, st.integers(0, 9), st.floats(0.01, 0.5))
def test_which_are_lost_depends_on_the_seed_and_their_number_alone(
    packets: Arrivals, seed: int, loss: float
) -> None:
    network = replace(PLAIN, loss=loss)
    taken = through(DeadlineQueue(network, "up", seed), packets)[2]
    steady = DeadlineQueue[int](replace(network, delay_ms=0, jitter_ms=9), "up", seed)
    assert taken == [steady.put(number * S, 1, number) for number in range(len(packets))]


@pytest.mark.parametrize("loss", [0.001, 0.02, 0.5])
def test_the_share_of_losses_is_the_one_asked_for(loss: float) -> None:
    number = 100_000
    queue = DeadlineQueue[None](replace(PLAIN, loss=loss), "up", 5)
    for at in range(number):
        queue.put(at * S, 1, None)
    deviation = (number * loss * (1 - loss)) ** 0.5
    assert abs(queue.counts.lost - number * loss) < 4 * deviation


def test_losses_are_those_of_the_documented_sequence() -> None:
    network = replace(PLAIN, loss=0.3)
    chance = random.Random("7 down loss")
    expected = [chance.random() >= 0.3 for _ in range(1_000)]
    queue = DeadlineQueue[int](network, "down", 7)
    assert [queue.put(at * S, 1, at) for at in range(1_000)] == expected


def test_the_two_directions_and_two_seeds_differ() -> None:
    def fates(direction: str, seed: int) -> list[bool]:
        queue = DeadlineQueue[int](replace(PLAIN, loss=0.5), direction, seed)
        return [queue.put(at * S, 1, at) for at in range(64)]

    assert fates("up", 1) == fates("up", 1)
    assert len({tuple(fates(way, seed)) for way in ("up", "down") for seed in (1, 2)}) == 4


def test_a_restart_begins_chance_and_counts_anew() -> None:
    network = replace(PLAIN, loss=0.3, jitter_ms=5)
    queue, fresh = DeadlineQueue[int](network, "up", 3), DeadlineQueue[int](network, "up", 4)
    for at in range(50):
        queue.put(at * S, 100, at)
    waiting = queue.counts.waiting
    queue.restart(4)
    assert (queue.counts.packets, queue.counts.lost, queue.counts.waiting) == (waiting, 0, waiting)
    for number in range(50, 100):
        assert queue.put(number * S, 100, number) == fresh.put(number * S, 100, number)


@PROPERTY
@given(networks, arrivals)
def test_a_full_queue_drops_what_comes_and_no_other(network: Network, packets: Arrivals) -> None:
    network = replace(network, loss=0.0, jitter_ms=0.0)
    queue = DeadlineQueue[int](network, "up", 1)
    queue_ns, now_ns = round(network.queue_ms * MS), 0
    for number, (gap_ns, size) in enumerate(packets):
        now_ns += gap_ns
        waits_ns = queue.backlog_ns(now_ns)
        assert queue.put(now_ns, size, number) == (waits_ns <= queue_ns)


def test_a_burst_overflows_by_what_does_not_fit() -> None:
    # 1 Mbit/s: 1,250 bytes take 10 ms, so the first is sent and ten more may wait 100 ms.
    queue = DeadlineQueue[int](replace(PLAIN, queue_ms=100), "up", 1)
    taken = [queue.put(0, 1_250, number) for number in range(20)]
    assert taken == [True] * 11 + [False] * 9
    assert queue.counts.overflowed == 9


@PROPERTY
@given(networks, arrivals)
def test_a_stream_loses_nothing(network: Network, packets: Arrivals) -> None:
    queue = DeadlineQueue[int](network, "up", 1, lossless=True)
    assert list(through(queue, packets)[1]) == list(range(len(packets)))
    assert (queue.counts.lost, queue.counts.overflowed) == (0, 0)


def test_jitter_has_the_mean_asked_for_where_packets_are_far_apart() -> None:
    network = replace(PLAIN, jitter_ms=8.0)
    packets = [(S, 125)] * 20_000
    came_ns, left_ns, _ = through(DeadlineQueue(network, "up", 1), packets)
    added_ms = [(left_ns[n] - came_ns[n]) / MS - 10 - 1 for n in range(len(packets))]
    assert min(added_ms) >= 0
    # The mean of an exponential variable has its own standard deviation over the root of n.
    assert abs(sum(added_ms) / len(added_ms) - 8.0) < 4 * 8.0 / len(packets) ** 0.5


@pytest.mark.parametrize("network", NETWORKS.values(), ids=lambda network: str(network.name))
def test_a_line_gives_each_out_at_its_moment_on_the_clock(network: Network) -> None:
    async def main() -> None:
        loop, out = asyncio.get_running_loop(), list[tuple[int, float]]()
        queue, twin = DeadlineQueue[int](network, "up", 2), DeadlineQueue[int](network, "up", 2)
        line = Line(queue, lambda number: out.append((number, loop.time())))
        for number in range(200):
            twin.put(line.now_ns(), 500, number)
            line.put(500, number)
            await asyncio.sleep(0.003)
        await asyncio.sleep(60)
        expected = [(number, due_ns / 1e9) for due_ns, number in twin.take(100 * S)]
        assert [number for number, _ in out] == [number for number, _ in expected]
        for (_, at_s), (_, due_s) in zip(out, expected, strict=True):
            assert at_s == pytest.approx(due_s, abs=2e-9)
        assert line.passed().late_max_us <= 10

    run(main())
