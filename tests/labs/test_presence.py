"""Leases, rates and names, by a clock that the test moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labs.chat import Join, Room, Session
from labs.chat.presence import Presence
from labs.errors import ChatError
from labs.settings import Settings
from tests.labs.properties import PROPERTY


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Place:
    """A room and its clock."""

    def __init__(self, **changes: object) -> None:
        self.clock = Clock()
        self.room = Room("lobby", Settings().but(**changes), self.clock)

    def enter(self, name: str) -> Session:
        return self.room.join(Join(name))[0]

    @property
    def names(self) -> list[str]:
        return self.room.presence.names()


def test_S6_3_a_lease_ends_lease_s_after_the_last_touch() -> None:
    place = Place(lease_s=10.0)
    session = place.enter("alice")
    place.clock.now_s = 4.0
    session.touch()
    place.clock.now_s = 13.999
    assert session.left_s(place.clock.now_s) == pytest.approx(0.001)
    assert place.room.expire() == pytest.approx(0.001)
    assert session.live
    place.clock.now_s = 14.0
    place.room.expire()
    assert not session.live
    assert place.names == []


def test_S6_3_no_lease_runs_while_a_connection_is_held() -> None:
    place = Place(lease_s=10.0)
    session = place.enter("alice")
    with session.hold():
        place.clock.now_s = 1_000.0
        with session.hold():
            assert place.room.expire() == 10.0
        place.clock.now_s = 2_000.0
        place.room.expire()
        assert session.live
    place.clock.now_s = 2_009.9
    place.room.expire()
    assert session.live
    place.clock.now_s = 2_010.0
    place.room.expire()
    assert not session.live


def test_S6_3_expire_says_when_to_look_again() -> None:
    place = Place(lease_s=10.0)
    assert place.room.expire() == 10.0
    place.enter("alice")
    place.clock.now_s = 3.0
    place.enter("bob")
    assert place.room.expire() == pytest.approx(7.0)
    place.clock.now_s = 10.0
    assert place.room.expire() == pytest.approx(3.0)
    assert place.names == ["bob"]


@PROPERTY
@given(st.lists(st.tuples(st.integers(0, 15), st.booleans()), max_size=30))
def test_S6_3_whoever_is_silent_for_a_lease_is_gone_and_nobody_else(
    events: list[tuple[int, bool]],
) -> None:
    place = Place(lease_s=10.0)
    session, heard_s = place.enter("alice"), 0.0
    for later_s, touches in events:
        place.clock.now_s += later_s
        place.room.expire()
        assert session.live == (place.clock.now_s - heard_s < 10.0)
        if not session.live:
            break
        if touches:
            session.touch()
            heard_s = place.clock.now_s


@PROPERTY
@given(
    st.integers(1, 20),
    st.floats(0.5, 100),
    st.lists(st.floats(0, 5), min_size=1, max_size=60),
)
def test_S8_4_never_more_than_the_burst_and_what_was_earned_since(
    burst: int, rate_per_s: float, pauses: list[float]
) -> None:
    place = Place(rate_burst=burst, rate_per_s=rate_per_s)
    session = Session(place.room, "alice", 0.0)
    granted = 0
    for pause_s in pauses:
        place.clock.now_s += pause_s
        try:
            session.charge()
            granted += 1
        except ChatError as refusal:
            wait_s = refusal.retry_after_s
        else:
            wait_s = None
        assert granted <= burst + place.clock.now_s * rate_per_s + 1e-6
        assert wait_s is None or 0 < wait_s <= 1 / rate_per_s


@PROPERTY
@given(st.integers(1, 20), st.floats(0.5, 100))
def test_S8_4_whoever_waits_as_asked_is_let_through(burst: int, rate_per_s: float) -> None:
    place = Place(rate_burst=burst, rate_per_s=rate_per_s)
    session = Session(place.room, "alice", 0.0)
    for _ in range(burst):
        session.charge()
    with pytest.raises(ChatError) as refusal:
        session.charge()
    assert refusal.value.code == "rate_limited"
    assert refusal.value.retry_after_s
    place.clock.now_s += refusal.value.retry_after_s + 1e-9
    session.charge()


def test_S7_2_a_name_has_one_bearer() -> None:
    place = Place()
    presence = Presence(remembered=10)
    alice, other = [Session(place.room, "", 0.0) for _ in range(2)]
    presence.claim("alice", alice)
    with pytest.raises(ChatError) as refusal:
        presence.claim("alice", other)
    assert refusal.value.code == "name_taken"
    assert presence.get(other.token) is None
    presence.claim("alice", alice)
    presence.claim("alicia", alice)
    presence.claim("alice", other)
    assert presence.names() == ["alicia", "alice"]


def test_S7_1_a_new_name_is_no_new_arrival() -> None:
    place = Place()
    place.enter("alice")
    bob = place.enter("bob")
    place.room.join(Join("zoe", session=bob.token))
    place.enter("carol")
    assert place.names == ["alice", "zoe", "carol"]


def test_S5_4_the_gone_are_remembered_up_to_a_number() -> None:
    place = Place()
    presence = Presence(remembered=3)
    sessions = [Session(place.room, f"p{number}", 0.0) for number in range(5)]
    for session in sessions:
        presence.claim(session.name, session)
        assert presence.drop(session)
        assert not presence.drop(session)
    assert [presence.gone(one.token) is one for one in sessions] == [False, False, True, True, True]
    presence.claim("back", sessions[4])
    assert presence.gone(sessions[4].token) is None
    assert presence.get(sessions[4].token) is sessions[4]
    assert (len(presence), list(presence)) == (1, [sessions[4]])


def test_S2_tokens_are_long_and_never_the_same() -> None:
    place = Place()
    tokens = {Session(place.room, "", 0.0).token for _ in range(1_000)}
    assert len(tokens) == 1_000
    assert min(map(len, tokens)) >= 21  # 128 bits in base 64
