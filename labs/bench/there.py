"""A server that is there already: whether it still is, while it is measured."""

from __future__ import annotations

import asyncio
from datetime import datetime
from time import monotonic
from urllib.parse import urlsplit

from labs.errors import LabError

LOOK_S = 0.5  # from one look to the next
PATIENCE_S = 5.0  # a server that takes no connection for so long has gone


class Distant:
    """A server of somebody else's, of which only its URL is known.

    To look is to open a connection and to close it again, past the tap: no byte is counted.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        there = urlsplit(url)
        self._address = str(there.hostname), there.port or 80
        self._seen: tuple[float, datetime] | None = None

    async def died(self) -> LabError:
        """Look from time to time; answers what to raise when it has gone."""
        while True:
            if gone := await self.look():
                return gone
            await asyncio.sleep(LOOK_S)

    async def look(self) -> LabError | None:
        """Look once; answers what to raise if it has gone."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                _, writer = await asyncio.open_connection(*self._address)
        except (OSError, TimeoutError) as error:
            return self._gone(str(error) or f"no connection within {PATIENCE_S:g} s")
        writer.close()
        self._seen = monotonic(), datetime.now().astimezone()
        return None

    def _gone(self, why: str) -> LabError:
        sign = "it gave no sign in this run"
        if self._seen:
            ago_s, at = monotonic() - self._seen[0], self._seen[1]
            sign = f"its last sign was at {at:%H:%M:%S}, {ago_s:.1f} s before"
        return LabError(f"the server at {self._url} has gone: {sign}; then: {why}")
