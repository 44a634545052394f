"""Socket.IO works where WebSocket does not.

A proxy stands between client and server that passes HTTP on and lets no WebSocket through; it
refuses the upgrade, or strips it of the fields that ask for it (labs/experiments/rig/refusing.py).
What can come of it follows from the protocols (RFC 6455 section 4.1, Engine.IO protocol 4):

    websocket              fails: a client must fail the connection unless it is answered 101. It
                           is answered 403, or by the server, which saw an ordinary GET: 200, the
                           page. The error of `websockets`, without the chat, names that.
    socketio-websocket     fails: it was told to use no other transport
    socketio               the upgrade fails, the session goes on by polling: all that is said
                           comes, once each and in order

How it goes on shows in the requests while they talk: every message of one's own is a POST by
polling, and no request at all over a WebSocket. The same proxy in another manner, letting upgrades
through, is the control: there all three come in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from matplotlib.figure import Figure
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from labs import lab
from labs.chat import Message
from labs.errors import ChatError, LabError
from labs.experiments.experiment import Claim, Experiment, Finding, near, true
from labs.experiments.plotting import axes, legend, measured, theory
from labs.experiments.rig.refusing import HOST, Manner, Proxy, refusing
from labs.variants import Client
from labs.wire.control import together

CLAIM = Claim(
    title="Socket.IO works where WebSocket does not",
    title_ko="Socket.IO는 웹소켓이 안 되는 곳에서도 동작한다",
    says="Behind a proxy that refuses the upgrade a WebSocket cannot be opened, while Socket.IO "
    "stays on HTTP polling and goes on.",
    says_ko="업그레이드를 거부하는 프록시 뒤에서는 웹소켓을 열 수 없지만, Socket.IO는 HTTP 폴링에 "
    "머물며 계속 동작한다.",
    source="The original lesson; the Socket.IO documentation, on its HTTP long-polling fallback.",
)

VARIANTS = ("websocket", "socketio-websocket", "socketio")
MANNERS: tuple[Manner, ...] = ("let", "refuse", "strip")
SAID = 10
"""How many messages each of the two says."""
WAIT_S = 10.0
STATUS = {"refuse": "HTTP 403", "strip": "HTTP 200"}

Case = tuple[str, Manner]


@dataclass(frozen=True)
class Came:
    """What came of a client behind a proxy.

    `in_order` says whether it heard all that was said, once each and in order; `posts` are the
    POSTs that the proxy forwarded while they talked. `error` is why it could not come in, and of
    websocket what the bare library says.
    """

    heard: int
    in_order: bool
    posts: int
    error: str


Outcomes = dict[Case, Came]


def predict() -> Outcomes:
    """What follows from the protocols."""
    return {(name, manner): _expected(name, manner) for name in VARIANTS for manner in MANNERS}


def _expected(name: str, manner: Manner) -> Came:
    if manner == "let":
        return Came(2 * SAID, True, 0, "")
    if name == "socketio":
        return Came(2 * SAID, True, SAID, "")
    return Came(0, False, 0, STATUS[manner] if name == "websocket" else "refused")


async def run(seed: int) -> Outcomes:
    """A server of each kind, behind a proxy of each; side by side, for nothing is timed."""
    found: Outcomes = {}
    await together(*(_at(name, found) for name in VARIANTS))
    return found


async def _at(name: str, found: Outcomes) -> None:
    async with lab.serve(name, heartbeat_s=60.0) as server:
        port = urlsplit(server.direct_url).port or 80
        for manner in MANNERS:
            room = server.settings.but(room=manner)
            near_by = server.variant.client(server.direct_url, room)
            async with refusing(HOST, port, manner) as proxy:
                behind = server.variant.client(proxy.url, room)
                found[name, manner] = await came(behind, near_by, proxy)
                if name == "websocket" and found[name, manner].error:
                    found[name, manner] = replace(found[name, manner], error=await bare(proxy.url))


async def bare(url: str) -> str:
    """What the library `websockets` says when it cannot open a WebSocket; empty if it can."""
    try:
        async with connect(url.replace("http", "ws", 1), proxy=None, open_timeout=WAIT_S):
            return ""
    except (WebSocketException, OSError) as error:
        return str(error)


async def came(behind: Client, near_by: Client, proxy: Proxy) -> Came:
    """Let one who is behind the proxy and one who is not talk; raises `LabError` if that hangs."""
    try:
        async with asyncio.timeout(WAIT_S):
            await behind.connect("ann")
    except (OSError, ChatError) as error:
        return Came(0, False, 0, str(error) or type(error).__name__)
    await near_by.connect("bob")
    try:
        async with asyncio.timeout(WAIT_S):
            return await _talk(behind, near_by, proxy)
    except TimeoutError:
        raise LabError(f"two clients did not end their talk within {WAIT_S:g} s") from None
    finally:
        await behind.close()
        await near_by.close()


async def _talk(behind: Client, near_by: Client, proxy: Proxy) -> Came:
    hears, other = behind.messages(), near_by.messages()
    await near_by.send("begin")
    for one in (hears, other):
        await _next_talk(one)
    before, heard, said = proxy.requests["POST"], list[Message](), list[str]()
    for number in range(SAID):
        for speaker in (behind, near_by):
            said.append(f"{number} of {'ann' if speaker is behind else 'bob'}")
            await speaker.send(said[-1])
            heard.append(await _next_talk(hears))
            await _next_talk(other)
    posts = proxy.requests["POST"] - before
    return Came(len(heard), [one.text for one in heard] == said, posts, "")


async def _next_talk(messages: AsyncIterator[Message]) -> Message:
    async for message in messages:
        if message.kind == "talk":
            return message
    raise ConnectionError("the client was closed while somebody listened")


def judge(predicted: Outcomes, found: Outcomes) -> list[Finding]:
    """Who comes in, who hears everything, and by what."""
    basis = f"our clients behind a proxy of ours; two people, {SAID} messages each, in turn"
    findings: list[Finding] = []
    for (name, manner), expected in predicted.items():
        seen, what = found[name, manner], f"{name}, proxy: {manner}"
        if expected.error:
            findings.append(true(f"{what}: cannot connect", bool(seen.error), basis, of="claim"))
            if name == "websocket":
                named = f"the error names {expected.error}"
                findings.append(true(f"{what}: {named}", expected.error in seen.error, basis))
            continue
        findings += [
            near(f"{what}: heard", "messages", expected.heard, seen.heard, basis, of="claim"),
            true(f"{what}: once each, in order", seen.in_order, basis, of="claim"),
            near(f"{what}: POSTs", "requests", expected.posts, seen.posts, basis),
        ]
    return findings


def plot(predicted: Outcomes, found: Outcomes) -> Figure:
    """Messages heard behind each proxy, and the requests that took."""
    figure, (left, right) = axes(2, height_in=3.6, left=0.26, right=0.78)
    places, names = range(len(predicted)), [f"{name}, {manner}" for name, manner in predicted]
    cases = list(predicted)
    for draw, of, word in ((theory, predicted, "theory"), (measured, found, "measured")):
        draw(left, [of[case].heard for case in cases], list(places), "")
        draw(right, [of[case].posts for case in cases], list(places), word)
    left.set_yticks(places, names)
    right.set_yticks(places, [""] * len(names))
    left.set_xlabel(f"messages heard of {2 * SAID}")
    right.set_xlabel("POSTs meanwhile")
    legend(right)
    return figure


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
