"""Delivery with connections that are full or not, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from labs.chat import Batch, Cursor, Message
from labs.chat.delivery import BATCH_MESSAGES, Delivery
from labs.chat.log import Log
from labs.errors import ChatError
from labs.settings import Settings
from tests.labs.properties import MACHINE
from tests.labs.virtual import VirtualLoop, run


class Frames:
    """A frame that can be taken apart again; counts how often it was made."""

    def __init__(self) -> None:
        self.made: list[Batch] = []

    def __call__(self, batch: Batch) -> bytes:
        self.made.append(batch)
        return b"%d;" % (len(self.made) - 1)

    def messages(self, data: bytes) -> list[Message]:
        return self.made[int(data.rstrip(b";"))].messages


class FakeSink:
    """A connection that takes everything until a test says that it is full."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.error: ChatError | None = None
        self.lost = False
        self.stopped = False
        self.drains = 0
        self._space = asyncio.Event()

    def full(self) -> bool:
        return self.stopped or self.lost or self.error is not None

    def write(self, data: bytes) -> None:
        assert not self.full(), "written to although it was full"
        self.written.append(data)

    async def drain(self) -> None:
        self.drains += 1
        self._space.clear()
        while self.stopped and not self.lost:
            await self._space.wait()
        if self.lost:
            raise ConnectionError("gone")

    def close(self, error: ChatError) -> None:
        self.error = error

    def go_on(self) -> None:
        self.stopped = False
        self._space.set()

    def lose(self) -> None:
        self.lost = True
        self._space.set()


class Hall:
    """A log, its delivery, and as many sinks as a test wants."""

    def __init__(self, **changes: object) -> None:
        settings = Settings().but(**changes)
        self.log = Log(settings.retention)
        self.delivery = Delivery(self.log, settings)
        self.frame = Frames()

    def say(self, messages: int = 1) -> None:
        for _ in range(messages):
            self.log.append("talk", "alice", "hi")
            self.delivery.appended()

    def follow(
        self, offset: int = 0, limit: int | None = BATCH_MESSAGES
    ) -> tuple[Cursor, FakeSink]:
        sink = FakeSink()
        cursor = Cursor(offset, self.frame, sink, limit)
        self.delivery.add(cursor)
        return cursor, sink

    def seen(self, sink: FakeSink) -> list[Message]:
        return [message for data in sink.written for message in self.frame.messages(data)]

    def offsets(self, sink: FakeSink) -> list[int]:
        return [message.offset for message in self.seen(sink)]


async def ticks(number: int = 3) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_one_flush_a_tick_and_one_frame_a_group() -> None:
    hall = Hall()
    sinks = [hall.follow()[1] for _ in range(50)]
    hall.say(40)
    assert hall.frame.made == []
    await asyncio.sleep(0)
    assert [len(batch.messages) for batch in hall.frame.made] == [40]
    for sink in sinks:
        assert len(sink.written) == 1
        assert sink.written[0] is sinks[0].written[0]


async def test_a_group_is_who_stands_at_the_same_place_and_takes_the_same_frame() -> None:
    hall = Hall()
    hall.say(5)
    other = Frames()
    followers = [hall.follow(offset) for offset in (0, 0, 3, 3, 5)]
    cursor = Cursor(3, other, FakeSink())
    hall.delivery.add(cursor)
    await asyncio.sleep(0)
    assert sorted(len(batch.messages) for batch in hall.frame.made) == [2, 5]
    assert [len(batch.messages) for batch in other.made] == [2]
    assert [hall.offsets(sink) for _, sink in followers] == [
        [1, 2, 3, 4, 5],
        [1, 2, 3, 4, 5],
        [4, 5],
        [4, 5],
        [],
    ]
    assert {one.offset for one, _ in followers} == {5}


async def test_who_is_at_the_head_costs_nothing() -> None:
    hall = Hall()
    hall.say(5)
    hall.follow(5)
    await ticks()
    assert hall.frame.made == []


async def test_nobody_there_is_nothing_to_do() -> None:
    hall = Hall()
    hall.say(5)
    await ticks()
    assert hall.frame.made == []


def test_a_window_coalesces_what_is_said_within_it() -> None:
    async def main() -> None:
        hall = Hall(coalesce_ms=10.0)
        _, sink = hall.follow()
        for _ in range(4):
            hall.say()
            await asyncio.sleep(0.003)
        await asyncio.sleep(0.1)
        # At 0, 3, 6 and 9 ms; the window that the first one opened ends at 10.
        assert [len(batch.messages) for batch in hall.frame.made] == [4]
        hall.say()
        await asyncio.sleep(0.009)
        assert len(hall.offsets(sink)) == 4
        await asyncio.sleep(0.002)
        assert hall.offsets(sink) == [1, 2, 3, 4, 5]

    run(main())


async def test_with_coalescing_off_each_message_is_a_frame_at_once() -> None:
    hall = Hall(coalesce_ms=None)
    sinks = [hall.follow()[1] for _ in range(10)]
    hall.say(5)
    assert [len(batch.messages) for batch in hall.frame.made] == [1] * 5
    for sink in sinks:
        assert hall.offsets(sink) == [1, 2, 3, 4, 5]
    await ticks()
    assert len(hall.frame.made) == 5


async def test_also_for_who_was_behind_but_not_for_a_poll() -> None:
    hall = Hall(coalesce_ms=None)
    hall.say(5)
    _, pushed = hall.follow(2)
    _, poll = hall.follow(2, limit=None)
    await ticks()
    assert len(pushed.written) == 3
    assert len(poll.written) == 1
    assert hall.offsets(pushed) == hall.offsets(poll) == [3, 4, 5]


async def test_far_behind_comes_in_pieces_but_a_poll_gets_everything() -> None:
    hall = Hall(retention=1_000)
    hall.say(350)
    _, pushed = hall.follow()
    _, poll = hall.follow(limit=None)
    await ticks(10)
    assert [len(hall.frame.messages(data)) for data in pushed.written] == [100, 100, 100, 50]
    assert len(poll.written) == 1
    assert hall.offsets(pushed) == hall.offsets(poll) == list(range(1, 351))


async def test_S11_2_who_is_full_stays_where_it_is_and_goes_on_when_drained() -> None:
    hall = Hall()
    cursor, slow = hall.follow()
    _, quick = hall.follow()
    slow.stopped = True
    for _ in range(5):
        hall.say(10)
        await ticks()
    assert (slow.written, cursor.offset, slow.drains) == ([], 0, 1)
    assert hall.offsets(quick) == list(range(1, 51))
    slow.go_on()
    await ticks()
    assert hall.offsets(slow) == list(range(1, 51))
    assert len(slow.written) == 1


async def test_S11_2_and_gets_a_gap_if_the_log_has_moved_on() -> None:
    hall = Hall(retention=10)
    _, slow = hall.follow()
    slow.stopped = True
    hall.say(50)
    await ticks()
    slow.go_on()
    await ticks()
    gap, *rest = hall.seen(slow)
    assert (gap.kind, gap.offset) == ("gap", 40)
    assert [one.offset for one in rest] == list(range(41, 51))


def test_S11_2_after_stall_s_it_is_told() -> None:
    async def main() -> None:
        hall = Hall(stall_s=15.0)
        _, slow = hall.follow()
        _, quick = hall.follow()
        slow.stopped = True
        hall.say()
        await asyncio.sleep(14.9)
        hall.say()
        assert slow.error is None
        await asyncio.sleep(0.2)
        assert slow.error
        assert slow.error.code == "slow_consumer"
        assert hall.offsets(quick) == [1, 2]
        assert quick.error is None

    run(main())


def test_S11_2_whoever_reads_now_and_then_is_not() -> None:
    async def main() -> None:
        hall = Hall(stall_s=15.0)
        _, slow = hall.follow()
        for _ in range(10):
            slow.stopped = True
            hall.say()
            await asyncio.sleep(14.0)
            slow.go_on()
            await ticks()
        assert slow.error is None
        assert hall.offsets(slow) == list(range(1, 11))

    run(main())


async def test_a_connection_lost_while_full_is_left_to_its_handler() -> None:
    hall = Hall()
    cursor, lost = hall.follow()
    lost.stopped = True
    hall.say()
    await ticks()
    lost.lose()
    await ticks()
    assert lost.error is None
    assert cursor.draining is None
    hall.delivery.discard(cursor)
    assert len(hall.delivery) == 0


async def test_discarding_a_cursor_ends_its_waiting() -> None:
    hall = Hall()
    cursor, slow = hall.follow()
    slow.stopped = True
    hall.say()
    await ticks()
    task = cursor.draining
    assert task
    hall.delivery.discard(cursor)
    with pytest.raises(asyncio.CancelledError):
        await task
    hall.say()
    slow.go_on()
    await ticks()
    assert slow.written == []


class Deliveries(RuleBasedStateMachine):
    """Anything may happen in any order: each sink ends with what its place in the log demands."""

    @initialize(
        retention=st.integers(1, 30),
        coalesce_ms=st.sampled_from([0.0, None, 5.0]),
    )
    def begin(self, retention: int, coalesce_ms: float | None) -> None:
        self.loop = VirtualLoop()
        self.hall = Hall(retention=retention, coalesce_ms=coalesce_ms, stall_s=1_000.0)
        self.open: list[tuple[Cursor, FakeSink, int]] = []

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        for _, sink, _ in self.open:
            self.do(sink.go_on)
        self.settle()
        head = self.hall.log.head
        for cursor, sink, start in self.open:
            if not sink.lost:
                assert cursor.offset == head
                self.assert_complete(sink, start)
            self.do(partial(self.hall.delivery.discard, cursor))
        self.settle()
        assert not asyncio.all_tasks(self.loop)
        self.loop.close()

    def do(self, action: Callable[[], object]) -> None:
        async def within() -> None:
            action()

        self.loop.run_until_complete(within())

    @rule(messages=st.integers(1, 120))
    def say(self, messages: int) -> None:
        self.do(lambda: self.hall.say(messages))

    @rule(behind=st.integers(0, 40), poll=st.booleans())
    def follow(self, behind: int, poll: bool) -> None:
        start = max(-1, self.hall.log.head - behind)

        def begin() -> None:
            cursor, sink = self.hall.follow(start, None if poll else BATCH_MESSAGES)
            self.open.append((cursor, sink, start))

        self.do(begin)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.open))[1].stopped = True

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        sink = data.draw(st.sampled_from(self.open))[1]
        self.do(sink.go_on)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        cursor, sink, _ = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        self.do(sink.lose)
        self.do(lambda: self.hall.delivery.discard(cursor))

    @rule()
    def settle(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0.1))

    @invariant()
    def in_order(self) -> None:
        for _, sink, start in getattr(self, "open", []):
            self.assert_in_order(sink, start)

    def assert_in_order(self, sink: FakeSink, start: int) -> None:
        place = start
        for message in self.hall.seen(sink):
            if message.kind == "gap":
                assert message.offset > place or place == -1
            else:
                assert message.offset == place + 1
            place = message.offset

    def assert_complete(self, sink: FakeSink, start: int) -> None:
        self.assert_in_order(sink, start)
        seen = self.hall.seen(sink)
        head, first = self.hall.log.head, self.hall.log.first
        if start < head:
            assert seen[-1].offset == head
            kept = {one.offset for one in seen if one.kind != "gap"}
            assert kept >= set(range(max(first, start + 1), head + 1))


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = MACHINE
