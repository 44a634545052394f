"""Where polling carries as much as push, by hand; what the findings make of it."""

from __future__ import annotations

from math import exp

import pytest

from labs.advise.flow import Use, Weights, flow, held_polls, polled_every_s, weigh
from labs.experiments import crossover
from labs.experiments.crossover_cases import CASES, Case, count, equal_per_s, least_members
from labs.experiments.experiment import verdict
from labs.experiments.plotting import svg

ROUND = Weights(batch=360, message=120, sent=480, empty=310)
USE = Use(rate_per_s=4, members=8, interval_s=0.5, rtt_s=0, heartbeat_s=16)


def expected() -> list[float]:
    return [case.expected for case in CASES]


def test_polling_pays_by_the_clock() -> None:
    # Two polls a second; exp(-4 x 0.5) of them are empty. Each of 8 sends half a message a second.
    empty = 2 * exp(-2)
    assert flow("polling", ROUND, USE).bytes == pytest.approx(
        (2 - empty) * 360 + empty * 310 + 4 * 120 + 0.5 * 480
    )


def test_push_pays_by_the_message() -> None:
    assert flow("websocket", ROUND, USE).bytes == pytest.approx(
        4 * 360 + 4 * 120 + 0.5 * 480 + 310 / 16
    )


def test_push_that_waits_pays_by_the_window() -> None:
    # A batch every 0.75 s: a window of half a second, and a quarter until the next message.
    found = flow("websocket", ROUND, USE.but(coalesce_s=0.5))
    assert found.batches == pytest.approx(1 / 0.75)


def test_a_poll_is_not_made_before_the_last_is_answered() -> None:
    assert polled_every_s(USE) == 0.5
    assert polled_every_s(USE.but(rtt_s=0.5)) == 0.5
    assert polled_every_s(USE.but(rtt_s=0.6)) == 1.0


@pytest.mark.parametrize("rtt_s", [0.0, 0.2])
def test_a_held_poll_ends_or_brings_something(rtt_s: float) -> None:
    # What is said comes to an end of the poll before `hold_s`, or in the round trip before it.
    news, empty = held_polls(USE.but(rtt_s=rtt_s), hold_s=1.0)
    assert empty / (news + empty) == pytest.approx(exp(-4 * (rtt_s + 1.0)))
    most = 1 / rtt_s if rtt_s else 4
    assert news <= most


def test_a_held_poll_of_silence_ends_by_the_clock() -> None:
    assert held_polls(USE.but(rate_per_s=0, rtt_s=1), hold_s=24) == (0, 1 / 25)


def test_one_long_poll_a_round_trip_at_most() -> None:
    news, _ = held_polls(USE.but(rate_per_s=1_000, rtt_s=0.25), hold_s=25)
    assert news == pytest.approx(4)


def test_a_request_for_each_message_only_where_there_are_requests() -> None:
    each = {name: flow(name, ROUND, USE).requests for name in ("streaming", "websocket")}
    assert each == {"streaming": 0.5, "websocket": 0}
    assert flow("polling", ROUND, USE).requests == pytest.approx(0.5 + 2)


def test_equal_rates_satisfy_their_equations() -> None:
    usual = Use(rate_per_s=1, members=40, interval_s=0.5, heartbeat_s=1e9)
    polling, frames = weigh("polling"), weigh("websocket")
    # r T is large: each poll brings something, and sending by frame saves (s - s') / N a message.
    by_hand = polling.batch / 0.5 / (frames.batch - (polling.sent - frames.sent) / 40)
    found = equal_per_s(Case("polling", usual), Case("websocket", usual))
    assert found == pytest.approx(by_hand, rel=1e-3)


def test_no_rate_is_equal_in_a_small_room() -> None:
    least = least_members("websocket")
    assert 4 < least < 40
    for members, there in ((int(least), False), (int(least) + 2, True)):
        use = Use(rate_per_s=1, members=members, interval_s=0.5)
        found = equal_per_s(Case("polling", use), Case("websocket", use))
        assert (found is not None) == there, members


def test_no_rate_is_equal_where_push_waits_as_long() -> None:
    use = Use(rate_per_s=1, members=40, interval_s=0.5, coalesce_s=0.5)
    assert equal_per_s(Case("polling", use), Case("websocket", use)) is None


def test_a_late_end_of_the_window_adds_polls_but_no_messages() -> None:
    case = Case("polling", Use(rate_per_s=10, members=4), window_s=5.0)
    polls = 700
    said = case.by_message * 5 * 4
    # Six seconds of polls, of 700 B a client and second, and five seconds' worth of messages.
    assert case.counted(round(said + polls * 4 * 6), 6.0) == pytest.approx(
        case.by_message + polls, rel=1e-3
    )
    pushed = Case("websocket", case.use, window_s=5.0)
    assert pushed.counted(20_000, 6.0) == 1_000


def test_across_a_round_trip_polls_are_made_while_there_is_talk() -> None:
    case = Case("longpolling", Use(rate_per_s=1_000, members=4, rtt_s=0.5), window_s=5.0)
    # Messages all the time for 4.2 s: an answer every 0.5 s, and one for the last of them.
    answers = 4.2 / 0.5 + 1
    assert case.expected == pytest.approx(
        case.by_message + answers * weigh("longpolling").batch / 5, rel=1e-3
    )


def test_the_cases_lie_on_both_sides() -> None:
    for pair in crossover.predict().pairs:
        if pair.equal_per_s is None:
            assert pair.difference > pair.reach, pair.what
        else:
            rate = CASES[pair.first].use.rate_per_s
            assert (pair.difference > 0) == (rate < pair.equal_per_s), pair.what
            assert abs(pair.difference) > pair.reach, f"{pair.what}: no sign could be told"


def test_the_theory_is_an_erratum_of_the_claim() -> None:
    found = crossover.judge(crossover.predict(), expected())
    assert verdict(found) == "erratum"
    assert [finding.holds for finding in found if finding.of == "theory"] == [True] * 11
    assert {finding.holds for finding in found if finding.of == "claim"} == {True, False}


def test_push_that_is_always_cheaper_and_predicted_so_is_reproduced() -> None:
    predicted = crossover.predict()
    cheap = [
        size * (1 if case.variant == "polling" else 0.5)
        for case, size in zip(CASES, expected(), strict=True)
    ]
    said = [
        replace_difference(pair, cheap[pair.first] - cheap[pair.second]) for pair in predicted.pairs
    ]
    found = crossover.judge(crossover.Predicted(said, predicted.least_members), cheap)
    assert verdict(found) == "reproduced"


def replace_difference(pair: crossover.Pair, difference: float) -> crossover.Pair:
    return crossover.Pair(
        pair.what, pair.first, pair.second, difference, pair.reach, pair.equal_per_s, pair.claimed
    )


def test_other_bytes_than_predicted_are_not_reproduced() -> None:
    heavier = [
        size * (1.2 if case.variant == "polling" else 1)
        for case, size in zip(CASES, expected(), strict=True)
    ]
    assert verdict(crossover.judge(crossover.predict(), heavier)) == "not reproduced"


def test_the_plot_has_a_line_for_each_and_dots() -> None:
    drawn = svg(crossover.plot(crossover.predict(), expected()))
    for label in ("polling", "longpolling", "streaming", "websocket", "socketio", "measured"):
        assert f">{label}<" in drawn, label


async def test_what_passes_is_the_closed_form_near_by_and_far_away() -> None:
    near_by = Case("websocket", Use(rate_per_s=20, members=6, heartbeat_s=60), window_s=2.0)
    far = Case("longpolling", Use(rate_per_s=40, members=2, rtt_s=0.4), window_s=2.0)
    each, away = await count([near_by, far], seed=1)
    # 40 messages, of which the mean length is not that of the 400 typical ones.
    weights = weigh("websocket")
    by_hand = 20 * (weights.batch + weights.message) + 20 / 6 * weights.sent
    assert near_by.workload.messages == 40
    assert each == pytest.approx(by_hand, rel=0.15)
    # A head for each of 40 messages a second would be twice all this.
    assert away < far.by_message * 1.15 + weigh("longpolling").batch * (1 / 0.4 + 1)
    assert away > far.by_message * 0.85
