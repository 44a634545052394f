"""Header profiles: the request heads of real clients, as data.

What a request costs depends on who makes it: a Python client sends about 150 bytes of head, a
browser some 500. A profile holds the heads of one client, in the order and case it sends them:

    python      our readable clients. aiohttp and websockets fill in their own versions, and
                aiohttp the encodings it can undo, so these heads are made from the libraries'
                public constants and hold for whatever is installed.
    chromium    our pages in Chromium, recorded at a socket; `chromium.toml` beside this file
                says which version and when.

The kinds of requests:

    command         POST of JSON: /newUserConnect, /sendMessage, /disconnect
    poll            GET /updateMessage of polling and longpolling
    stream          GET /updateMessage of streaming
    upgrade         the opening handshake of websocket (RFC 6455 section 4.1)
    engine_get      a poll of Engine.IO
    engine_post     packets to Engine.IO
    engine_upgrade  Engine.IO's WebSocket handshake

A page leaves by a beacon, whose head says `Sec-Fetch-Mode: no-cors` where a command's says
`cors`; the profile has no kind of its own for those three bytes.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Formatter
from urllib.parse import quote

import aiohttp
from aiohttp.http import SERVER_SOFTWARE
from websockets.http11 import USER_AGENT

from labs.errors import LabError, UsageError

KINDS = ("command", "poll", "stream", "upgrade", "engine_get", "engine_post", "engine_upgrade")

PROFILES = ("python", "chromium")
"""Every name there is."""

ENDED = b"\r\n\r\n"


@dataclass(frozen=True)
class Profile:
    """The request heads of one client.

    `source` says whose they are, and when they were measured. `heads` and `targets` are
    templates by kind; `first` are the targets of the requests that come before Engine.IO has
    given a `sid`. `quoted` says that a position's colon is percent-encoded in a query, and
    `stamp_bytes` how long the value of Engine.IO's query parameter `t` is on average.
    """

    name: str
    source: str
    heads: Mapping[str, str]
    targets: Mapping[str, str]
    first: Mapping[str, str]
    quoted: bool
    stamp_bytes: float

    def request(
        self,
        kind: str,
        method: str,
        target: str,
        host: str,
        *,
        length: int | None = None,
        **fields: str,
    ) -> bytes:
        """A whole request head, from the request line to the empty line (RFC 9112 section 2.1).

        `host` is host and port, `length` the bytes of the body that follows. Further fields:
        `last_event_id` of a stream, `key` of an upgrade. Raises `LabError` when one is missing.
        """
        lines = _filled(self.heads, kind, host=host, length=length, **fields)
        return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode()

    def target(self, kind: str, **fields: str) -> str:
        """The path and query this client asks for.

        Fields: `session` and `since` of a poll and a stream; `path` (the setting), `t` and,
        once there is one, `sid` of Engine.IO. Raises `LabError` when one is missing.
        """
        if self.quoted and "since" in fields:
            fields["since"] = quote(fields["since"], safe="")
        opening = kind in self.first and "sid" not in fields
        return _filled(self.first if opening else self.targets, kind, **fields)


def _filled(templates: Mapping[str, str], kind: str, **fields: object) -> str:
    if kind not in templates:
        raise LabError(f"no request is of kind {kind!r} here; there are {', '.join(templates)}")
    for _, field, _, _ in Formatter().parse(templates[kind]):
        if field and fields.get(field) is None:
            raise LabError(f"the request of kind {kind!r} needs its {field}")
    return templates[kind].format_map(fields)


def _head(lines: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in lines.items())


UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade"}


def _python() -> Profile:
    host = {"Host": "{host}"}
    # What aiohttp adds to every request, its encodings being those it can undo here.
    defaults = aiohttp.ClientRequest.DEFAULT_HEADERS
    own = {str(name): value for name, value in defaults.items()} | {"User-Agent": SERVER_SOFTWARE}
    json, text = {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}
    length = {"Content-Length": "{length}"}
    version, key = {"Sec-WebSocket-Version": "13"}, {"Sec-WebSocket-Key": "{key}"}
    heads: dict[str, dict[str, str]] = {
        "command": {**host, **json, **own, **length},
        "poll": {**host, **own},
        "stream": {**host, "Last-Event-ID": "{last_event_id}", **own},
        "upgrade": {**host, **UPGRADE, **key, **version, "User-Agent": USER_AGENT},
        "engine_get": {**host, **own},
        "engine_post": {**host, **text, **own, **length},
        "engine_upgrade": {**host, **UPGRADE, **version, **key, **own},
    }
    engine = "{path}/?transport=%s&EIO=4"
    return Profile(
        name="python",
        source=f"{SERVER_SOFTWARE}, {USER_AGENT}",
        heads={kind: _head(lines) for kind, lines in heads.items()},
        targets={
            "poll": "/updateMessage?session={session}&since={since}",
            "stream": "/updateMessage?session={session}",
            "upgrade": "/",
            "engine_get": engine % "polling" + "&sid={sid}&t={t}",
            "engine_post": engine % "polling" + "&sid={sid}",
            "engine_upgrade": engine % "websocket" + "&sid={sid}&t={t}",
        },
        first={
            "engine_get": engine % "polling" + "&t={t}",
            "engine_upgrade": engine % "websocket" + "&t={t}",
        },
        quoted=False,
        stamp_bytes=_clock_bytes(),
    )


def _clock_bytes() -> float:
    """How long `str(time.time())` is on average, in this age of ten digits before the point.

    A double of that size is a multiple of 2**-22. Of the 2**22 in a second, 10**n can be
    written with n digits after the point as long as n is under 7; the others take 7. One digit
    always stands there.
    """
    shorter = sum((10, 100, 1_000, 10_000, 100_000, 1_000_000)) / 2**22
    return len("1234567890.1234567") - shorter


def _measured(name: str) -> Profile:
    file = Path(__file__).with_name(f"{name}.toml")
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    return Profile(
        name=name,
        source=f"{data['browser']}, measured {data['measured']}",
        heads={kind: lines.replace("\n", "\r\n") for kind, lines in data["heads"].items()},
        targets=data["targets"],
        first=data["first"],
        quoted=data["quoted"],
        stamp_bytes=data["stamp_bytes"],
    )


@cache
def find(name: str) -> Profile:
    """The profile of this name; raises `UsageError` that names those there are."""
    if name not in PROFILES:
        raise UsageError(f"no header profile is called {name!r}; there are {', '.join(PROFILES)}")
    return _python() if name == "python" else _measured(name)
