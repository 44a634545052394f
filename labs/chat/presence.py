"""Who is here: a session holds a lease, and is present for as long as the lease runs."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from labs.errors import ChatError

if TYPE_CHECKING:
    from labs.chat.delivery import Cursor
    from labs.chat.room import Room

_TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")  # what secrets.token_urlsafe(16) makes


class Session:
    """One person in one room, known to the server by an unguessable token.

    A `token` that a client brings, of a server that was here before, is kept: the answer to its
    join may be lost, and then it must be the same person who asks again. `joined` is the offset
    of its join. A lease runs from the last `touch`, except while a
    connection is held open for the session: then presence needs no proof.
    """

    def __init__(self, room: Room, name: str, now_s: float, token: str | None = None) -> None:
        self.token = token if token and _TOKEN.fullmatch(token) else secrets.token_urlsafe(16)
        self.room = room
        self.name = name
        self.joined = 0
        self.cursor: Cursor | None = None
        self.touched_s = now_s
        self._holds = 0
        self._allowance = float(room.settings.rate_burst)
        self._charged_s = now_s

    @property
    def live(self) -> bool:
        """Whether the session still has its lease."""
        return self.room.presence.get(self.token) is self

    def touch(self) -> None:
        """The client was heard of: its lease begins again."""
        self.touched_s = self.room.clock()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """While a connection is held for the session its lease does not run."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            self.touch()

    def left_s(self, now_s: float) -> float:
        """Seconds until the lease ends, a whole lease while a connection is held."""
        lease_s = self.room.settings.lease_s
        return lease_s if self._holds else self.touched_s + lease_s - now_s

    def charge(self) -> None:
        """Count a request against the session's rate (a token bucket); raises `rate_limited`."""
        settings, now_s = self.room.settings, self.room.clock()
        earned = (now_s - self._charged_s) * settings.rate_per_s
        self._allowance = min(float(settings.rate_burst), self._allowance + earned)
        self._charged_s = now_s
        if self._allowance < 1:
            wait_s = (1 - self._allowance) / settings.rate_per_s
            raise ChatError(
                "rate_limited",
                f"more than {settings.rate_per_s:g} requests a second; wait, then go on",
                retry_after_s=wait_s,
            )
        self._allowance -= 1


class Presence:
    """The sessions of one room: the live ones by token and by name, the recent ones by token."""

    def __init__(self, remembered: int) -> None:
        self._live: dict[str, Session] = {}
        self._names: dict[str, Session] = {}
        self._gone: dict[str, Session] = {}
        self._remembered = remembered

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._live.values()))

    def names(self) -> list[str]:
        """Who is present, in the order of arrival."""
        return [session.name for session in self._live.values()]

    def get(self, token: str) -> Session | None:
        """The live session with this token."""
        return self._live.get(token)

    def gone(self, token: str) -> Session | None:
        """The session with this token, if it left not long ago."""
        return self._gone.get(token)

    def claim(self, name: str, session: Session) -> None:
        """Give the session this name; raises `name_taken` if another live one bears it."""
        if self._names.get(name, session) is not session:
            raise ChatError("name_taken", f"{name} is here already; choose another name")
        if self._names.get(session.name) is session:
            del self._names[session.name]
        session.name = name
        self._names[name] = session
        self._live[session.token] = session
        self._gone.pop(session.token, None)

    def drop(self, session: Session) -> bool:
        """End the session's lease; answers whether it had one."""
        if self._live.pop(session.token, None) is None:
            return False
        del self._names[session.name]
        self._gone[session.token] = session
        if len(self._gone) > self._remembered:
            del self._gone[next(iter(self._gone))]
        return True
