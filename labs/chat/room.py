"""A room: the log, who is present, and the cursors that follow it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from labs.chat.delivery import BATCH_MESSAGES, Cursor, Delivery, Frame, Sink
from labs.chat.log import Log
from labs.chat.messages import (
    Accepted,
    Batch,
    Join,
    Joined,
    Kind,
    Position,
    Talk,
    check_key,
    check_text,
    clean_name,
)
from labs.chat.presence import Presence, Session
from labs.errors import ChatError
from labs.settings import Settings


class Room:
    """One room of the chat. `clock` is monotonic, in seconds; leases run by it."""

    def __init__(
        self, name: str, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.settings = settings
        self.clock = clock
        self.log = Log(settings.retention)
        self.presence = Presence(remembered=settings.sessions)
        self.delivery = Delivery(self.log, settings)

    def join(self, command: Join, quiet_s: float = 0.0) -> tuple[Session, Joined]:
        """Enter, return or rename (SPEC.md sections 2, 5 and 7).

        Raises `bad_name`, `name_taken`, `room_full`, `rate_limited` or `bad_request`.
        """
        name = clean_name(command.name, self.settings)
        asked = None if command.since is None else Position.parse(command.since)
        session = self._session_for(command.session, name)
        session.charge()
        self._admit(session, name)
        session.touch()
        start = asked or Position(self.log.epoch, session.joined - 1)
        return session, Joined(
            session=session.token,
            name=session.name,
            room=self.name,
            epoch=self.log.epoch,
            head=self.log.head,
            since=str(start),
            present=self.presence.names(),
            lease_s=self.settings.lease_s,
            quiet_s=quiet_s,
        )

    def talk(self, session: Session, command: Talk) -> Accepted:
        """Say something; answers its offset, the same one for a key seen before.

        Raises `bad_text`, `bad_request`, `rate_limited` or `unknown_session`.
        """
        if not session.live:
            raise ChatError("unknown_session", "the session has ended; join again")
        session.touch()
        session.charge()
        key = check_key(command.key)
        text = check_text(command.text, self.settings)
        known = self.log.recall(session.token, key) if key else None
        if known is not None:
            return Accepted(known)
        offset = self._append("talk", session.name, text)
        if key:
            self.log.remember(session.token, key, offset)
        return Accepted(offset)

    def leave(self, session: Session) -> None:
        """End a session and announce it; a session that has ended is left alone."""
        if not self.presence.drop(session):
            return
        self._append("leave", session.name, "")
        if session.cursor:
            session.cursor.sink.close(ChatError("unknown_session", "the session has ended"))

    def expire(self) -> float:
        """Announce those whose lease has ended; answers the seconds until the next may end."""
        now_s = self.clock()
        for session in self.presence:
            if session.left_s(now_s) <= 0:
                self.leave(session)
        return min((s.left_s(now_s) for s in self.presence), default=self.settings.lease_s)

    def read(self, position: Position) -> Batch:
        """Everything after a position, for a client that asks."""
        return self.log.read(self.log.locate(position))

    @contextmanager
    def follow(
        self,
        session: Session,
        position: Position,
        frame: Frame,
        sink: Sink,
        limit: int | None = BATCH_MESSAGES,
    ) -> Iterator[Cursor]:
        """While inside, what follows `position` is framed and written to `sink`.

        A session has one connection: an earlier one is told `replaced` and closed.
        """
        if session.cursor:
            self.delivery.discard(session.cursor)
            session.cursor.sink.close(
                ChatError("replaced", "another connection of this session has taken over")
            )
        cursor = session.cursor = Cursor(self.log.locate(position), frame, sink, limit)
        if not session.live:
            sink.close(ChatError("unknown_session", "the session has ended; join again"))
        with session.hold():
            self.delivery.add(cursor)
            try:
                yield cursor
            finally:
                self.delivery.discard(cursor)
                if session.cursor is cursor:
                    session.cursor = None

    def close(self, error: ChatError) -> None:
        """Hand out all that connections can take, then close every one with this error."""
        while self.delivery.flush():
            pass
        for session in self.presence:
            if session.cursor:
                session.cursor.sink.close(error)

    def _session_for(self, token: str | None, name: str) -> Session:
        session = self.presence.get(token or "")
        if session:
            return session
        if len(self.presence) >= self.settings.sessions:
            raise ChatError("room_full", f"{self.name} is full; try another room, or later")
        return self.presence.gone(token or "") or Session(self, name, self.clock(), token)

    def _admit(self, session: Session, name: str) -> None:
        former = session.name if session.live else ""
        self.presence.claim(name, session)
        if former != name:
            session.joined = self._append("join", name, former)

    def _append(self, kind: Kind, name: str, text: str) -> int:
        offset = self.log.append(kind, name, text)
        self.delivery.appended()
        return offset
