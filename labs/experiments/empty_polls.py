"""Ten thousand clients that poll once a minute for nothing take 1.13 Mbit/s.

N clients, one poll every T seconds, b bytes of heads for a poll and its empty answer:

    N / T        requests a second    10,000 / 60 = 166.7
    8 b N / T    bit/s                850 B: 1,133,333

Both are in exact proportion to N and to 1 / T as long as every poll is answered before the next
is due, so a crowd of ten that polls every second tells the rates of ten thousand that poll every
minute. b depends on who asks: it is known beforehand from the client's request head and from the
answer `204 No Content` (labs/bench/prediction/requests.py). The 850 bytes are an assumption of
the source, about 800 for heads of HTTP/1.x, and 50 for what tells a person and a position; here a
light client's poll has the heads recorded of Chromium, padded by a cookie up to that. Heads
of TCP and IP, of 40 bytes or more a segment, are in none of these figures.
"""

from __future__ import annotations

import asyncio

from matplotlib.figure import Figure

from labs import lab
from labs.bench import heads as profiles
from labs.bench.heads import Profile
from labs.experiments.experiment import Claim, Experiment, Finding, bounded, near
from labs.experiments.plotting import axes, legend, logarithmic, measured, theory
from labs.experiments.rig.light_crowd import crowd, heads, padded, requests

CLAIM = Claim(
    title="Ten thousand clients that poll once a minute for nothing take 1.13 Mbit/s",
    title_ko="1분에 한 번 헛되이 폴링하는 클라이언트 만 명이 1.13 Mbit/s를 쓴다",
    says="An empty poll of a browser costs about 850 bytes of heads; 10,000 clients that make one "
    "every 60 seconds are 167 requests a second and 1.13 Mbit/s, with no news for anybody.",
    says_ko="브라우저의 빈 폴링 하나에 헤더가 약 850바이트 든다. 클라이언트 10,000명이 60초마다 "
    "한 번씩 폴링하면 아무 소식이 없어도 초당 요청 167개, 1.13 Mbit/s가 된다.",
    source='Ilya Grigorik, "High Performance Browser Networking" (O\'Reilly, 2013), chapter 15, on '
    "the cost of polling; read in a translation of that page.",
)

CROWD, EVERY_S = 10_000, 60.0
ASSUMED_BYTES = 850
SAID_REQUESTS_S, SAID_MBIT_S = 167, 1.13
BROWSER_LEAST = 500  # the source gives 500 to 800 B for a browser's heads without cookies

CLIENTS = 10
WINDOW_S = 3.0
FIRST = 12  # an offset of two digits, as all of them have: no head changes its length

Rates = dict[str, tuple[float, float]]
"""Bytes of one empty poll, and polls a second and client; by case."""


def predict() -> Rates:
    """The closed form."""
    return {name: (_bytes(profile), 1 / interval_s) for name, profile, _, interval_s in _cases()}


async def run(seed: int) -> Rates:
    """Silent crowds side by side, counted at their taps."""
    found = await asyncio.gather(*(_silent(*case[1:]) for case in _cases()))
    return {name: rates for (name, *_), rates in zip(_cases(), found, strict=True)}


def judge(predicted: Rates, found: Rates) -> list[Finding]:
    """The parts of the product one by one, then the product."""
    basis = f"TCP payload at the tap; {CLIENTS} silent light clients, {WINDOW_S:g} s"
    scaled = f"{basis}; Chromium's heads, padded to {ASSUMED_BYTES} B with those of the answer"
    scaled += f"; scaled to {CROWD:,} clients and {EVERY_S:g} s"
    heads_of = ("python", "chromium", "850 B")
    # A busy machine may push one poll of the crowd past the end of the window.
    slip = 1 / (CLIENTS * WINDOW_S)
    requests_s = found["850 B"][1] * CROWD / EVERY_S
    return [
        *(
            near(f"an empty poll, {name}", "B", predicted[name][0], found[name][0], basis)
            for name in heads_of
        ),
        *(
            near(f"polls of a client, {name}", "1/s", rate, found[name][1], basis, within=slip)
            for name, (_, rate) in predicted.items()
        ),
        near(
            "requests, 10,000 clients",
            "1/s",
            SAID_REQUESTS_S,
            requests_s,
            scaled,
            by=0.5 + slip * SAID_REQUESTS_S,
            of="claim",
        ),
        # A figure of two decimals is right within half of the last.
        near(
            "heads of 850 B, 10,000 clients",
            "Mbit/s",
            SAID_MBIT_S,
            _mbit_s(found["850 B"][0]),
            scaled,
            by=0.005,
            of="claim",
        ),
        bounded(
            "an empty poll with Chromium's heads",
            "B",
            found["chromium"][0],
            basis,
            least=BROWSER_LEAST,
            most=ASSUMED_BYTES,
            of="claim",
        ),
    ]


def plot(predicted: Rates, found: Rates) -> Figure:
    """Mbit/s by clients that poll once a minute."""
    figure, (on,) = axes(right=0.7)
    counts = (100, 1_000, CROWD, 100_000)
    for index, name in enumerate(("850 B", "chromium", "python")):
        share = [count / CROWD for count in counts]
        theory(on, counts, [_mbit_s(predicted[name][0]) * each for each in share], name, index)
        measured(on, [CROWD], [_mbit_s(found[name][0])], f"{name}, measured", index)
    on.set_xscale("log")
    on.set_yscale("log")
    logarithmic(on.xaxis)
    logarithmic(on.yaxis)
    on.set_xlabel("clients that poll once a minute (log scale)")
    on.set_ylabel("Mbit/s of heads (log scale)")
    legend(on)
    return figure


async def _silent(profile: Profile, clients: int, interval_s: float) -> tuple[float, float]:
    async with (
        lab.serve("polling", interval_s=interval_s) as server,
        crowd(server, clients, profile) as group,
    ):
        await group.boundary()
        await server.traffic()
        await group.boundary(WINDOW_S)
        passed = await server.traffic()
    return passed.both / passed.requests, passed.requests / clients / WINDOW_S


def _cases() -> list[tuple[str, Profile, int, float]]:
    """Name, who asks, how many of them, how often."""
    python, browser = profiles.find("python"), profiles.find("chromium")
    assumed = padded(browser, ASSUMED_BYTES - int(_bytes(browser)))
    return [
        ("python", python, CLIENTS, 1.0),
        ("chromium", browser, CLIENTS, 1.0),
        ("850 B", assumed, CLIENTS, 1.0),
        ("twice the crowd", python, 2 * CLIENTS, 1.0),
        ("half the interval", python, CLIENTS, 0.5),
    ]


def _bytes(profile: Profile) -> float:
    parts = requests(profile)
    return heads(parts.ask(FIRST, "heartbeat")) + heads(parts.nothing())


def _mbit_s(poll_bytes: float) -> float:
    return 8 * poll_bytes * CROWD / EVERY_S / 1e6


EXPERIMENT = Experiment(claim=CLAIM, predict=predict, run=run, judge=judge, plot=plot)
