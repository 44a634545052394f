"""Who says what and when: made from a seed before anything is sent, and never changed by it.

An open loop follows the schedule and knows nothing of answers. A generator that waits for one
before it sends the next slows down with the server and leaves the worst moments unmeasured
(coordinated omission; Gil Tene, "How NOT to Measure Latency", 2013).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from labs.bench.workload import Workload

ENGLISH = """good morning everyone did you see the new room is it slow for you too I think we
should meet at noon thanks that works fine on my phone wait a moment please ok see you later"""
KOREAN = """안녕하세요 오늘 날씨가 정말 좋네요 점심은 뭐 먹을까요 지금 가고 있어요 잠깐만
기다려 주세요 회의는 세 시에 시작합니다 고마워요 네 알겠습니다 그 사진 다시 보내 줄래요 내일 봐요"""


@dataclass(frozen=True, slots=True)
class Tick:
    """One message of the schedule, meant to be sent `at_ns` after the start.

    The start is that of the window: what comes before it warms up.
    """

    at_ns: int
    sender: int
    text: str


def schedule(workload: Workload, seed: int, number: int, warm: bool = False) -> list[Tick]:
    """The messages of run `number`, in order of time; every variant gets the same.

    With `warm`, those of the warm-up come first, at the rate of the window.
    """
    random = Random(f"{seed}/{workload.name}/{number}")
    moments = sorted(_moments(workload, random))
    if warm and workload.arrivals in ("constant", "poisson"):
        count = round(workload.rate_per_s * workload.warmup_s)
        early = sorted(-random.uniform(0, workload.warmup_s) for _ in range(count))
        moments = [*early, *moments]
    return [
        Tick(round(at_s * 1e9), random.randrange(workload.talkers), _text(index, workload, random))
        for index, at_s in enumerate(moments)
    ]


def phases(workload: Workload, seed: int, number: int) -> list[float]:
    """Where in its interval each client polls, uniformly random in [0, 1)."""
    random = Random(f"{seed}/{workload.name}/{number}/phases")
    return [random.random() for _ in range(workload.clients)]


def _moments(workload: Workload, random: Random) -> Iterator[float]:
    count, duration_s = workload.messages, workload.duration_s
    if workload.arrivals == "burst":
        bursts = count // workload.burst_messages
        for burst in range(bursts):
            # Not at the period itself: pollers of the same period would always stand alike.
            at_s = (burst + random.uniform(0, 0.5)) * duration_s / bursts
            yield from [at_s] * workload.burst_messages
    elif workload.arrivals == "constant":
        yield from ((index + 0.5) * duration_s / count for index in range(count))
    elif workload.arrivals == "poisson":
        # A Poisson process of a given count is that many uniform moments, sorted: the gaps
        # are exponential and every run has the same sample size.
        yield from (random.uniform(0, duration_s) for _ in range(count))


def _text(index: int, workload: Workload, random: Random) -> str:
    """A text of drawn length that begins with the number receivers know it by."""
    length = min(
        workload.chars_most,
        max(1, round(random.lognormvariate(math.log(workload.chars_median), workload.chars_sigma))),
    )
    words = (KOREAN if random.random() < workload.korean_share else ENGLISH).split()
    text = f"#{index}"
    while len(text) < length:
        text += " " + random.choice(words)
    return text[: max(length, len(f"#{index}"))]
