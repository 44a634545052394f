"""A browser's seventh tab with an event stream stays silent.

A browser opens at most six HTTP/1.1 connections to a host, for all its tabs together, and
queues what asks for more. An event stream keeps its connection, so of n tabs

    min(n, 6)    hear what is said,

the requests of the others are not even sent, and those six have no connection left to say
anything over: their words wait too. A stream that is closed lets the first in the queue go on.

The mend is what does not count against the six. A WebSocket leaves that pool when it is upgraded
(Chromium's own limit for them is 255), so all n hear and speak. Another origin has a pool of its
own: `localhost` is another host than `127.0.0.1`, though the server is the same. HTTP/2, with its
streams in one connection, would mend it too; browsers speak it over TLS only, and it is not
tried here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from matplotlib.figure import Figure

from labs import lab
from labs.errors import LabError
from labs.experiments.experiment import Claim, Experiment, Finding, near
from labs.experiments.plotting import axes, legend, measured, theory
from labs.experiments.rig.browser import Browser, Tab, ask_in, browsing, join, opened, say, shows
from labs.variants import Client
from labs.wire.dissect import dissect
from labs.wire.ledger import by_connection

CLAIM = Claim(
    title="The seventh tab with an event stream is silent",
    title_ko="이벤트 스트림을 연 일곱 번째 탭은 조용하다",
    says="Over HTTP/1.1 a browser opens six connections to a host, for all tabs together: with an "
    "event stream in each, tabs 1 to 6 work and the seventh hears nothing. Over WebSocket all do.",
    says_ko="브라우저는 HTTP/1.1에서 모든 탭을 합쳐 호스트당 연결을 여섯 개만 연다. 탭마다 이벤트 "
    "스트림이 있으면 1~6번 탭은 잘 되고 일곱 번째는 아무것도 듣지 못한다. 웹소켓이면 모두 된다.",
    source="WHATWG HTML, section 9.2.7 (server-sent events, authoring notes), on connection "
    "limits. The six are Chromium's, no standard's: RFC 9112 (2022), section 9.4, has no number.",
)

LIMIT = 6
TABS = 7
SILENT_S = 1.5  # how long the seventh is listened to; the others need some 30 ms
PATIENT_S = 60.0  # so that a page does not give up while it is watched


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Counts. `heard` and `heard_socket` are the tabs that heard a word, for 1, 2 ... tabs.

    Of event streams: `asked` reached the server while seven wanted one, and `asked_after` once
    one of six had been closed; `said` are words of a tab that came up meanwhile, and `said_after`
    once there was room; `freed` and `elsewhere` say whether the seventh heard after that, and
    whether a tab of another origin heard before. `seventh` are the tabs that heard the seventh
    tab's own word over WebSocket.
    """

    heard: Sequence[int]
    asked: int
    said: int
    asked_after: int
    said_after: int
    freed: int
    elsewhere: int
    heard_socket: Sequence[int]
    seventh: int


def predict() -> Found:
    """The closed form."""
    numbers = range(1, TABS + 1)
    return Found(
        heard=tuple(min(number, LIMIT) for number in numbers),
        asked=LIMIT,
        said=0,
        asked_after=LIMIT + 1,
        said_after=1,
        freed=1,
        elsewhere=1,
        heard_socket=tuple(numbers),
        seventh=TABS,
    )


async def run(seed: int) -> Found:
    """Seven tabs of one browser, first with event streams, then with WebSockets."""
    del seed  # nothing here is left to chance
    async with browsing() as browser:
        streams = await _streams(browser)
        sockets = await _sockets(browser)
    return msgspec.convert({**streams, **sockets}, Found)


async def _streams(browser: Browser) -> dict[str, object]:
    async with lab.serve("streaming", timeout_s=PATIENT_S) as server:
        outside = server.variant.client(server.direct_url, server.settings)
        await outside.connect("outside")
        try:
            tabs = [await opened(browser, server.url) for _ in range(TABS)]
            heard = [
                await _heard(tabs, number, outside, min(number, LIMIT))
                for number in range(1, TABS + 1)
            ]
            await say(tabs[0], "is anybody there?")
            found: dict[str, object] = {
                "heard": heard,
                "elsewhere": await _elsewhere(browser, server.url, outside),
                "said": await _within(tabs[1], "is anybody there?", SILENT_S),
                "asked": await _asked(server),
            }
            await tabs[LIMIT - 1].close()
            await tabs[-1].until("!document.getElementById('chat').hidden")
            freed = await _word(tabs[-1:], outside, "after one was closed")
            asked = await _asked(server)
            await tabs[LIMIT - 2].close()
            said = await _within(tabs[1], "is anybody there?")
            after = {"freed": freed, "asked_after": asked, "said_after": said}
        finally:
            await outside.close()
    return found | after


async def _sockets(browser: Browser) -> dict[str, object]:
    async with lab.serve("websocket") as server:
        outside = server.variant.client(server.direct_url, server.settings)
        await outside.connect("outside")
        try:
            tabs = [await opened(browser, server.url) for _ in range(TABS)]
            heard = [await _heard(tabs, number, outside, number) for number in range(1, TABS + 1)]
            await say(tabs[-1], "I am the seventh")
            seventh = sum([await _within(tab, "I am the seventh") for tab in tabs])
        finally:
            await outside.close()
    return {"heard_socket": heard, "seventh": seventh}


async def _heard(tabs: Sequence[Tab], number: int, outside: Client, expected: int) -> int:
    """One more tab comes in, or tries to; how many hear what is said then."""
    newest = tabs[number - 1]
    if number <= expected:
        await join(newest, f"tab {number}")
        return await _word(tabs[:number], outside, f"to {number} tabs")
    await ask_in(newest, f"tab {number}")
    rest = await _word(tabs[: number - 1], outside, f"to {number} tabs")
    return rest + await _within(newest, f"to {number} tabs", SILENT_S)


async def _word(tabs: Sequence[Tab], outside: Client, word: str) -> int:
    """Say something from outside the browser; answers how many of these tabs show it."""
    await outside.send(word)
    return sum(await asyncio.gather(*(_within(tab, word) for tab in tabs)))


async def _elsewhere(browser: Browser, url: str, outside: Client) -> int:
    """Whether a tab of another origin of the same server hears."""
    tab = await opened(browser, url.replace("127.0.0.1", "localhost"))
    await join(tab, "elsewhere")
    return await _word([tab], outside, "to another origin")


async def _within(tab: Tab, word: str, within_s: float = 5.0) -> int:
    """1 when a tab shows a word in time, 0 when it does not."""
    try:
        await tab.until(shows(word), within_s)
    except LabError:
        return 0
    return 1


async def _asked(server: lab.Served) -> int:
    """How many streams have been asked for at `127.0.0.1`, at the tap."""
    recording = await server.recording()
    return sum(
        piece.kind == "request"
        and piece.said.startswith(b"GET /updateMessage?")
        and b"Host: 127.0.0.1" in piece.said
        for events in by_connection(recording.events).values()
        for piece in dissect(events)
    )


def judge(predicted: Found, found: Found) -> list[Finding]:
    """Symptom, cause and fix."""
    shown = f"words shown in the page; {TABS} tabs of one Chromium, one after the other"
    tap = f"requests at the tap; {TABS} tabs of one Chromium"
    figures = [
        ("1 to 6 tabs with event streams: hear", "tabs", predicted.heard[-2], found.heard[-2]),
        ("7 tabs: streams asked for", "requests", predicted.asked, found.asked),
        ("7 tabs: words that a tab could send", "words", predicted.said, found.said),
        ("one closed: streams asked for", "requests", predicted.asked_after, found.asked_after),
        ("one closed: the seventh hears", "yes", predicted.freed, found.freed),
        (
            "two closed: words that a tab could send",
            "words",
            predicted.said_after,
            found.said_after,
        ),
        ("a tab of another origin hears", "yes", predicted.elsewhere, found.elsewhere),
        ("WebSocket: hear the seventh's word", "tabs", predicted.seventh, found.seventh),
    ]
    hear, sockets = predicted.heard[-1], predicted.heard_socket[-1]
    return [
        *(
            near(what, unit, expected, got, tap if unit == "requests" else shown)
            for what, unit, expected, got in figures
        ),
        near("7 event streams: hear", "tabs", hear, found.heard[-1], shown, of="claim"),
        near("7 WebSockets: hear", "tabs", sockets, found.heard_socket[-1], shown, of="claim"),
    ]


def plot(predicted: Found, found: Found) -> Figure:
    """Tabs that hear by tabs that are open."""
    figure, (on,) = axes(right=0.7)
    numbers = range(1, TABS + 1)
    theory(on, numbers, predicted.heard_socket, "n", 3)
    measured(on, numbers, found.heard_socket, "WebSocket, measured", 3)
    theory(on, numbers, predicted.heard, "min(n, 6)", 2)
    measured(on, numbers, found.heard, "event stream, measured", 2)
    on.set_xlabel("tabs open")
    on.set_ylabel("tabs that hear")
    legend(on)
    return figure


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
