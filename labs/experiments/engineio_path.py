"""Socket.IO's path must agree on both sides.

A server answers Engine.IO at its `path` and nowhere else, and a client asks at its own. So of a
client at path q and a server at path p

    p = q     it joins, and what is said comes to it;
    p != q    its first request is answered 400, and no session begins.

A slash at the end is no difference: both libraries leave it out. The answer to a wrong path names
the right one (SPEC.md S9.1), and the client gives it out as its error. It comes with the first
request where that is a poll; a refused WebSocket shows a client its status alone, so ours asks the
same again without the upgrade, and that is two. The client that the server serves to pages,
`socket.io.js`, stands at the path too: where p != q a page does not find even that.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from aiohttp import ClientSession, ClientTimeout
from matplotlib.figure import Figure

from labs import lab
from labs.errors import ChatError, LabError
from labs.experiments.experiment import Claim, Experiment, Finding, near, true
from labs.experiments.plotting import axes, legend, measured, theory
from labs.pages import VENDOR
from labs.wire.control import together

CLAIM = Claim(
    title="Socket.IO's path must agree on both sides",
    title_ko="Socket.IO의 path는 양쪽이 같아야 한다",
    says="Server and client must be given the same `path`; otherwise the client does not connect. "
    "The script that the server serves, `socket.io.js`, is under that path too.",
    says_ko="서버와 클라이언트의 `path`가 같아야 하며, 다르면 연결되지 않는다. 서버가 내주는 "
    "`socket.io.js`도 그 경로 아래에 있다.",
    source="The original lesson; the Socket.IO documentation, on the option path.",
)

USUAL, OWN = "/socket.io", "/chat/engine"
WAIT_S = 10.0
TRANSPORTS = {"polling": ("polling", "websocket"), "websocket": ("websocket",)}
"""What a client tries, by the transport it tries first."""


class Case(NamedTuple):
    """Where the server is, where the client asks, and over what first."""

    server: str
    client: str
    first: str

    @property
    def agree(self) -> bool:
        """Whether they are given the same path."""
        return self.server == self.client.rstrip("/")

    def __str__(self) -> str:
        return f"server {self.server}, client {self.client}, {self.first} first"


CASES = tuple(
    Case(server, client, first)
    for first in TRANSPORTS
    for server in (USUAL, OWN)
    for client in (USUAL, OWN, f"{server}/")
)


@dataclass(frozen=True)
class Came:
    """What came of a client: whether it heard itself speak, whether it was told the right path.

    `requests` are those it made until it was refused, 0 if it was not.
    """

    heard: bool
    told: bool
    requests: int


@dataclass(frozen=True)
class Paths:
    """What came of each client, and the status of `socket.io.js` by where the server is."""

    came: dict[Case, Came]
    scripts: dict[tuple[str, str], int]


def predict() -> Paths:
    """What follows from the paths."""
    tries = {"polling": 1, "websocket": 2}
    came = {
        case: Came(True, False, 0) if case.agree else Came(False, True, tries[case.first])
        for case in CASES
    }
    scripts = {
        (server, asked): 200 if server == asked else 404
        for server in (USUAL, OWN)
        for asked in (USUAL, OWN)
    }
    return Paths(came, scripts)


async def run(seed: int) -> Paths:
    """A server at each path, all clients at each; raises `LabError` without the script."""
    if not (VENDOR / "socket.io.js").is_file():
        raise LabError("there is no socket.io.js to serve: install the project with npm in reach")
    found = Paths({}, {})
    await together(*(_at(server, found) for server in (USUAL, OWN)))
    return found


async def _at(path: str, found: Paths) -> None:
    async with lab.serve("socketio", path=path, heartbeat_s=60.0) as server:
        for number, case in enumerate(case for case in CASES if case.server == path):
            found.came[case] = await _try(server, case, f"client{number}")
        for asked in (USUAL, OWN):
            found.scripts[path, asked] = await _status(f"{server.direct_url}{asked}/socket.io.js")


async def _try(server: lab.Served, case: Case, name: str) -> Came:
    await server.traffic()
    try:
        client = await server.join(name, path=case.client, transports=TRANSPORTS[case.first])
    except ChatError as error:
        told = f"at {case.server} here" in error.message
        return Came(False, told, (await server.traffic()).requests)
    except OSError:
        return Came(False, False, (await server.traffic()).requests)
    try:
        async with asyncio.timeout(WAIT_S):
            await client.send(f"I am {name}")
            async for message in client.messages():
                if message.text == f"I am {name}":
                    return Came(True, False, 0)
    except TimeoutError:
        pass  # it had joined, but heard nothing: that is what is told
    return Came(False, False, 0)


async def _status(url: str) -> int:
    timeout = ClientTimeout(WAIT_S)
    async with ClientSession(timeout=timeout) as http, http.get(url) as response:
        return response.status


def judge(predicted: Paths, found: Paths) -> list[Finding]:
    """Who is there, who is told why not, and where the script is."""
    basis = "one client of ours a case, through the tap"
    findings: list[Finding] = []
    for case, expected in predicted.came.items():
        came = found.came[case]
        hears = "hears itself" if expected.heard else "is not let in"
        findings.append(true(f"{case}: {hears}", came.heard == expected.heard, basis, of="claim"))
        if not expected.heard:
            findings += [
                true(f"{case}: is told the right path", came.told, basis),
                near(f"{case}: until told", "requests", expected.requests, came.requests, basis),
            ]
    for (server, asked), status in predicted.scripts.items():
        what = f"server {server}: status of {asked}/socket.io.js"
        got = found.scripts[server, asked]
        findings.append(near(what, "status", status, got, "one GET", of="claim"))
    return findings


def plot(predicted: Paths, found: Paths) -> Figure:
    """Requests until a client is refused; none for those who are let in."""
    names = [str(case).replace(", client", ",\nclient") for case in CASES]
    figure, (on,) = axes(height_in=4.8, left=0.42, right=0.82)
    places = list(range(len(CASES)))
    expected = [predicted.came[case].requests for case in CASES]
    theory(on, expected, places, "theory", 0)
    measured(on, [found.came[case].requests for case in CASES], places, "measured", 0)
    on.set_yticks(places, names, fontsize=7)
    on.set_xticks([0, 1, 2])
    on.set_xlabel("requests until refused (0: let in)")
    legend(on)
    return figure


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
