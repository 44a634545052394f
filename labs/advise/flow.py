"""What a transport carries in a second of steady talk, for one client: the closed form.

Messages come to a room of N members as a Poisson process of rate r, all of them together. Each is
sent by one member and handed to all, in batches. A batch of k messages weighs B + k m, where m is
one message in it, with its comma, and B everything that a batch more would add for the same
messages. A message sent, with what answers it, weighs s; a poll or heartbeat that brings nothing
weighs e. So one client's connection carries, in bytes a second,

    b B + r m + (r / N) s + i e

with b batches and i empty exchanges a second. B, m, s and e are those of `labs.bench.prediction`,
which the measured bytes agree with to the byte; m is the same on every transport. b and i are a
matter of who moves the cursor:

**Polled** every T. A poll cannot be made before the last one is answered, so that across a round
trip R every ceil(R / T)th moment is taken: T' = T max(1, ceil(R / T)). A poll brings something if
anything was said in the T' before it:

    b = (1 - exp(-r T')) / T'        i = exp(-r T') / T'

**Held** for at most H. After an answer the next poll is with the server R later. It is answered
at once if anything was said meanwhile, otherwise with the first message, or empty after H. What is
not yet said has no memory, so every poll begins anew: one takes R + exp(-r R) (1 - exp(-r H)) / r
on average, and is empty with the chance q = exp(-r (R + H)):

    polls = 1 / (R + exp(-r R) (1 - exp(-r H)) / r)        b = (1 - q) polls        i = q polls

so that b is r for small r, and never more than 1 / R. Engine.IO's empty ends are pings, which come
every heartbeat whatever is said: there H is without end, and i is as below.

**Pushed**. The first message of a batch opens a window of w, without coalescing w = 0, and what
falls into it goes along. The next batch begins with the next message, 1 / r later on average:

    b = r / (1 + r w)        i = 1 / heartbeat
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import ceil, exp, expm1, inf
from typing import Any, Literal, NamedTuple

from labs.bench import heads
from labs.bench.prediction import predict
from labs.bench.schedule import schedule
from labs.bench.workload import Workload
from labs.errors import UsageError
from labs.settings import Settings

Model = Literal["polled", "held", "pushed"]

DEFAULT = Settings()
CLIENTS, MESSAGES, SEED = 40, 400, 1  # of the crowd whose mean sizes stand for all
CHARS_MOST = 200  # of a text, unless its median is longer


class Form(NamedTuple):
    """How a transport hands out, and how many requests one of each thing makes."""

    model: Model
    sent: int
    batch: int
    empty: int


FORMS = {
    "polling": Form("polled", 1, 1, 1),
    "longpolling": Form("held", 1, 1, 1),
    "streaming": Form("pushed", 1, 0, 0),
    "websocket": Form("pushed", 0, 0, 0),
    "socketio": Form("pushed", 0, 0, 0),
    # Whoever sends polls once more, for its ack; a ping is answered by a POST.
    "socketio-polling": Form("held", 2, 1, 2),
}
"""The transports of which this is known, by name."""


@dataclass(frozen=True)
class Weights:
    """What one of each thing weighs on a transport, in bytes, both ways together."""

    batch: float
    message: float
    sent: float
    empty: float


@dataclass(frozen=True)
class Use:
    """One room's talk. `rate_per_s` is of the room, all its members together.

    `coalesce_s` is the window of what is pushed, `heartbeat_s` its longest silence; `hold_s` how
    long a poll is held, `interval_s` that of polling.
    """

    rate_per_s: float
    members: int
    interval_s: float = DEFAULT.interval_s
    rtt_s: float = 0.0
    coalesce_s: float = 0.0
    hold_s: float = DEFAULT.hold_s
    heartbeat_s: float = DEFAULT.heartbeat_s

    def but(self, **changes: Any) -> Use:
        """A copy with some values changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Flow:
    """What one client's connection carries, a second."""

    batches: float
    empties: float
    sends: float
    requests: float
    bytes: float


def flow(name: str, weights: Weights, use: Use) -> Flow:
    """The closed form; `name` is one of `FORMS`."""
    form, sends = FORMS[name], use.rate_per_s / use.members
    batches, empties = _handed_out(name, use)
    return Flow(
        batches,
        empties,
        sends,
        sends * form.sent + batches * form.batch + empties * form.empty,
        batches * weights.batch
        + use.rate_per_s * weights.message
        + sends * weights.sent
        + empties * weights.empty,
    )


def polled_every_s(use: Use) -> float:
    """How often a poller really asks: not before its last poll is answered."""
    return use.interval_s * max(1, ceil(use.rtt_s / use.interval_s))


def held_polls(use: Use, hold_s: float) -> tuple[float, float]:
    """Polls a second that bring something, and that end with nothing."""
    rate, rtt_s = use.rate_per_s, use.rtt_s
    if not rate:
        return 0.0, 1 / (rtt_s + hold_s)
    wait_s = exp(-rate * rtt_s) * -expm1(-rate * hold_s) / rate
    polls, empty = 1 / (rtt_s + wait_s), exp(-rate * (rtt_s + hold_s))
    return polls * (1 - empty), polls * empty


def _handed_out(name: str, use: Use) -> tuple[float, float]:
    model, rate = FORMS[name].model, use.rate_per_s
    if model == "polled":
        every_s = polled_every_s(use)
        nothing = exp(-rate * every_s)
        return (1 - nothing) / every_s, nothing / every_s
    if name == "longpolling":
        return held_polls(use, use.hold_s)
    if model == "held":
        return (held_polls(use, inf)[0] if rate else 0.0), 1 / use.heartbeat_s
    return rate / (1 + rate * use.coalesce_s), 1 / use.heartbeat_s


def weigh(name: str, profile: str = "python", chars: int = 24) -> Weights:
    """What one of each thing weighs, from the prediction for a crowd that is typical.

    Texts have so many characters in the median and are half of them Korean, as in every workload;
    the request heads are those of a profile. Raises `UsageError` for a transport without a closed
    form.
    """
    return _weigh(name, profile, chars)


def weigh_all(profile: str = "python", chars: int = 24) -> Mapping[str, Weights]:
    """Those of every transport."""
    return {name: weigh(name, profile, chars) for name in FORMS}


@cache
def _weigh(name: str, profile: str, chars: int) -> Weights:
    workload = Workload(
        name="typical",
        clients=CLIENTS,
        probes=0,
        rate_per_s=MESSAGES / 10,
        duration_s=10.0,
        chars_median=chars,
        chars_most=max(chars, CHARS_MOST),
        settings={"coalesce_ms": None},
    )
    ticks = schedule(workload, SEED, 1)
    found = predict(workload, name, ticks, heads.find(profile)) if name in FORMS else None
    if found is None:
        raise UsageError(f"of {name} no closed form is known; there are {', '.join(FORMS)}")
    counts, (empty, batch) = found.counts, (sum(part.values()) for part in found.parts.values())
    handed = sum(found.per_delivery.values()) * counts.deliveries - counts.batches * batch
    message = handed / counts.deliveries
    return Weights(batch, message, sum(found.per_message.values()), empty)
