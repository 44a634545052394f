"""A room's log against the simplest model there is: a list."""

from hypothesis import given
from hypothesis import strategies as st

from labs.chat import Message, Position
from labs.chat.log import LOST, Log
from tests.labs.properties import PROPERTY


def filled(retention: int, length: int) -> Log:
    log = Log(retention)
    for number in range(1, length + 1):
        assert log.append("talk", "alice", f"{number}") == number
    return log


def offsets(messages: list[Message]) -> list[int]:
    return [message.offset for message in messages]


@PROPERTY
@given(st.integers(1, 20), st.integers(0, 100), st.integers(-1, 100), st.none() | st.integers(1, 9))
def test_S1_4_S5_3_reading_is_the_rest_of_the_list_or_a_gap_and_what_is_kept(
    retention: int, length: int, since: int, limit: int | None
) -> None:
    log = filled(retention, length)
    since = min(since, length)
    everything = list(range(1, length + 1))
    kept = everything[-retention:]
    wanted = [offset for offset in kept if offset > since][:limit]
    batch = log.read(since, limit)
    gap = [one for one in batch.messages if one.kind == "gap"]
    if since >= length - len(kept) and since != LOST:
        assert gap == []
    else:
        assert batch.messages[0] is gap[0]
        assert (gap[0].offset, gap[0].text) == (length - len(kept), log.epoch)
    assert offsets(batch.messages[len(gap) :]) == wanted
    assert [one.text for one in batch.messages[len(gap) :]] == [f"{number}" for number in wanted]
    assert batch.epoch == log.epoch


@PROPERTY
@given(st.integers(1, 20), st.integers(0, 100), st.data())
def test_S1_1_reading_piece_by_piece_is_reading_at_once(
    retention: int, length: int, data: st.DataObject
) -> None:
    log = filled(retention, length)
    since, pieces = 0, []
    while since < log.head:
        batch = log.read(since, data.draw(st.integers(1, 9)))
        pieces += batch.messages
        since = batch.end.offset
    whole = log.read(0).messages
    assert [(one.kind, one.offset) for one in pieces] == [(one.kind, one.offset) for one in whole]


def test_S1_4_first_is_the_oldest_that_can_be_read() -> None:
    assert filled(10, 0).first == 1
    assert filled(10, 10).first == 1
    assert filled(10, 11).first == 2
    assert filled(1, 100).first == 100


def test_offsets_begin_at_one_and_time_does_not_go_back() -> None:
    messages = filled(100, 50).read(0).messages
    assert offsets(messages) == list(range(1, 51))
    times = [message.at_ms for message in messages]
    assert times == sorted(times)


def test_each_log_has_an_epoch_of_its_own() -> None:
    assert len({Log(1).epoch for _ in range(100)}) == 100


@PROPERTY
@given(st.integers(0, 50), st.integers(0, 60), st.sampled_from(["mine", "other", None]))
def test_S5_3_a_place_is_an_offset_of_this_log_or_lost(
    length: int, offset: int, whose: str | None
) -> None:
    log = filled(5, length)
    epoch = {"mine": log.epoch, "other": "other", None: None}[whose]
    place = log.locate(Position(epoch, offset))
    assert place == (LOST if whose == "other" or offset > length else offset)


@PROPERTY
@given(st.integers(1, 10), st.lists(st.none() | st.integers(0, 30), max_size=80))
def test_S4_1_a_key_is_known_for_as_long_as_its_message_is_kept(
    retention: int, keys: list[int | None]
) -> None:
    log, said = Log(retention), dict[str, int]()
    for number in keys:
        key = f"{number}"
        known = log.recall("alice", key) if number is not None else None
        assert known == said.get(key) or said[key] < log.first
        if known is None:
            offset = log.append("talk", "alice", "hi")
            if number is not None:
                log.remember("alice", key, offset)
                said[key] = offset
        kept = {key: offset for key, offset in said.items() if offset >= log.first}
        assert all(log.recall("alice", key) == offset for key, offset in kept.items())


def test_S4_1_keys_of_forgotten_messages_are_forgotten() -> None:
    log = Log(10)
    for number in range(100):
        log.remember("alice", f"{number}", log.append("talk", "alice", "hi"))
    known = [number for number in range(100) if log.recall("alice", f"{number}") is not None]
    assert known == list(range(90, 100))


def test_S4_3_a_key_belongs_to_a_session() -> None:
    log = Log(10)
    log.remember("alice", "key", log.append("talk", "alice", "hi"))
    assert (log.recall("alice", "key"), log.recall("bob", "key")) == (1, None)
