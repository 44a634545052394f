"""The chat: rooms by name, sessions by token, and an end that tells everyone to return."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from weakref import WeakValueDictionary

from labs.chat.messages import Join, Joined, clean_name
from labs.chat.presence import Session
from labs.chat.room import Room
from labs.errors import ChatError
from labs.settings import Settings


class Chat:
    """What one server serves. `quiet_s` is the longest silence its transport promises."""

    def __init__(
        self,
        settings: Settings | None = None,
        quiet_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings or Settings()
        self.quiet_s = quiet_s
        self.closing = False
        self._clock = clock
        self._rooms: dict[str, Room] = {}
        # Weak: a session lives for as long as its room remembers it.
        self._sessions: WeakValueDictionary[str, Session] = WeakValueDictionary()

    def join(self, command: Join) -> tuple[Session, Joined]:
        """`newUserConnect`: see `Room.join`; also raises `shutting_down`."""
        self.check_open()
        clean_name(command.name, self.settings)  # before a room is made for it
        known = self._sessions.get(command.session or "")
        home = known.room.name if known and known.live else self.settings.room
        room = self._room(command.room or home)
        if known and known.live and known.room is not room:
            command.session = None  # it is somebody in its own room, and nobody here
        session, joined = room.join(command, self.quiet_s)
        self._sessions[session.token] = session
        return session, joined

    def session(self, token: str | None) -> Session:
        """The live session with this token; raises `unknown_session` or `shutting_down`."""
        self.check_open()
        return self.find(token)

    def find(self, token: str | None) -> Session:
        """The same while the server is stopping, for a client that fetches what is left."""
        session = self._sessions.get(token or "")
        if session is None or not session.live:
            raise ChatError("unknown_session", "no such session here; join again")
        return session

    def present(self) -> Iterator[Session]:
        """Every live session."""
        for room in self._rooms.values():
            yield from room.presence

    def expire(self) -> float:
        """End the leases that are over; answers the seconds until the next may be."""
        return min((room.expire() for room in self._rooms.values()), default=self.settings.lease_s)

    def close(self) -> None:
        """Take nothing more, hand out what there is, and tell every connection to return."""
        self.closing = True
        for room in self._rooms.values():
            room.close(ChatError("shutting_down", "the server is stopping; come back in a moment"))

    def _room(self, name: str) -> Room:
        name = clean_name(name, self.settings)
        if name not in self._rooms:
            self._make_space()
            self._rooms[name] = Room(name, self.settings, self._clock)
        return self._rooms[name]

    def _make_space(self) -> None:
        if len(self._rooms) < self.settings.rooms:
            return
        empty = next((name for name, room in self._rooms.items() if not len(room.presence)), None)
        if empty is None:
            raise ChatError("room_full", "there are too many rooms; join one that exists")
        del self._rooms[empty]

    def check_open(self) -> None:
        """Raises `shutting_down` once the server is stopping."""
        if self.closing:
            raise ChatError("shutting_down", "the server is stopping; come back in a moment")
