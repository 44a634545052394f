"""What a variant is, and which there are.

A variant is one transport for the chat: a server, a client in Python, a client in JavaScript.
A *configuration* is a variant under another name with a few settings changed.
"""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from labs.errors import UsageError
from labs.settings import Settings

if TYPE_CHECKING:  # the names alone are to be had at once
    from labs.chat import Chat, Joined, Message


class Client(Protocol):
    """A chat client: the same four members on every transport, in Python and in JavaScript.

    It reconnects by itself, and resumes from the last message it gave out.
    """

    state: str
    """`closed`, `connecting`, `open` or `reconnecting`."""

    def __init__(self, url: str, settings: Settings) -> None: ...

    async def connect(self, name: str, since: int | str | None = None) -> Joined:
        """Join the room of the settings. Raises `ChatError`, or `OSError` if nobody answers."""

    async def send(self, text: str, key: str | None = None) -> int:
        """Say something, however often that takes; answers its offset. Raises `ChatError`.

        Whoever sends must also read `messages`: where answers come down behind messages, they
        wait while a thousand of those wait.
        """

    def messages(self) -> AsyncIterator[Message]:
        """Everything said from the client's place on, once each, in order, gaps included.

        Ends when the client is closed; raises `ChatError` if the server ended it for good.
        """

    async def close(self) -> None:
        """Leave, and free everything."""


Serve = Callable[["Chat", str, int], AbstractAsyncContextManager[str]]


@dataclass(frozen=True)
class Variant:
    """One transport for the chat.

    `serve(chat, host, port)` serves until its context ends and yields the URL; `quiet_s`
    says how long this transport's server may be silent under given settings; `overrides`
    are the settings of a configuration.
    """

    name: str
    title: str
    package: str
    serve: Serve
    client: Callable[[str, Settings], Client]
    quiet_s: Callable[[Settings], float]
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, base: Settings | None = None) -> Settings:
        """The settings of this variant: the base's, with a configuration's own on top."""
        return (base or Settings()).but(**self.overrides)

    def chat(self, settings: Settings) -> Chat:
        """A new chat for this variant to serve."""
        from labs.chat import Chat

        return Chat(settings, self.quiet_s(settings))

    @property
    def folder(self) -> Path:
        """Where its sources are, `client.js` among them."""
        return Path(str(import_module(self.package).__file__)).parent


VARIANTS = {
    "polling": ("polling", "VARIANT"),
    "longpolling": ("longpolling", "VARIANT"),
    "streaming": ("streaming", "VARIANT"),
    "websocket": ("websocket_chat", "VARIANT"),
    "websocket-deflate": ("websocket_chat", "DEFLATE"),
    "socketio": ("socketio_chat", "VARIANT"),
    "socketio-websocket": ("socketio_chat", "WEBSOCKET_ONLY"),
    "socketio-polling": ("socketio_chat", "POLLING_ONLY"),
}
"""Every name that can be run: its package, and the name of the `Variant` in it."""

FIVE = ("polling", "longpolling", "streaming", "websocket", "socketio")
"""The five the lab compares, in the order of the lesson."""


def load(name: str) -> Variant:
    """The variant or configuration of this name; raises `UsageError` with the nearest one."""
    if name not in VARIANTS:
        near = difflib.get_close_matches(name, VARIANTS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(VARIANTS)}"
        raise UsageError(f"no variant is called {name!r}; {hint}")
    package, attribute = VARIANTS[name]
    variant: Variant = getattr(import_module(package), attribute)
    return variant
