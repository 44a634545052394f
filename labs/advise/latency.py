"""Within what 95 % of deliveries are there, from theory; and how often polling must ask for that.

A message goes up, half a round trip, waits for a way down, and goes down, half a round trip. With
R for the round trip, what waits is:

**pushed**      nothing.
**held**        for the next poll, if the message comes in the R after an answer, when there is
                none. Messages come at random, so a share c R of them does, c being polls a second;
                each of these waits uniformly long, up to R: the three transits of RFC 6202,
                section 5.1. More than x waits the share c (R - x).
**polled**      uniformly long, up to T: 95 % wait less than .95 T.

Besides, a server that hands a message out to N members at once reaches the last of them N b
later, b being CPU time an exchange: a member is reached within .95 N b, with 95 %. Polls come
spread over the interval, and so wait for none of this.

And all wait until the server has done what came before. It is one queue with one server: work of
several kinds, kind i lambda_i times a second at random, of a fixed length s_i (with one kind:
M/D/1). With the share rho = sum lambda_i s_i < 1 of a core, something is ahead with the chance rho,
and by Pollaczek and Khinchine (Kleinrock, Queueing Systems, volume 1, 1975, chapter 5) the mean of
those who wait is

    V = sum lambda_i s_i^2 / (2 rho (1 - rho))

Their waits are taken to be exponential, which they are for M/M/1, and for all as rho nears 1
(Kingman, 1962): 95 % wait less than V ln(20 rho), or not at all where rho is below .05. From
rho = 1 on the queue grows without bound, and there is no p95. Adding such shares says rather too
much.

Polling needs a period T of at most (D - R - W) / .95 to meet a demand D, W being what waits at a
server that is as busy as it may be; none is needed that is shorter, but it cannot ask more often
than once a round trip.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log
from typing import NamedTuple

from labs.advise.flow import DEFAULT, FORMS, Use, held_polls, polled_every_s
from labs.advise.need import Need

SHARE = 0.95
LEAST_S = 0.001  # of an interval: what a timer keeps
BUSY = 0.7  # of a core: past this messages queue up


class Kind(NamedTuple):
    """Work of one kind: how often it comes, and how long it keeps the server."""

    rate_per_s: float
    takes_s: float


def queued_s(kinds: Sequence[Kind]) -> float | None:
    """How long 95 % wait at most for what came before; None where the queue has no bound."""
    share = sum(kind.rate_per_s * kind.takes_s for kind in kinds)
    if share >= 1:
        return None
    if share <= 1 - SHARE:
        return 0.0
    squares = sum(kind.rate_per_s * kind.takes_s**2 for kind in kinds)
    return squares / (2 * share * (1 - share)) * log(share / (1 - SHARE))


def interval_s(need: Need, takes_s: float = 0.0) -> float:
    """The longest interval of polling that meets the need, or the shortest that can be kept.

    `takes_s` is how long the longest work keeps the server: the wait behind it comes out of what
    the interval may have.
    """
    queued = queued_s([Kind(BUSY / takes_s, takes_s)]) if takes_s else 0.0
    left_s = need.max_latency_s - need.rtt_s - (queued or 0.0)
    return max(floor(left_s / SHARE * 1_000) / 1_000, need.rtt_s, LEAST_S)


def use_of(need: Need, takes_s: float = 0.0) -> Use:
    """A room of this need, with polling as often as it must."""
    return Use(
        rate_per_s=need.rate_per_s,
        members=need.members,
        interval_s=interval_s(need, takes_s),
        rtt_s=need.rtt_s,
    )


def p95_s(name: str, use: Use, exchange_s: float = 0.0) -> float:
    """Within what 95 % of deliveries are there at a server that has nothing else to do.

    With so much CPU time an exchange; `queued_s` comes on top.
    """
    model = FORMS[name].model
    if model == "polled":
        return use.rtt_s + SHARE * polled_every_s(use)
    waits_s = _held_s(use) if model == "held" else 0.0
    return use.rtt_s + waits_s + SHARE * use.members * exchange_s


def _held_s(use: Use) -> float:
    polls = sum(held_polls(use, DEFAULT.hold_s))
    late = polls * use.rtt_s
    return max(0.0, use.rtt_s - (1 - SHARE) / polls) if late > 1 - SHARE else 0.0
