"""HTTP requests of one connection, counted from the bytes that pass; nothing is changed."""

from __future__ import annotations

import h11

SWITCHED = b"HTTP/1.1 101"


class RequestCounter:
    """Counts request heads (RFC 9112) going up one connection.

    After an accepted upgrade (a 101 coming down) what goes up is frames, and the count
    stands; so it does after the first bytes that are not HTTP.
    """

    def __init__(self) -> None:
        self.count = 0
        self._parser: h11.Connection | None = h11.Connection(h11.SERVER)
        self._upgrading = False
        self._answer: bytes | None = None  # the start of the answer to an upgrade request

    def up(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._parser is None:
            return
        try:
            self._parser.receive_data(data)
            self._parse()
        except h11.RemoteProtocolError:
            self._parser = None

    def down(self, data: bytes) -> None:
        """Take bytes from the server."""
        if self._answer is None:
            return
        self._answer += data[: len(SWITCHED)]
        if len(self._answer) < len(SWITCHED):
            return
        self._parser = None if self._answer.startswith(SWITCHED) else h11.Connection(h11.SERVER)
        self._answer = None

    def _parse(self) -> None:
        while self._parser and self._answer is None:
            event = self._parser.next_event()
            if isinstance(event, h11.Request):
                self.count += 1
                self._upgrading = any(name == b"upgrade" for name, _ in event.headers)
            elif isinstance(event, h11.EndOfMessage):
                self._next_request(self._parser)
            elif not isinstance(event, h11.Data):
                return

    def _next_request(self, done: h11.Connection) -> None:
        if self._upgrading:
            self._answer = b""
            return
        # A parser a request: h11 would wait for the answer before it reads the next one.
        self._parser = h11.Connection(h11.SERVER)
        rest, _ = done.trailing_data
        if rest:
            self._parser.receive_data(rest)
