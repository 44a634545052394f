"""Whether a network is the one that was asked for: what was measured against what may be.

A round trip may not be shorter than twice the delay. It may be longer by what a small packet takes
to send, by the jitter, and by `ALLOWANCE_MS` for the machine. Of jitter J with mean j, of packets
a gap g apart that stay in order, each waits for max(J(n), J(n-1) - g, J(n-2) - 2g, ...), so that

    P(wait <= x) = product over k of (1 - exp(-(x + kg) / j))
                >= 1 - exp(-x / j) / (1 - exp(-g / j))

and x = j ln(1 / ((1 - q) (1 - exp(-g / j)))) is not passed by a share q of them. Each way may take
the x of q = `LEAST` in the least of all round trips, and that of `MEDIAN` in their median; a test
simulates how rarely they take more.

Losses may be as many as a binomial variable has them, but for one time in a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from labs.net.line import LATE_MS
from labs.net.network import Network
from labs.net.probe import PING, PING_GAP_S
from labs.net.shaper import HEAD_BYTES
from labs.net.shaping import Loss, Shaping

ALLOWANCE_MS = 2 * LATE_MS
"""So much longer than the network says a round trip may be: a packet each way is that late."""

LEAST, MEDIAN = 0.9, 0.99
LOSS_MOST = 0.1  # with more, TCP may have to repeat even the quickest of the round trips
RARE = 0.001  # a warning without a reason is as rare as this


def doubts(found: Shaping) -> Iterator[str]:
    """In which measured figures a network is not the one that was asked for, in sentences."""
    asked, rtt = found.network, found.rtt
    # To open a connection takes a round trip too, but not at a relay, where the kernel answers.
    least_ms = min(rtt.least_ms, found.connect_ms) if found.mechanism == "tun" else rtt.least_ms
    lossless = not asked.loss or found.mechanism == "relay"
    if lossless or asked.loss <= LOSS_MOST:
        yield from _outside("least round trip", least_ms, asked.rtt_ms, most_ms(asked, LEAST))
    if lossless:  # else it holds what TCP had to wait for
        yield from _outside(
            "median round trip", rtt.median_ms, asked.rtt_ms, most_ms(asked, MEDIAN)
        )
    for way, loss in (("up", found.loss_up), ("down", found.loss_down)):
        if loss:
            yield from _unlikely(way, loss, asked.loss)


def most_ms(network: Network, share: float) -> float:
    """The longest round trip that is no reason for doubt, with this share of the jitter's."""
    size_bits = (PING.size + HEAD_BYTES) * 8
    sending_ms = size_bits * 1e3 * (1 / network.up_bit_s + 1 / network.down_bit_s)
    waiting_ms = 0.0
    if j := network.jitter_ms:
        dense = 1 - math.exp(-PING_GAP_S * 1e3 / j)
        waiting_ms = -j * math.log((1 - share) * dense)
    return network.rtt_ms + 2 * waiting_ms + sending_ms + ALLOWANCE_MS


def allowed(share: float, number: int) -> tuple[int, int]:
    """How many of `number` may be missing if each is by itself with this chance.

    Fewer, or more, come less often than one time in two thousand each (exact binomial).
    """
    chances = [_chance(missing, number, share) for missing in range(number + 1)]
    least = _beyond(chances)
    return least, number - _beyond(chances[::-1])


def _beyond(chances: list[float]) -> int:
    """How many outcomes from this end on are together rarer than half of `RARE`."""
    total = 0.0
    for place, chance in enumerate(chances):
        total += chance
        if total >= RARE / 2:
            return place
    raise AssertionError("chances add up to one")


def _chance(missing: int, number: int, share: float) -> float:
    if share in (0.0, 1.0):
        return float(missing == round(number * share))
    ways = math.lgamma(number + 1) - math.lgamma(missing + 1) - math.lgamma(number - missing + 1)
    weight = missing * math.log(share) + (number - missing) * math.log1p(-share)
    return math.exp(ways + weight)


def _outside(what: str, real_ms: float, least_ms: float, longest_ms: float) -> Iterator[str]:
    if not least_ms <= real_ms <= longest_ms:
        yield (
            f"its {what} was measured as {real_ms:.2f} ms, where {least_ms:.2f} to "
            f"{longest_ms:.2f} ms were asked for ({ALLOWANCE_MS:g} ms of that for the machine)"
        )


def _unlikely(way: str, loss: Loss, share: float) -> Iterator[str]:
    least, most = allowed(share, loss.sent)
    if not least <= loss.missing <= most:
        yield (
            f"{loss.missing} of {loss.sent} packets were lost {way}, where a loss of {share:.2%} "
            f"allows {least} to {most}"
        )
