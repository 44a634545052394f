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
spread over the interval, and so wait for none of this. Adding such shares says rather too much.

Polling needs a period T of at most (D - R) / .95 to meet a demand D, and none is needed that is
shorter; but it cannot ask more often than once a round trip.
"""

from __future__ import annotations

from math import floor

from labs.advise.flow import DEFAULT, FORMS, Use, held_polls, polled_every_s
from labs.advise.need import Need

SHARE = 0.95
LEAST_S = 0.001  # of an interval: what a timer keeps


def interval_s(need: Need) -> float:
    """The longest interval of polling that meets the need, or the shortest that can be kept."""
    wanted_s = floor((need.max_latency_s - need.rtt_s) / SHARE * 1_000) / 1_000
    return max(wanted_s, need.rtt_s, LEAST_S)


def use_of(need: Need) -> Use:
    """A room of this need, with polling as often as it must."""
    return Use(
        rate_per_s=need.rate_per_s,
        members=need.members,
        interval_s=interval_s(need),
        rtt_s=need.rtt_s,
    )


def p95_s(name: str, use: Use, exchange_s: float = 0.0) -> float:
    """Within what 95 % of deliveries are there, with so much CPU time an exchange."""
    model = FORMS[name].model
    if model == "polled":
        return use.rtt_s + SHARE * polled_every_s(use)
    waits_s = _held_s(use) if model == "held" else 0.0
    return use.rtt_s + waits_s + SHARE * use.members * exchange_s


def _held_s(use: Use) -> float:
    polls = sum(held_polls(use, DEFAULT.hold_s))
    late = polls * use.rtt_s
    return max(0.0, use.rtt_s - (1 - SHARE) / polls) if late > 1 - SHARE else 0.0
