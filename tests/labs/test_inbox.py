"""What a client keeps between the wire and its reader, and how long it waits to come back."""

import asyncio
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labs.chat import Joined, Message
from labs.errors import CODES, ChatError, LabError
from labs.inbox import AHEAD_MESSAGES, Backoff, HoleError, Inbox, new_key
from tests.labs.properties import PROPERTY
from tests.labs.virtual import run


def joined(since: str = "e:0", epoch: str = "e") -> Joined:
    return Joined("token", "alice", "lobby", epoch, 0, since, [], 10.0, 0.0)


def talk(offset: int) -> Message:
    return Message(offset, "talk", "alice", f"{offset}", 0)


def gap(offset: int, epoch: str) -> Message:
    return Message(offset, "gap", "", epoch, 0)


def talks(first: int, last: int) -> list[Message]:
    return [talk(offset) for offset in range(first, last + 1)]


def started(since: str = "e:0") -> Inbox:
    inbox = Inbox()
    inbox.start(joined(since))
    return inbox


async def drained(inbox: Inbox) -> list[Message]:
    """Everything it holds, up to its end."""
    inbox.end()
    return [message async for message in inbox.messages()]


async def test_S1_1_messages_come_out_as_they_came_in() -> None:
    inbox = started()
    await inbox.put(talks(1, 3))
    await inbox.put(talks(4, 5))
    assert inbox.position == "e:5"
    assert await drained(inbox) == talks(1, 5)


async def test_S1_1_what_came_before_is_dropped_and_counted() -> None:
    inbox = started("e:2")
    await inbox.put(talks(1, 4))
    await inbox.put(talks(3, 5))
    assert inbox.duplicates == 4
    assert await drained(inbox) == talks(3, 5)


async def test_S1_1_a_hole_is_refused() -> None:
    inbox = started()
    await inbox.put(talks(1, 2))
    with pytest.raises(HoleError, match="after 2 came 4"):
        await inbox.put(talks(4, 5))
    assert inbox.position == "e:2"
    await inbox.put(talks(3, 5))
    assert await drained(inbox) == talks(1, 5)


async def test_S5_3_a_gap_leads_elsewhere() -> None:
    inbox = started("e:50")
    await inbox.put([gap(90, "e"), talk(91)])
    assert inbox.position == "e:91"
    await inbox.put([gap(0, "f"), talk(1)])
    assert inbox.position == "f:1"
    kinds = [message.kind for message in await drained(inbox)]
    assert kinds == ["gap", "talk", "gap", "talk"]


@pytest.mark.parametrize(
    ("since", "position"), [("e:7", "e:7"), ("7", "e:7"), ("other:7", "other:7")]
)
def test_S2_where_reading_begins(since: str, position: str) -> None:
    inbox = started(since)
    assert inbox.position == position


async def test_S5_1_a_later_join_does_not_move_the_place() -> None:
    inbox = started("e:3")
    await inbox.put(talks(4, 6))
    inbox.start(joined("e:9"))
    assert inbox.position == "e:6"


@PROPERTY
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), max_size=40), st.data())
def test_S1_1_however_often_and_far_back_a_server_begins_again(
    batches: list[tuple[int, int]], data: st.DataObject
) -> None:
    async def main() -> None:
        inbox, place = started(), 0
        for back, length in batches:
            first = max(1, place - back + 1)
            await inbox.put(talks(first, first + length - 1))
            place = max(place, first + length - 1)
            with suppress(HoleError):
                await inbox.put(talks(place + 2, place + 5))
            assert inbox.position == f"e:{place}"
        assert await drained(inbox) == talks(1, place)

    run(main())


async def test_a_reader_far_behind_holds_its_connection_back() -> None:
    inbox = started()
    putting = asyncio.create_task(inbox.put(talks(1, AHEAD_MESSAGES + 50)))
    await asyncio.sleep(0)
    assert not putting.done()
    assert inbox.position == f"e:{AHEAD_MESSAGES}"
    reader = inbox.messages()
    seen = [await anext(reader) for _ in range(AHEAD_MESSAGES + 50)]
    await putting
    assert seen == talks(1, AHEAD_MESSAGES + 50)


async def test_S1_1_a_connection_that_ended_while_it_waited_puts_nothing_twice() -> None:
    """Its batch waits for space; meanwhile a new connection brings the same messages."""
    inbox = started()
    await inbox.put(talks(1, AHEAD_MESSAGES))
    more = talks(AHEAD_MESSAGES + 1, AHEAD_MESSAGES + 10)
    older = asyncio.create_task(inbox.put(more))
    newer = asyncio.create_task(inbox.put(more))
    await asyncio.sleep(0)
    reader = inbox.messages()
    seen = [await anext(reader) for _ in range(AHEAD_MESSAGES + 10)]
    await asyncio.gather(older, newer)
    assert seen == talks(1, AHEAD_MESSAGES + 10)
    assert inbox.duplicates == 10


async def test_the_reader_gets_what_is_left_and_then_the_error() -> None:
    inbox = started()
    await inbox.put(talks(1, 2))
    inbox.end(ChatError("replaced", "taken over"))
    reader = inbox.messages()
    assert [await anext(reader), await anext(reader)] == talks(1, 2)
    with pytest.raises(ChatError) as refusal:
        await anext(reader)
    assert refusal.value.code == "replaced"


async def test_a_reader_that_waits_learns_of_the_end() -> None:
    inbox = started()
    reading = asyncio.ensure_future(anext(inbox.messages(), None))
    await asyncio.sleep(0)
    inbox.end()
    assert await reading is None


def test_after_the_end_there_is_nothing_to_do() -> None:
    inbox = started()
    inbox.check_open()
    inbox.end()
    with pytest.raises(LabError, match="closed"):
        inbox.check_open()
    ended = started()
    ended.end(ChatError("replaced", "taken over"))
    with pytest.raises(ChatError) as refusal:
        ended.check_open()
    assert refusal.value.code == "replaced"


def test_this_process_counts_what_it_waited_after() -> None:
    limited, before = ChatError("rate_limited", "later", 0.1), Backoff.waits.copy()
    waits(Backoff(), [limited, OSError(), limited])
    assert Backoff.waits - before == {"rate_limited": 2, "": 1}


def waits(backoff: Backoff, errors: list[Exception]) -> list[float]:
    """How long it waits after each of these."""

    async def main() -> list[float]:
        loop, times = asyncio.get_running_loop(), [0.0]
        for error in errors:
            await backoff.after(error)
            times.append(loop.time())
        return [after - before for before, after in pairwise(times)]

    return run(main())


def test_S10_8_waiting_grows_twofold_up_to_a_bound_with_full_jitter() -> None:
    bounds = [0.2 * 2**number for number in range(6)] + [10.0] * 6
    runs = [waits(Backoff(), [OSError()] * 12) for _ in range(300)]
    for number, bound_s in enumerate(bounds):
        times = [run[number] for run in runs]
        assert 0.0099 <= min(times) <= 0.2 * bound_s
        assert 0.8 * bound_s <= max(times) <= bound_s + 1e-6


def test_S10_8_never_at_once() -> None:
    assert min(waits(Backoff(first_s=0.0), [OSError()] * 50)) >= 0.0099


def test_S10_8_after_success_it_begins_anew() -> None:
    backoff = Backoff(first_s=0.2)
    waits(backoff, [OSError()] * 20)
    backoff.reset()
    assert max(waits(backoff, [OSError()])) <= 0.2


def test_S8_4_not_before_the_server_has_asked() -> None:
    limited = ChatError("rate_limited", "wait", retry_after_s=3.0)
    assert all(3.0 <= wait_s <= 3.4 for wait_s in waits(Backoff(), [limited, limited]))


@pytest.mark.parametrize("code", CODES)
def test_S9_what_no_return_can_mend_is_raised(code: str) -> None:
    error = ChatError(code, "why")
    if CODES[code].retry:
        assert waits(Backoff(), [error])[0] > 0
        return
    with pytest.raises(ChatError) as refusal:
        waits(Backoff(), [error])
    assert refusal.value is error


def test_S4_1_keys_are_valid_and_never_the_same() -> None:
    keys = {new_key() for _ in range(1_000)}
    assert len(keys) == 1_000
    assert all(1 <= len(key) <= 64 for key in keys)
