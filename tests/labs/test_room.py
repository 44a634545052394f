"""A room and a chat, with no network: each against a model of a few lines."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from labs.chat import Chat, Join, Joined, Position, Session, Talk
from labs.chat.messages import encode_batch
from labs.errors import ChatError
from labs.settings import Settings
from tests.labs.properties import MACHINE
from tests.labs.test_delivery import FakeSink, ticks
from tests.labs.test_presence import Clock, Place

LEASE_S = 10.0
NAMES = st.sampled_from(["ann", "ben", "cat", "dan"])
KEYS = st.none() | st.sampled_from(["k1", "k2", "k3"])


class Rooms(RuleBasedStateMachine):
    """Joining, renaming, coming back, talking, leaving and falling silent, in any order."""

    @initialize(retention=st.integers(1, 20))
    def begin(self, retention: int) -> None:
        settings = Settings().but(retention=retention, lease_s=LEASE_S, rate_burst=10**6)
        self.clock = Clock()
        self.chat = Chat(settings, clock=self.clock)
        self.retention = retention
        self.log: list[tuple[str, str, str]] = []
        self.live: dict[str, str] = {}  # token -> name, in order of arrival
        self.heard_s: dict[str, float] = {}
        self.gone: dict[str, None] = {}
        self.keys: dict[tuple[str, str], int] = {}

    def join(self, name: str, token: str | None) -> None:
        taken = name in (self.live | {token: None}).values()
        if taken:
            with pytest.raises(ChatError) as refusal:
                self.chat.join(Join(name, session=token))
            assert refusal.value.code == "name_taken"
            return
        _, joined = self.chat.join(Join(name, session=token))
        self.note_join(joined, name, token)

    def note_join(self, joined: Joined, name: str, token: str | None) -> None:
        known = token if token in self.live or token in self.gone else None
        assert (joined.session == token) == (known is not None)
        former = self.live.get(joined.session, "")
        if former != name:
            self.log.append(("join", name, former))
        self.live[joined.session] = name
        self.gone.pop(joined.session, None)
        self.heard_s[joined.session] = self.clock.now_s
        assert joined.present == list(self.live.values())
        assert joined.head == len(self.log)
        place = Position.parse(joined.since).offset
        mine = max(n for n, one in enumerate(self.log) if one[:2] == ("join", name))
        assert place == mine

    @rule(name=NAMES)
    def arrive(self, name: str) -> None:
        self.join(name, None)

    @rule(name=NAMES)
    def come_with_a_token_of_nobody(self, name: str) -> None:
        self.join(name, "nobody")

    @precondition(lambda self: self.live)
    @rule(name=NAMES, data=st.data())
    def rename(self, name: str, data: st.DataObject) -> None:
        self.join(name, data.draw(st.sampled_from(list(self.live))))

    @precondition(lambda self: self.gone)
    @rule(name=NAMES, data=st.data())
    def come_back(self, name: str, data: st.DataObject) -> None:
        self.join(name, data.draw(st.sampled_from(list(self.gone))))

    @precondition(lambda self: self.live)
    @rule(key=KEYS, data=st.data())
    def talk(self, key: str | None, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(list(self.live)))
        session = self.chat.session(token)
        known = self.keys.get((token, key)) if key else None
        offset = session.room.talk(session, Talk(f"text {len(self.log)}", key)).offset
        self.heard_s[token] = self.clock.now_s
        if known is not None and known > len(self.log) - self.retention:
            assert offset == known
        elif offset != known:  # a key outlives its message until the next one is noted
            self.log.append(("talk", self.live[token], f"text {len(self.log)}"))
            assert offset == len(self.log)
            if key:
                self.keys[token, key] = offset

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(list(self.live)))
        session = self.chat.session(token)
        session.room.leave(session)
        session.room.leave(session)
        self.note_leave(token)

    @rule(later_s=st.integers(0, 6))
    def time_goes_by(self, later_s: int) -> None:
        self.clock.now_s += later_s
        self.chat.expire()
        for token in list(self.live):
            if self.heard_s[token] + LEASE_S - self.clock.now_s <= 0:
                self.note_leave(token)

    def note_leave(self, token: str) -> None:
        self.log.append(("leave", self.live.pop(token), ""))
        self.gone[token] = None

    @invariant()
    def as_in_the_model(self) -> None:
        for token in getattr(self, "gone", ()):
            with pytest.raises(ChatError):
                self.chat.session(token)
        for token, name in getattr(self, "live", {}).items():
            session = self.chat.session(token)
            assert session.name == name
            said = session.room.read(Position(None, 0)).messages
            kept = [(one.kind, one.name, one.text) for one in said if one.kind != "gap"]
            assert kept == self.log[-self.retention :]


TestRooms = Rooms.TestCase
TestRooms.settings = MACHINE


def code_of(refusal: pytest.ExceptionInfo[ChatError]) -> str:
    return refusal.value.code


def following(session: Session, since: Position, sink: FakeSink) -> object:
    return session.room.follow(session, since, encode_batch, sink)


async def test_S5_5_a_newer_connection_replaces_the_older() -> None:
    session = Place().enter("alice")
    start = Position(None, 0)
    older, newer = FakeSink(), FakeSink()
    with session.room.follow(session, start, encode_batch, older) as first:
        with session.room.follow(session, start, encode_batch, newer) as second:
            assert older.error
            assert older.error.code == "replaced"
            assert session.cursor is second
            await ticks()
        assert session.cursor is None
        assert (len(older.written), len(newer.written)) == (0, 1)
        assert first.offset == 0


async def test_S5_5_the_end_of_the_older_is_not_the_newers() -> None:
    place = Place(lease_s=10.0)
    session = place.enter("alice")
    start = Position(None, 1)
    older = session.room.follow(session, start, encode_batch, FakeSink())
    newer = session.room.follow(session, start, encode_batch, sink := FakeSink())
    older.__enter__()
    with newer as cursor:
        older.__exit__(None, None, None)
        assert session.cursor is cursor
        place.clock.now_s = 100.0
        place.room.expire()
        place.room.talk(session, Talk("still here"))
        await ticks()
        assert session.live
        assert len(sink.written) == 1


async def test_S6_2_whose_session_ends_is_told() -> None:
    session = Place().enter("alice")
    sink = FakeSink()
    with session.room.follow(session, Position(None, 1), encode_batch, sink):
        session.room.leave(session)
        assert sink.error
        assert sink.error.code == "unknown_session"
        with pytest.raises(ChatError) as refusal:
            session.room.talk(session, Talk("after all"))
        assert code_of(refusal) == "unknown_session"


async def test_S11_3_at_the_end_all_there_is_is_handed_out() -> None:
    """Far more than one frame carries, and only to whom it can be handed."""
    place = Place(rate_burst=1_000)
    alice, bob = place.enter("alice"), place.enter("bob")
    reading, stuck = FakeSink(), FakeSink()
    stuck.stopped = True
    start = Position(None, 2)
    with (
        place.room.follow(alice, start, encode_batch, reading),
        place.room.follow(bob, start, encode_batch, stuck),
    ):
        for number in range(350):
            place.room.talk(alice, Talk(f"{number}"))
        place.room.close(ChatError("shutting_down", "come back"))
        assert b'"349"' in reading.written[-1]
        assert len(reading.written) == 4
        for sink in (reading, stuck):
            assert sink.error
            assert sink.error.code == "shutting_down"
        assert stuck.written == []


def test_S11_3_a_closed_chat_takes_nothing_more() -> None:
    chat = Chat()
    session, _ = chat.join(Join("alice"))
    chat.close()
    for refused in (lambda: chat.join(Join("bob")), lambda: chat.session(session.token)):
        with pytest.raises(ChatError) as refusal:
            refused()
        assert code_of(refusal) == "shutting_down"


def test_S1_3_a_token_of_one_room_is_nothing_in_another() -> None:
    chat = Chat()
    session, _ = chat.join(Join("alice", room="here"))
    other, joined = chat.join(Join("alice", room="there", session=session.token))
    assert joined.session != session.token
    assert (session.room.name, other.room.name) == ("here", "there")
    assert chat.session(session.token) is session


def test_S2_5_a_rename_that_names_no_room_stays_in_the_sessions_own() -> None:
    chat = Chat()
    session, _ = chat.join(Join("alice", room="there"))
    again, joined = chat.join(Join("alicia", session=session.token))
    assert again is session
    assert (joined.room, joined.present) == ("there", ["alicia"])


def test_S5_4_a_token_of_a_server_that_was_here_before_is_kept() -> None:
    _, joined = Chat().join(Join("alice"))
    chat = Chat()
    for _ in range(2):  # the answer to the first was lost
        _, again = chat.join(Join("alice", session=joined.session))
        assert (again.session, again.present, again.head) == (joined.session, ["alice"], 1)


@pytest.mark.parametrize("token", ["x", "", "x" * 21, "x" * 23, "가" * 22, "!" * 22])
def test_S2_a_token_that_is_none_of_ours_is_not_kept(token: str) -> None:
    assert Chat().join(Join("alice", session=token))[1].session != token


def test_S8_6_a_refused_join_makes_no_room_and_evicts_none() -> None:
    chat = Chat(Settings().but(rooms=1))
    session, before = chat.join(Join("alice", room="first"))
    session.room.leave(session)
    with pytest.raises(ChatError):
        chat.join(Join("SERVER", room="second"))
    assert chat.join(Join("alice", room="first"))[1].epoch == before.epoch


def test_S8_1_a_rooms_name_is_cleaned_too() -> None:
    chat = Chat()
    _, joined = chat.join(Join("alice", room="  살롱 "))
    assert joined.room == "살롱"
    assert chat.join(Join("bob", room="살롱"))[1].present == ["alice", "bob"]


def test_S8_5_a_full_room_still_knows_its_own() -> None:
    chat = Chat(Settings().but(sessions=1))
    session, _ = chat.join(Join("alice"))
    with pytest.raises(ChatError) as refusal:
        chat.join(Join("bob"))
    assert code_of(refusal) == "room_full"
    assert chat.join(Join("alicia", session=session.token))[1].name == "alicia"


def test_S8_6_an_empty_room_makes_way_and_takes_its_log_with_it() -> None:
    chat = Chat(Settings().but(rooms=2))
    first, before = chat.join(Join("alice", room="first"))
    chat.join(Join("bob", room="second"))
    with pytest.raises(ChatError) as refusal:
        chat.join(Join("carol", room="third"))
    assert code_of(refusal) == "room_full"
    first.room.leave(first)
    third, _ = chat.join(Join("carol", room="third"))
    third.room.leave(third)
    _, after = chat.join(Join("alice", room="first", since=before.since, session=first.token))
    assert after.epoch != before.epoch
    assert after.session == before.session  # S5.4


@pytest.mark.parametrize("since", ["x", -1, "a:b", ""])
def test_S9_a_bad_position_joins_nobody(since: str | int) -> None:
    chat = Chat()
    with pytest.raises(ChatError) as refusal:
        chat.join(Join("alice", since=since))
    assert code_of(refusal) == "bad_request"
    assert chat.join(Join("bob"))[1].present == ["bob"]


def test_S2_the_answer_tells_the_times() -> None:
    chat = Chat(Settings().but(lease_s=7.0), quiet_s=3.0)
    joined = chat.join(Join("alice"))[1]
    assert (joined.lease_s, joined.quiet_s) == (7.0, 3.0)
