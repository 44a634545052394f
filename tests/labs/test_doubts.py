"""What is doubted of the generator and of the network: by counts and shares, on made results."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from labs.bench import stats
from labs.bench.conditions import network_rows
from labs.bench.results import Result, Run
from labs.bench.workload import WORKLOADS
from labs.net.checking import ALLOWANCE_MS, LEAST, MEDIAN, allowed, doubts, most_ms
from labs.net.line import Passed
from labs.net.network import NETWORKS, Network
from labs.net.queue import Counts
from labs.net.shaping import Loss, Rtt, Shaping, wilson
from tests.labs.made import hdr, result, run, timed

GOOD = [run("bytes"), *timed(2, 2.01, 1.99)]
PLAIN = Network("plain", delay_ms=10, up_bit_s=10**9, down_bit_s=10**9)


def warned(found: Result, part: str) -> list[str]:
    return [said for said in stats.warnings(found) if part in said]


# The generator


def late_by(uncorrected_ms: float, **changes: Any) -> Result:
    """A result whose deliveries took 2 ms since they were meant, or this since they were begun."""
    begun = hdr(uncorrected_ms, times=1_000)
    return result(run("bytes"), *timed(2, 2, 2, uncorrected=begun), **changes)


def test_a_generator_that_is_late_itself_is_named_the_limit() -> None:
    assert warned(late_by(1.6), "the generator was") == [
        "polling, paced: the generator was the limit: its own lateness is 0.4 of the 2 ms of the "
        "p50 (20%)"
    ]
    assert not warned(late_by(1.75), "the generator was"), "an eighth is no reason"


def test_no_missed_tick_is_needed_for_it() -> None:
    found = late_by(1.6)
    assert not any(run.outcome.missed_ticks for run in found.runs)
    assert warned(found, "the generator was")


def test_a_closed_loop_waits_for_the_server() -> None:
    closed = WORKLOADS["paced"].but(loop="closed")
    assert not warned(late_by(0.1, workloads=[closed]), "the generator was")


def test_refused_sends_are_told() -> None:
    held = run("latency", 4, refused=3)
    assert warned(result(*GOOD, held), "refused") == [
        "polling, paced: 3 sends were refused (rate_limited) and said again later"
    ]


# The budget


def test_a_budget_that_was_overrun_is_told_with_both_figures() -> None:
    over = result(*GOOD, budget_s=10.0)
    assert warned(over, "budget") == [
        "It took 12 s, more than the budget of 10 s: the bytes, and one round of latency, are "
        "always measured."
    ]
    assert not warned(result(*GOOD, budget_s=12.0), "budget")
    assert not warned(result(*GOOD), "budget")


# The network


def shaping(
    network: Network,
    *,
    least_ms: float = 20.1,
    median_ms: float = 20.3,
    connect_ms: float = 20.2,
    missing: int | None = None,
    **changes: Any,
) -> Shaping:
    loss = None if missing is None else Loss(400, missing, missing / 400, *wilson(missing, 400))
    given: dict[str, Any] = {
        "network": network,
        "mechanism": "tun",
        "reason": "",
        "congestion_control": "cubic",
        "rtt": Rtt(30, least_ms, median_ms, median_ms),
        "connect_ms": connect_ms,
        "up_bit_s": 1e9,
        "down_bit_s": 1e9,
        "loss_up": loss,
        "loss_down": None,
        "cannot_show": [],
    }
    return Shaping(**{**given, **changes})


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (shaping(PLAIN), []),
        (shaping(PLAIN, least_ms=19.9), ["least round trip was measured as 19.90 ms"]),
        (shaping(PLAIN, connect_ms=19.9), ["least round trip was measured as 19.90 ms"]),
        (shaping(PLAIN, connect_ms=0.1, mechanism="relay"), []),
        (shaping(PLAIN, least_ms=22.1, connect_ms=22.2), ["least round trip"]),
        (
            shaping(PLAIN, median_ms=22.1),
            ["median round trip was measured as 22.10 ms, where 20.0"],
        ),
        (shaping(PLAIN, least_ms=41, median_ms=41, connect_ms=41), ["least round", "median roun"]),
    ],
)
def test_a_round_trip_must_lie_where_the_network_allows(found: Shaping, said: list[str]) -> None:
    doubted = list(doubts(found))
    assert len(doubted) == len(said)
    for doubt, part in zip(doubted, said, strict=True):
        assert part in doubt


def test_the_allowance_is_stated() -> None:
    assert most_ms(PLAIN, LEAST) == pytest.approx(20 + ALLOWANCE_MS, abs=0.01)
    (doubt,) = doubts(shaping(PLAIN, median_ms=22.1))
    assert f"({ALLOWANCE_MS:g} ms of that for the machine)" in doubt


@pytest.mark.parametrize("jitter_ms", [1.0, 15.0, 100.0])
def test_jitter_that_keeps_the_order_is_no_reason_for_doubt(jitter_ms: float) -> None:
    """Thirty pings 20 ms apart, drawn a thousand times: one in a thousand may be outside."""
    network = Network("j", delay_ms=10, up_bit_s=10**9, down_bit_s=10**9, jitter_ms=jitter_ms)
    chance, outside = random.Random(1), 0
    for _ in range(1_000):
        arrived = [20.0 * each for each in range(30)]
        for _ in range(2):
            left, latest = [], 0.0
            for at in arrived:
                latest = max(latest, at + 10 + chance.expovariate(1 / jitter_ms))
                left.append(latest)
            arrived = left
        rtt = sorted(at - 20.0 * each for each, at in enumerate(arrived))
        outside += rtt[0] > most_ms(network, LEAST) - ALLOWANCE_MS
        outside += (rtt[14] + rtt[15]) / 2 > most_ms(network, MEDIAN) - ALLOWANCE_MS
    assert outside <= 5


def test_the_losses_that_are_allowed_are_those_of_the_binomial() -> None:
    # 10 coins: all heads is one in 1,024, which is rarer than one in 2,000 twice over: allowed.
    assert allowed(0.5, 10) == (0, 10)
    # 12 coins: none is one in 4,096, and at most one 13 in 4,096.
    assert allowed(0.5, 12) == (1, 11)
    assert allowed(0.0, 400) == (0, 0)
    chance = random.Random(2)
    least, most = allowed(0.05, 400)
    drawn = [sum(chance.random() < 0.05 for _ in range(400)) for _ in range(2_000)]
    assert sum(not least <= each <= most for each in drawn) <= 8  # two are expected
    assert min(drawn) - least <= 3, "it is no wider than it need be"
    assert most - max(drawn) <= 3


@pytest.mark.parametrize(("missing", "fits"), [(0, False), (20, True), (60, False)])
def test_a_loss_must_be_a_likely_one(missing: int, fits: bool) -> None:
    lossy = msgspec.structs.replace(
        shaping(PLAIN, missing=missing),
        network=Network("lossy", delay_ms=10, up_bit_s=10**9, down_bit_s=10**9, loss=0.05),
    )
    least, most = allowed(0.05, 400)
    expected = (
        []
        if fits
        else [
            f"{missing} of 400 packets were lost up, where a loss of 5.00% allows {least} to {most}"
        ]
    )
    assert list(doubts(lossy)) == expected


def test_what_a_network_is_not_is_warned_about() -> None:
    found = result(*GOOD, shaping=shaping(PLAIN, median_ms=99))
    (said,) = stats.warnings(found)
    assert said.startswith("The network plain is not as asked for: its median round trip was")


def carried(number: int, late_p99_us: float, **counts: int) -> Run:
    way = Passed(Counts(**counts), 20.0, late_p99_us, 2 * late_p99_us, counts.get("lost", 0))
    return msgspec.structs.replace(timed(2)[0], number=number, passed={"up": way, "down": way})


def test_what_was_carried_is_summed_up_over_the_runs() -> None:
    runs = [carried(1, 500, packets=900, lost=9, overflowed=1), carried(2, 800, packets=100)]
    rows = dict(network_rows(result(*runs, shaping=shaping(PLAIN))))
    assert (
        rows["carried up"]
        == rows["carried down"]
        == (
            "1,000 packets in 2 latency runs: 9 lost (0.90%), 1 dropped by a full queue, 9 left "
            "more than 1 ms late (at most 1.6 ms)"
        )
    )
    assert dict(network_rows(result(*GOOD, shaping=shaping(PLAIN))))["carried up"] == "nothing"


def test_a_network_that_was_not_kept_up_is_warned_about() -> None:
    kept, late = carried(1, 900, packets=100), carried(2, 1_500, packets=100)
    found = result(run("bytes"), kept, late, timed(2)[0], shaping=shaping(PLAIN))
    assert warned(found, "kept up") == [
        "The network plain was not kept up: in 1 of 3 latency runs more than 1 % of the packets "
        "left over 1 ms late (p99 up to 1.5 ms). The machine was too busy for it."
    ]


def test_a_relay_in_place_of_packets_is_the_first_of_all_warnings() -> None:
    fallen = shaping(NETWORKS["4g"], mechanism="relay", reason="no root")
    wrong = run("latency", 4, wrong=["message 3 at client 4: lost"])
    said = stats.warnings(result(*GOOD, wrong, ended="Interrupted", shaping=fallen))
    assert said[0].endswith("packets cannot be carried here: no root.")
    assert said[1] == "Interrupted"
