"""A messenger in a tab pays for its page each time, is throttled when hidden, and cannot ping.

An installed messenger has its program already: it loads no page. A tab fetches every file that
the page names, and since ours are served to be asked for anew (`Cache-Control: no-cache`, no
validator) the second time costs what the first did: the sum of the files, in as many requests.

A poller of interval T polls 1 / T times a second. A browser wakes the timers of a hidden page
once a second, and ours waits on a timer before each poll, so that a hidden tab polls

    1 / max(T, 1 s)    times a second,

and an installed one as often as ever. (After five minutes Chromium wakes some hidden pages once
a minute. That is longer than an experiment lasts, and is not shown.)

A tab that is closed still says `disconnect`, by a beacon, and is seen to leave at once. Nobody
speaks for a process that is killed, a browser's or any other: it is seen to leave when its
lease ends, from `lease_s` less the age of its last poll (up to T), to a tenth of it more. What
the page knew is gone with the tab, and the next one starts at its own join; a program that has
written its place down returns to it and gets what it missed. (So could a page that stored it;
ours does not, and nor does our terminal.)

RFC 6455 lets either side ping. The browsers' WebSocket has no call for it and never does, though
it answers; a client of one's own pings every `heartbeat_s`.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic

import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labs import lab
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, colour, legend, measured
from labs.experiments.rig.browser import Browser, browsing, join, opened, shows
from labs.experiments.rig.messengers import (
    Watch,
    beacons,
    page_files,
    pings,
    polls,
    pongs,
    pulses,
    returned,
    terminal,
    watching,
)
from labs.settings import Settings
from labs.variants import load
from labs.wire.traffic import Traffic

CLAIM = Claim(
    title="A messenger in a tab is not an installed one",
    title_ko="탭 안의 메신저는 설치한 메신저와 다르다",
    says="A web messenger is loaded anew each time, forgets what it knew when its tab is closed, "
    "slows down when hidden, and cannot ping; an installed one need do none of this.",
    says_ko="웹 메신저는 열 때마다 새로 내려받고, 탭을 닫으면 알던 것을 잊으며, 탭이 가려지면 "
    "느려지고, 핑을 보낼 수 없다. 설치한 메신저는 그러지 않아도 된다.",
    source="The original lesson, on installed and web messengers; RFC 6455 (2011), section 5.5.2, "
    "and the WHATWG WebSockets standard, on pings; Chromium's throttling of hidden pages' timers.",
)

INTERVAL_S = 0.1
LEASE_S = 2.0
HEARTBEAT_S = 0.5
SHOWN_S = 2.0
HIDDEN_S = 5.0
HIDDEN_WAKES_S = 1.0
MISSED = 3
SLACK_S = 0.5  # for a busy machine
WHO = ("terminal", "tab, visible", "tab, hidden")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What both kinds of messenger cost and did.

    Bytes of the page by who loads it, polls a second by `WHO`, seconds until somebody was seen
    to leave, messages that were missed and came, pings for each heartbeat.
    """

    page_bytes: int
    page_requests: int
    again_bytes: int
    installed_bytes: int
    polls: Mapping[str, float]
    beacons: int
    closed_s: Mapping[str, float]
    killed_s: Mapping[str, float]
    kept: int
    lost: int
    pings: Mapping[str, float]
    pongs: float


def predict() -> Found:
    """The closed form."""
    variant = load("polling")
    settings = variant.settings(Settings(interval_s=INTERVAL_S, lease_s=LEASE_S))
    files = page_files(variant, settings)
    size = sum(files.values())
    often = 1 / INTERVAL_S
    return Found(
        page_bytes=size,
        page_requests=len(files),
        again_bytes=size,
        installed_bytes=0,
        polls=dict(zip(WHO, (often, often, 1 / max(INTERVAL_S, HIDDEN_WAKES_S)), strict=True)),
        beacons=1,
        closed_s={"terminal": 0.0, "tab": 0.0},
        killed_s={"terminal": LEASE_S, "tab": LEASE_S},
        kept=MISSED,
        lost=0,
        pings={"installed": 1.0, "tab": 0.0},
        pongs=1.0,
    )


async def run(seed: int) -> Found:
    """The same chat from a terminal and from a tab, then both killed."""
    del seed  # nothing here is left to chance
    async with (
        lab.serve("polling", interval_s=INTERVAL_S, lease_s=LEASE_S) as server,
        lab.serve("websocket", heartbeat_s=HEARTBEAT_S) as pinged,
        watching(server) as watch,
        browsing() as browser,
    ):
        await pinged.join("installed")
        await join(await opened(browser, pinged.url), "tab")
        terminal_bytes, terminal_polls, terminal_s = await _installed(server, watch)
        page, tab_polls, tab_s = await _first_tab(browser, server, watch)
        again, kept, lost = await _second_tab(browser, server, watch)
        beating = pulses(await pinged.recording())
        killed_s = await _killed(browser, server, watch)
        said = beacons(await server.recording())
    return Found(
        page_bytes=page.of("down", "content", "page"),
        page_requests=page.requests,
        again_bytes=again.of("down", "content", "page"),
        installed_bytes=terminal_bytes,
        polls=dict(zip(WHO, (terminal_polls, *tab_polls), strict=True)),
        beacons=said,
        closed_s={"terminal": terminal_s, "tab": tab_s},
        killed_s=killed_s,
        kept=kept,
        lost=lost,
        pings={who: pings(beating, who == "tab", HEARTBEAT_S) for who in ("installed", "tab")},
        pongs=pongs(beating),
    )


async def _installed(server: lab.Served, watch: Watch) -> tuple[int, float, float]:
    """The page's bytes, polls a second, and seconds until it was seen to leave."""
    async with terminal(server, "terminal") as program:
        await watch.saw("join", "terminal")
        page_bytes = (await server.traffic()).of(phase="page")
        often = await polls(server, SHOWN_S)
        begun_s = monotonic()
        await program.close()
        return page_bytes, often, await watch.saw("leave", "terminal") - begun_s


async def _first_tab(
    browser: Browser, server: lab.Served, watch: Watch
) -> tuple[Traffic, tuple[float, float], float]:
    """What loading it cost, polls a second when shown and when hidden, seconds until it left."""
    await server.traffic()
    tab = await opened(browser, server.url)
    page = await server.traffic()
    await join(tab, "first tab")
    shown = await polls(server, SHOWN_S)
    await browser.open("about:blank")
    await tab.until("document.visibilityState === 'hidden'")
    hidden = await polls(server, HIDDEN_S)
    begun_s = monotonic()
    await tab.close()
    return page, (shown, hidden), await watch.saw("leave", "first tab") - begun_s


async def _second_tab(
    browser: Browser, server: lab.Served, watch: Watch
) -> tuple[Traffic, int, int]:
    """What loading it again cost, and how much of what was missed came: installed, and here."""
    program = server.variant.client(server.direct_url, server.settings)
    joined = await program.connect("program")
    await program.close()
    missed = [f"missed {number}" for number in range(MISSED)]
    for word in missed:
        await watch.say(word)
    await server.traffic()
    tab = await opened(browser, server.url)
    page = await server.traffic()
    await join(tab, "second tab")
    await watch.say("welcome back")
    await tab.until(shows("welcome back"))
    lost = sum([bool(await tab.run(shows(word))) for word in missed])
    heard = await returned(server, f"{joined.epoch}:{joined.head}", "welcome back")
    return page, len({*missed} & {*heard}), lost


async def _killed(browser: Browser, server: lab.Served, watch: Watch) -> dict[str, float]:
    """Seconds until each was seen to leave whose process was killed."""
    async with terminal(server, "second terminal") as program:
        await watch.saw("join", "second terminal")
        begun_s = monotonic()
        program.kill()
        browser.kill()
        return {
            who: await watch.saw("leave", f"second {who}") - begun_s for who in ("terminal", "tab")
        }


def judge(predicted: Found, found: Found) -> list[Finding]:
    """What a tab costs, forgets, and cannot do."""
    tap = "TCP payload and requests at the tap; one load"
    rate = (
        f"requests at the tap in {SHOWN_S:g} s, {HIDDEN_S:g} s when hidden (another tab in front); "
        f"interval {INTERVAL_S:g} s"
    )
    frames = f"frames at the tap; heartbeat {HEARTBEAT_S:g} s, one connection each"
    seen = "seen by another client, monotonic clock; one each"
    words = f"{MISSED} words said while nobody was there"
    pinging = found.pings["installed"]
    return [
        near("page, loaded", "B", predicted.page_bytes, found.page_bytes, tap),
        near("page, loaded", "requests", predicted.page_requests, found.page_requests, tap),
        near("page, loaded again", "B", predicted.again_bytes, found.again_bytes, tap),
        near("page, installed", "B", 0, found.installed_bytes, tap, of="claim"),
        *_polling(predicted, found, rate),
        near("tab closed: disconnect", "requests", predicted.beacons, found.beacons, tap),
        *_leaving(found, seen),
        near("missed, back at a place written down", "words", predicted.kept, found.kept, words),
        near("missed, in a new tab", "words", predicted.lost, found.lost, words, of="claim"),
        # The first comes after a heartbeat, and each wait is a little long: never more than one.
        near("each heartbeat, installed", "pings", 1, pinging, frames, within=0.2),
        near("each heartbeat, tab", "pings", 0, found.pings["tab"], frames, of="claim"),
        # The last may be on its way when the recording is made.
        near("each ping of the server, tab", "pongs", 1, found.pongs, frames, within=0.1),
    ]


def _polling(predicted: Found, found: Found, basis: str) -> list[Finding]:
    # A timer is late, never early, by some milliseconds of a hundred, by more on a busy machine;
    # at a window's edges the count may be one off, and the window half a second long.
    shown = [
        near(f"polls, {who}", "/s", predicted.polls[who], found.polls[who], basis, within=0.3)
        for who in WHO[:2]
    ]
    by = 1.5 / HIDDEN_S
    hidden = near(
        f"polls, {WHO[2]}", "/s", predicted.polls[WHO[2]], found.polls[WHO[2]], basis, by=by
    )
    slower = found.polls[WHO[1]] / max(found.polls[WHO[2]], 1 / HIDDEN_S)
    return [
        *shown,
        hidden,
        bounded("polls, visible against hidden", "times", slower, basis, least=2, of="claim"),
    ]


def _leaving(found: Found, basis: str) -> list[Finding]:
    # Who sees it polls too, and is up to an interval late.
    late_s = LEASE_S * 1.1 + INTERVAL_S + SLACK_S
    early_s = LEASE_S - INTERVAL_S - SLACK_S
    return [
        bounded(f"{who} {how}: gone after", "s", took_s[who], basis, least=least_s, most=most_s)
        for how, took_s, least_s, most_s in (
            ("closed", found.closed_s, 0.0, LEASE_S / 2),
            ("killed", found.killed_s, early_s, late_s),
        )
        for who in ("terminal", "tab")
    ]


def plot(predicted: Found, found: Found) -> Figure:
    """Polls a second, and seconds until one who has gone is seen to be."""
    figure, (polled, gone) = axes(2, left=0.16, right=0.8)
    _bars(polled, predicted.polls, found.polls, "polls a second")
    _bars(gone, _ends(predicted), _ends(found), "seconds until gone")
    legend(gone)
    figure.subplots_adjust(wspace=0.65)
    return figure


def _bars(on: Axes, expected: Mapping[str, float], got: Mapping[str, float], what: str) -> None:
    rows = range(len(expected))
    on.barh(rows, list(expected.values()), 0.6, color=colour(0), alpha=0.3, label="theory")
    measured(on, [got[who] for who in expected], rows, "measured")
    on.set_yticks(rows, list(expected), fontsize=8)
    on.set_xlabel(what)


def _ends(of: Found) -> dict[str, float]:
    ways = (("closed", of.closed_s), ("killed", of.killed_s))
    return {f"{who}, {how}": after_s for how, each in ways for who, after_s in each.items()}


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
