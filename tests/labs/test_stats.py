"""From runs to statistics: percentiles, intervals, ratios, and what is doubted."""

from __future__ import annotations

import math
import random
from typing import Any

import msgspec
import pytest

from labs.bench import stats
from labs.bench.intervals import EXACT_LEAST, Interval, bootstrap, delta, interval, ratio
from labs.bench.record import FATES
from labs.bench.sureness import HELD, HELD_RUNS, MISSES
from labs.bench.workload import WORKLOADS
from tests.labs.made import MACHINE, hdr, result, run, timed

# Intervals

TRIALS = 1_000


@pytest.mark.parametrize(
    # 2 / 2**n beyond either end for so few; else the level that the interval has exactly.
    ("runs", "holds"),
    [(3, 3 / 4), (4, 7 / 8), (5, 15 / 16), (6, 31 / 32), (9, 0.961), (20, 0.959)],
)
def test_an_interval_holds_the_true_median_as_often_as_is_said(runs: int, holds: float) -> None:
    drawn = random.Random(runs)
    hits = 0
    for _ in range(TRIALS):
        values = [drawn.lognormvariate(0, 0.5) for _ in range(runs)]  # its median is 1
        found = interval(values)
        assert found
        assert min(values) <= found.low <= found.median <= found.high <= max(values)
        hits += found.low <= 1 <= found.high
    by_chance = 3.5 * math.sqrt(holds * (1 - holds) / TRIALS)
    assert hits / TRIALS == pytest.approx(holds, abs=by_chance)


@pytest.mark.parametrize(
    ("runs", "left_out", "level"),
    # Of n runs, k at each end left out: 1 - 2 * (C(n, 0) + ... + C(n, k)) / 2**n, by hand.
    [(6, 0, 1 - 2 / 64), (8, 0, 1 - 2 / 256), (9, 1, 1 - 20 / 512), (12, 2, 1 - 158 / 4096)],
)
def test_an_interval_lies_between_two_of_the_runs(runs: int, left_out: int, level: float) -> None:
    values = [float(value) for value in range(runs)]
    found = interval(values[::-1])
    assert found == Interval((runs - 1) / 2, left_out, runs - 1 - left_out, runs, level)


def test_fewer_runs_than_an_exact_interval_needs_have_the_bootstraps() -> None:
    values = [1.0, 1.1, 1.3, 1.6, 2.0]
    assert len(values) == EXACT_LEAST - 1
    assert interval(values) == bootstrap(values)


def test_the_bootstrap_never_exceeds_the_exact_interval() -> None:
    drawn = random.Random(1)
    for runs in range(EXACT_LEAST, 30):
        values = [drawn.lognormvariate(0, 0.5) for _ in range(runs)]
        exact, resampled = interval(values), bootstrap(values)
        assert exact
        assert resampled
        assert exact.low <= resampled.low <= resampled.high <= exact.high


STOPPED_TRIALS = 1_500


@pytest.mark.parametrize(("scatter", "held"), HELD.items())
def test_the_caption_states_how_many_intervals_hold_where_the_rule_ended_the_runs(
    scatter: int, held: int
) -> None:
    drawn = random.Random(scatter)
    hits = ended = always = 0
    for _ in range(STOPPED_TRIALS):
        runs: list[float] = []
        while len(runs) < HELD_RUNS and not stats.narrow(interval(runs)):
            runs.append(drawn.lognormvariate(0, scatter / 100))
        found = interval(runs)
        assert found
        always += found.low <= 1 <= found.high
        if stats.narrow(found):
            ended += 1
            hits += found.low <= 1 <= found.high
    # More than three standard deviations of a share of so many.
    by_chance = 100 * 3.5 * math.sqrt(held / 100 * (1 - held / 100) / ended)
    assert 100 * hits / ended == pytest.approx(held, abs=by_chance)
    assert always / STOPPED_TRIALS > 0.93, "of all, ended by the rule or not"


MISSED = {3: 1 / 4, 4: 1 / 8, 5: 1 / 16}  # as the captions say it in words


@pytest.mark.parametrize(("runs", "missed"), MISSED.items())
def test_the_caption_states_how_often_intervals_of_few_runs_miss(runs: int, missed: float) -> None:
    drawn, trials = random.Random(runs), 800
    each = [interval([drawn.lognormvariate(0, 0.1) for _ in range(runs)]) for _ in range(trials)]
    misses = sum(not found.low <= 1 <= found.high for found in each if found)
    by_chance = 3.5 * math.sqrt(missed * (1 - missed) / trials)
    assert misses / trials == pytest.approx(missed, abs=by_chance)


def test_the_caption_has_words_for_as_many_runs() -> None:
    assert {runs: said for runs, (said, _) in MISSES.items()} == {
        3: "one time in four",
        4: "one time in eight",
        5: "one time in sixteen",
    }
    assert MISSES.keys() == MISSED.keys()


def test_an_interval_narrows_with_more_runs() -> None:
    drawn = random.Random(1)
    values = [drawn.gauss(100, 10) for _ in range(60)]
    few, many = interval(values[:6]), interval(values)
    assert few
    assert many
    assert many.high - many.low < (few.high - few.low) / 2


def test_the_same_runs_have_the_same_interval_and_another_seed_another_sample() -> None:
    values = [1.1**power for power in range(40)]
    assert ratio(values, values) == ratio(values, values)
    resampled = {ratio(values, values, seed) for seed in range(20)}
    assert len(resampled) > 1


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0]])
def test_too_few_runs_have_no_interval(values: list[float]) -> None:
    assert interval(values) is None


def test_runs_that_are_all_alike_have_an_interval_of_no_length() -> None:
    assert interval([0.0] * 3) == Interval(0.0, 0.0, 0.0, 3)
    found = interval([2.0] * 5)
    assert found == Interval(2.0, 2.0, 2.0, 5)
    assert found.within == 0


# Ratios

BASE = [100.0, 101.0, 99.0, 102.0, 98.0, 100.5, 99.5]


def test_the_ratio_of_a_shifted_sample() -> None:
    found = ratio([value * 1.2 for value in BASE], BASE)
    assert found
    assert (found.of, found.to) == (120.0, 100.0)
    assert found.value == pytest.approx(1.2)
    assert found.low is not None
    assert found.high is not None
    assert 1.15 < found.low < 1.2 < found.high < 1.25
    assert (found.delta, found.size, found.differs) == (1.0, "large", True)


def test_the_ratio_of_a_sample_to_itself() -> None:
    found = ratio(BASE, BASE)
    assert found
    assert (found.value, found.delta, found.size, found.differs) == (1.0, 0.0, "negligible", False)


def test_a_ratio_of_too_few_runs_has_no_interval() -> None:
    found = ratio([3.0], [2.0, 2.0])
    assert found
    assert found.value == 1.5
    assert (found.low, found.high, found.delta, found.size, found.differs) == (
        None,
        None,
        None,
        "",
        None,
    )


@pytest.mark.parametrize(("of", "to"), [([], [1.0]), ([1.0], []), ([1.0], [0.0])])
def test_there_is_no_ratio_to_nothing(of: list[float], to: list[float]) -> None:
    assert ratio(of, to) is None


def test_cliffs_delta_counts_pairs() -> None:
    # Of nine pairs 2 is above 1 once, 3 above 1 and 2 twice; 1 below 2 and 3, 2 below 3; 3 ties.
    assert delta([1, 2, 3], [1, 2, 3]) == 0
    assert delta([1, 2, 3], [0, 0, 2]) == pytest.approx((3 + 2 + 2 - 1) / 9)
    assert delta([1, 1], [5, 5, 5]) == -1


# Runs


def test_percentiles_of_runs_are_merged_and_not_averaged() -> None:
    found = stats.latency([hdr(1, times=990), hdr(100, times=10)])
    assert found
    assert found.count == 1_000
    assert found.p50_ms == pytest.approx(1.0, rel=1e-3)
    assert found.p99_ms == pytest.approx(1.0, rel=1e-3)
    assert found.max_ms == pytest.approx(100.0, rel=1e-3)


def test_nothing_has_no_percentiles() -> None:
    assert stats.latency([]) is None
    assert stats.latency([hdr()]) is None


@pytest.mark.parametrize(
    ("latencies_ms", "settled", "why"),
    [
        ([2.0, 2.01, 1.99, 2.02, 1.98, 2.0, 1.97, 2.03], True, "within 5 %"),
        ([2.0] * 7, False, "the time budget ended (± 0.0 %)"),
        # Of eight runs the interval has both ends; the bootstrap would leave them out.
        ([2.0] * 6 + [1.8, 2.2], False, "the time budget ended (± 10.1 %)"),
        ([2.0, 2.2, 1.8, 2.4, 1.6], False, "the time budget ended (± 20.0 %)"),
        ([2.0, 2.0], False, "the time budget ended (too few runs for an interval)"),
        ([], False, "the time budget ended (too few runs for an interval)"),
    ],
)
def test_when_runs_are_settled_and_why_no_more_are_made(
    latencies_ms: list[float], settled: bool, why: str
) -> None:
    runs = [run("bytes"), *timed(*latencies_ms)]
    assert stats.settled(runs) is settled
    assert stats.why_stopped(runs) == why


def test_a_run_with_a_wrong_fate_settles_nothing() -> None:
    wrong = run("latency", 9, wrong=["message 3 at client 4: lost"])
    assert not stats.settled([*timed(*[2] * 7), wrong])
    assert stats.settled([*timed(*[2] * 8), wrong])


# Doubts

GOOD = [run("bytes"), *timed(2, 2.01, 1.99)]


def test_a_good_result_has_no_warnings() -> None:
    assert stats.warnings(result(*GOOD)) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"generator_cpu": 0.97}, "polling, paced: the generator was the limit (97% of a core)"),
        (
            {"missed_ticks": 7, "lag_most_ms": 31.4},
            "polling, paced: 7 of 200 messages were begun more than 10 ms late (at most 31 ms): "
            "their latency holds the generator's delay",
        ),
        (
            {"others_cpu": 0.9},
            "Latency may be unstable: during 1 of 4 latency runs other programs took up to 0.9 "
            "cores. Close them and measure again.",
        ),
        (
            {"fates": {**dict.fromkeys(FATES, 0), "recovered": 3}},
            "polling, paced: 3 deliveries were on their way while their client had no connection",
        ),
        (
            {"missed_polls": 3},
            "polling, paced: 3 polls were skipped because the one before was still open",
        ),
        (
            {"missed_polls": 1},
            "polling, paced: 1 poll was skipped because the one before was still open",
        ),
        (
            {"corrected": hdr(4, times=1_000)},
            "polling, paced: may be unstable: the median of its 4 runs' p50 lies between 2 and 4 "
            "ms",
        ),
    ],
)
def test_doubts_are_told(changes: dict[str, Any], said: str) -> None:
    if "corrected" in changes:
        runs = [run("bytes"), *timed(2, 2, 4), run("latency", 4, **changes)]
    else:
        runs = [*GOOD, run("latency", 4, **changes)]
    assert said in stats.warnings(result(*runs))


def test_few_runs_and_runs_that_disagree_are_told() -> None:
    assert stats.warnings(result(run("bytes"), *timed(2, 3))) == [
        "paced: may be unstable: 2 latency runs a variant, too few for an interval",
        "polling, paced: may be unstable: the p50 of its runs are 2, 3 ms",
    ]


def test_few_independent_values_are_told() -> None:
    runs = [run("bytes", workload="burst"), *timed(2, 2, 2, workload="burst")]
    assert stats.warnings(result(*runs, workloads=[WORKLOADS["burst"]])) == [
        "burst: few independent values: 6 bursts a variant. Deliveries of the same moment are "
        "late together, so p99 is that of the worst moments."
    ]


def test_a_recovery_is_no_doubt_where_everyone_is_cut_off() -> None:
    fates = {**dict.fromkeys(FATES, 0), "recovered": 3}
    runs = [run("bytes", workload="storm"), *timed(2, 2, 2, 2, workload="storm", fates=fates)]
    assert stats.warnings(result(*runs, workloads=[WORKLOADS["storm"]])) == []


def test_who_waits_in_a_closed_loop_is_not_the_generator() -> None:
    closed = WORKLOADS["paced"].but(loop="closed")
    late = run("latency", 4, missed_ticks=7, lag_most_ms=31.4)
    assert stats.warnings(result(*GOOD, late, workloads=[closed])) == []


def test_a_byte_run_that_went_wrong_voids_no_latency() -> None:
    wrong = run("bytes", wrong=["message 3 at client 4: lost"])
    (said,) = stats.warnings(result(*GOOD, wrong))
    assert said.endswith(
        "lost. The bytes are those of a talk that went wrong; do not compare them."
    )


def test_a_changing_clock_rate_is_told() -> None:
    known = msgspec.structs.replace(MACHINE, governor="powersave")
    (said,) = stats.warnings(result(*GOOD, machine=known))
    assert "governor powersave" in said
    steady = msgspec.structs.replace(known, governor="performance")
    assert stats.warnings(result(*GOOD, machine=steady)) == []


def test_what_ended_it_and_wrong_fates_come_first() -> None:
    wrong = run("latency", 4, wrong=["message 3 at client 4: lost"], others_cpu=0.9)
    said = stats.warnings(result(*GOOD, wrong, ended="Interrupted"))
    assert said[0] == "Interrupted"
    assert said[1] == (
        "polling, paced, latency run 4: message 3 at client 4: lost. "
        "The latency of this variant is void."
    )
