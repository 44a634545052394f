"""Light clients: receivers that parse only what identifies a message, for large crowds.

    client      what all have: a place in the log, failures, a watch
    http        answers, read from bytes
    pool        connections, used again
    commands    what the three HTTP variants have in common
    polling     short and long polling
    streaming   the chunks of an event stream
    frames      WebSocket frames
    websocket   the raw WebSocket
    engine      Engine.IO
    socketio    Socket.IO, and the original lesson's dialect of it
    flood       the other end, to measure all this with

They are asyncio protocols without a task or a queue between the socket and the sink, and send
the bytes that a header profile says. With the profile `python` those are the bytes of the
readable clients, but for one exchange: a long poller that resumes joins again (`Light.resume`).
"""

from __future__ import annotations

import asyncio
from typing import Literal, Protocol

from labs.bench.heads import Profile
from labs.bench.light.client import Sink
from labs.bench.light.polling import LongPolling, Polling
from labs.bench.light.socketio import Lesson, SocketIO, speaks
from labs.bench.light.streaming import Streaming
from labs.bench.light.websocket import WebSocket
from labs.chat import Joined
from labs.settings import Settings
from labs.variants import Variant

__all__ = ["Dialect", "Light", "Sink", "light", "speaks"]

Dialect = Literal["spec", "lesson"]


class Light(Protocol):
    """A light client; its number is what it is called before the sink.

    `position_offset` is the highest offset of any message seen, `error` what it broke of,
    `missed` at how many of its moments a poller did not ask; 0 for those that have none.
    """

    state: str
    """`closed`, `connecting`, `open` or `reconnecting`."""
    position_offset: int
    missed: int
    error: Exception | None

    def __init__(
        self,
        number: int,
        url: str,
        settings: Settings,
        heads: Profile,
        sink: Sink,
        *,
        phase: float,
        keep_alive: bool = True,
    ) -> None: ...

    async def connect(self, name: str) -> Joined:
        """Open the transport, join, follow. Raises `ChatError`, or `ConnectionError`."""

    def send(self, text: str, key: str | None = None) -> asyncio.Future[int]:
        """Write at once; the future has the offset, a `ChatError` or a `ConnectionError`."""

    def drop(self) -> None:
        """Abort every connection without a word."""

    async def resume(self) -> Joined:
        """Come back to where it was; raises like `connect`, and may be tried again.

        Over when the server's first answer after the cut proves that the client can hear again:

        polling     the answer to a poll that is made at once; the next are at their phases.
        longpolling the answer to a join with token and position, after which the poll is
                    written: the poll itself may be held until something is said.
        streaming   the head of the response, with status 200.
        websocket   the ack of the join with token and position.
        socketio    the same; of a lesson's server, the first message that comes down.
        """

    async def close(self) -> None:
        """Leave, and free everything."""


CLASSES: dict[str, type[Light]] = {
    "polling": Polling,
    "longpolling": LongPolling,
    "streaming": Streaming,
    "websocket_chat": WebSocket,
    "socketio_chat": SocketIO,
}
"""The light client of each variant, by the variant's package."""


def light(variant: Variant, dialect: Dialect = "spec") -> type[Light] | None:
    """The light client of a variant, None where there is none.

    `dialect` is what the server speaks, where that is Socket.IO: see `speaks`.
    """
    if variant.package == "socketio_chat" and dialect == "lesson":
        return Lesson
    return CLASSES.get(variant.package)
