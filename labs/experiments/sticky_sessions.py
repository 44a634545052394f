"""Socket.IO over polling does not work on two workers without sticky sessions.

Symptom: clients never come in, and answers are 404 `unknown_session` (400 of a plain server).
Cause: a session lives in the memory of the worker that opened it; `sid` means nothing to another.
Fix: the proxy sends what names a session to the worker that opened it; or one long connection,
a WebSocket from the start, which is one request.

Requests spread evenly over n workers find theirs with probability 1/n; in turn, those after the
opening of a lone client are refused exactly (n - 1) / n of the time, the first of them always:
with two workers every other one, beginning with the second request. A client that needs three
(open, connect, poll) gets in under no turn.

Sticking is not enough for a chat: each worker has a room of its own, and who sits at another does
not hear. (A shared log or a message queue between the workers is the rest of the fix.)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import get_args

import aiohttp
import msgspec
from matplotlib.figure import Figure

from labs.errors import ChatError
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near, true
from labs.experiments.plotting import axes, colour, legend, measured
from labs.experiments.rig.balancer import Balancer, Rule, balancing
from labs.settings import Settings
from labs.variants import Client, load
from labs.wire.relay import HOST

CLAIM = Claim(
    title="Socket.IO over polling needs sticky sessions as soon as there are two workers",
    title_ko="워커가 둘이 되는 순간 Socket.IO 폴링에는 고정 세션(sticky session)이 필요하다",
    says="Behind a proxy that spreads requests, a polling session reaches workers that do not know "
    "it, and clients never connect. Sticking cures it; so does a WebSocket from the start.",
    says_ko="요청을 나눠 보내는 프록시 뒤에서는 폴링 세션이 자기를 모르는 워커에 닿아 클라이언트가 "
    "끝내 연결되지 못한다. 세션을 고정하거나, 처음부터 웹소켓만 쓰면 낫는다.",
    source="Folklore; Socket.IO 4 documentation, Using multiple nodes, Sticky load balancing.",
)

WORKERS = 2
REQUESTS = 10
CLIENTS = 4
RULES: tuple[Rule, ...] = get_args(Rule)
TRANSPORTS = ("socketio-polling", "socketio", "socketio-websocket")
SETTINGS = Settings(timeout_s=1.5, drain_s=0.5)


class Sessions(msgspec.Struct, frozen=True, kw_only=True):
    """By rule and variant, how many clients came in; by rule, what else was seen.

    `refused` of so many requests that name a session; `wasted` requests of one that never comes
    in; `used` workers; whether somebody `hears` who may sit at another worker.
    """

    joined: dict[str, int]
    refused: dict[str, int]
    wasted: float
    used: dict[str, int]
    hears: dict[str, bool]


def predict() -> Sessions:
    """Two workers, in turn."""
    polling, upgraded, _ = TRANSPORTS
    joined = {f"{rule} {name}": CLIENTS for rule in RULES for name in TRANSPORTS}
    joined |= {f"round-robin {polling}": 0, f"round-robin {upgraded}": 0}
    return Sessions(
        joined=joined,
        refused={"round-robin": REQUESTS * (WORKERS - 1) // WORKERS, "sid": 0, "address": 0},
        wasted=2,  # at the least: the opening, and what the other worker refuses
        used={"round-robin": WORKERS, "sid": WORKERS, "address": 1},
        hears={"sid": False, "address": True},
    )


async def run(seed: int) -> Sessions:
    """Each rule with each set of transports, on two workers of their own."""
    joined, refused, used = dict[str, int](), dict[str, int](), dict[str, int]()
    hears, wasted = dict[str, bool](), 0.0
    for rule in RULES:
        async with workers("socketio-polling", rule) as (balancer, url):
            refused[rule] = await knock(url)
            if rule in ("sid", "address"):
                hears[rule] = await heard(url)
        for name in TRANSPORTS:
            async with workers(name, rule) as (balancer, url):
                joined[f"{rule} {name}"] = await come_in(name, url)
                if name == "socketio-polling":
                    used[rule] = len({each.worker for each in balancer.passed})
                    wasted = wasted or len(balancer.passed) / CLIENTS
    return Sessions(joined=joined, refused=refused, wasted=wasted, used=used, hears=hears)


@asynccontextmanager
async def workers(name: str, rule: Rule) -> AsyncIterator[tuple[Balancer, str]]:
    """Two servers of a variant behind a proxy with a rule; yields it and its URL."""
    variant = load(name)
    settings = variant.settings(SETTINGS)
    async with AsyncExitStack() as stack:
        urls = [
            await stack.enter_async_context(variant.serve(variant.chat(settings), HOST, 0))
            for _ in range(WORKERS)
        ]
        yield await stack.enter_async_context(balancing(urls, rule))


async def knock(url: str) -> int:
    """Open a session by hand and post to it, one after the other; answers how many are refused."""
    target = f"{url}{SETTINGS.path}/?EIO=4&transport=polling"
    refused = 0
    async with aiohttp.ClientSession() as http:
        async with http.get(target) as response:
            sid = msgspec.json.decode((await response.text())[1:])["sid"]
        for _ in range(REQUESTS):
            async with http.post(f"{target}&sid={sid}", data="3") as response:
                refused += response.status == 404
    return refused


async def come_in(name: str, url: str) -> int:
    """So many clients one after the other; answers how many of them joined."""
    variant, joined = load(name), 0
    for place in range(CLIENTS):
        client = variant.client(url, variant.settings(SETTINGS))
        with suppress(ChatError, ConnectionError):
            await client.connect(f"client{place}")
            joined += 1
        await client.close()
    return joined


async def heard(url: str) -> bool:
    """Whether the second of two clients hears the first, who spoke before it did itself."""
    variant = load("socketio-polling")
    alice, bob = (variant.client(url, variant.settings(SETTINGS)) for _ in range(2))
    try:
        await alice.connect("alice")
        await bob.connect("bob")
        await alice.send("from alice")
        await bob.send("from bob")
        return "from alice" in await _until(bob, "from bob")
    finally:
        await alice.close()
        await bob.close()


async def _until(client: Client, text: str) -> list[str]:
    texts = []
    async with asyncio.timeout(SETTINGS.timeout_s):
        async for message in client.messages():
            texts.append(message.text)
            if message.text == text:
                break
    return texts


def judge(predicted: Sessions, found: Sessions) -> list[Finding]:
    """The symptom, its cause, and what cures it."""
    lone = f"one client by hand, {REQUESTS} requests that name its session, {WORKERS} workers"
    crowd = f"{CLIENTS} clients one after the other, {WORKERS} workers"
    findings = [
        near(
            f"{rule}: requests refused",
            "requests",
            predicted.refused[rule],
            found.refused[rule],
            lone,
        )
        for rule in RULES
    ]
    findings += [
        near(
            f"{case}: clients that come in",
            "clients",
            number,
            found.joined[case],
            crowd,
            of="claim",
        )
        for case, number in predicted.joined.items()
    ]
    findings.append(
        bounded(
            "round-robin: requests of one that never does",
            "requests",
            found.wasted,
            crowd,
            least=predicted.wasted,
        )
    )
    findings += [
        near(
            f"{rule}: workers that are used",
            "workers",
            predicted.used[rule],
            found.used[rule],
            crowd,
        )
        for rule in RULES
    ]
    two = "two clients who came in one after the other; who speaks second hears what came before"
    return [
        *findings,
        true("sid: who sits at another worker is not heard", not found.hears["sid"], two),
        true("address: all sit at one worker and hear each other", found.hears["address"], two),
    ]


def plot(predicted: Sessions, found: Sessions) -> Figure:
    """How many clients come in, by rule and transport."""
    figure, (on,) = axes(left=0.36, right=0.72)
    cases = list(predicted.joined)
    rows = range(len(cases))
    on.barh(
        rows, [predicted.joined[case] for case in cases], color=colour(0), alpha=0.3, label="theory"
    )
    measured(on, [found.joined[case] for case in cases], list(rows), "measured")
    on.set_yticks(rows, cases)
    on.invert_yaxis()
    on.set_xlabel(f"clients that come in, of {CLIENTS}")
    legend(on)
    return figure


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
