"""The parts of a prediction by themselves, its means, and what is said of a difference."""

from __future__ import annotations

from typing import Any

import pytest

from labs.bench.prediction import Prediction, difference, handshake, predict
from labs.bench.prediction.models import coalesced
from labs.bench.prediction.tally import (
    AT_MS,
    EPOCH,
    KEY,
    SESSION,
    Said,
    batch,
    frame,
    response,
    talk,
)
from labs.bench.schedule import Tick, schedule
from labs.bench.workload import Workload
from labs.chat.messages import Batch, Message, encode_batch
from labs.errors import UsageError
from labs.inbox import new_key
from labs.wire.traffic import Traffic, added
from tests.labs.lived import PYTHON, talking


def prediction_of(variant: str, workload: Workload, **more: Any) -> Prediction:
    found = predict(workload, variant, schedule(workload, 7, 1), PYTHON, **more)
    assert found
    return found


class TestPolls:
    """Of the polling of a whole crowd only the mean is known."""

    WORKLOAD = talking(
        clients=1, arrivals="poisson", rate_per_s=3.0, settings={"interval_s": 0.4}, tail_s=0.0
    )

    def test_the_polls_with_news_are_the_closed_form(self) -> None:
        moments_s = [tick.at_ns / 1e9 for tick in schedule(self.WORKLOAD, 7, 1)]
        ends_s = [*moments_s[1:], self.WORKLOAD.duration_s]
        gaps_s = [min(end - begin, 0.4) for begin, end in zip(moments_s, ends_s, strict=True)]
        counts = prediction_of("polling", self.WORKLOAD).counts
        assert counts.polls_with_news == pytest.approx(sum(gaps_s) / 0.4)
        assert counts.polls == pytest.approx(30)
        assert counts.heartbeats == pytest.approx(30 - sum(gaps_s) / 0.4)

    def test_the_mean_is_that_of_many_phases(self) -> None:
        steps = 4_000
        exact = [
            prediction_of("polling", self.WORKLOAD, due_s=[(step + 0.5) * 0.4 / steps])
            for step in range(0, steps, 20)
        ]
        expected = prediction_of("polling", self.WORKLOAD)
        for key in expected.cells:
            mean = sum(one.cells.get(key, 0) for one in exact) / len(exact)
            assert expected.cells[key] == pytest.approx(mean, rel=0.01)

    def test_light_clients_poll_by_the_clock(self) -> None:
        by_clock = prediction_of(
            "polling", self.WORKLOAD.but(probes=0), phases=[0.25], start_s=1_000.06
        )
        assert by_clock == prediction_of("polling", self.WORKLOAD, due_s=[0.04])

    def test_readable_ones_do_not(self) -> None:
        assert prediction_of(
            "polling", self.WORKLOAD.but(probes=1), phases=[0.25], start_s=1_000.06
        ) == prediction_of("polling", self.WORKLOAD)


class TestDifferences:
    """What is said of a difference, and in which order."""

    WORKLOAD = talking(clients=3, duration_s=3.0, tail_s=0.0)
    POLLING = prediction_of("polling", WORKLOAD, due_s=[0.1, 0.2, 0.3])
    EMPTY = PYTHON.request(
        "poll",
        "GET",
        PYTHON.target("poll", session="s" * SESSION, since="e" * EPOCH + ":3"),
        "h" * 15,
    )

    def measured(self, more: dict[str, int], requests: int = 0) -> Traffic:
        cells = added([{key: round(size) for key, size in self.POLLING.cells.items()}, more])
        return Traffic(0, round(self.POLLING.counts.requests) + requests, cells)

    def test_none(self) -> None:
        assert difference(self.POLLING, self.measured({})) == []

    def test_more_polls(self) -> None:
        each = self.POLLING.parts["empty poll"]
        more = {key: int(size) * 3 for key, size in each.items()}
        up, down = difference(self.POLLING, self.measured(more, requests=3))
        assert up.cell == "up/http_head/heartbeat"
        assert up.measured - up.predicted == 3 * len(self.EMPTY)
        assert up.sentence == (
            f"3 more empty polls than predicted: +{3 * len(self.EMPTY)} B http_head up (heartbeat)"
        )
        assert (
            down.sentence == "3 more empty polls than predicted: +375 B http_head down (heartbeat)"
        )

    def test_fewer_heartbeats(self) -> None:
        websocket = prediction_of("websocket", self.WORKLOAD)
        assert websocket.cells["up/framing/heartbeat"] == 20 * 9
        cells = {key: int(size) for key, size in websocket.cells.items()}
        cells["up/framing/heartbeat"] -= 20
        cells["down/framing/heartbeat"] -= 12
        found = difference(websocket, Traffic(0, 0, cells))
        assert [one.sentence for one in found] == [
            "1 fewer heartbeat than predicted: -20 B framing up (heartbeat)",
            "1 fewer heartbeat than predicted: -12 B framing down (heartbeat)",
        ]

    def test_batches_that_came_together(self) -> None:
        """Two messages in one event instead of two: a comma for two brackets, one chunk less."""
        streaming = prediction_of("streaming", self.WORKLOAD)
        cells = {key: int(size) for key, size in streaming.cells.items()}
        each = streaming.parts["batch pushed"]["down/framing/steady"]
        cells["down/framing/steady"] -= round(3 * each)
        cells["down/chunk/steady"] -= 17
        cells["down/envelope/steady"] -= 3
        found = difference(streaming, Traffic(0, 90, cells))
        assert [one.sentence for one in found] == [
            f"3 fewer batches pushed than predicted: -{3 * each:.0f} B framing down (steady)",
            "3 fewer batches pushed than predicted: -17 B chunk down (steady)",
            "3 fewer batches pushed than predicted: -3 B envelope down (steady)",
        ]

    def test_what_was_not_predicted_at_all(self) -> None:
        (one,) = difference(self.POLLING, self.measured({"up/opaque/steady": 5}))
        assert (one.predicted, one.measured) == (0, 5)
        assert one.sentence == "nothing of this kind was predicted: +5 B opaque up (steady)"

    def test_what_nothing_explains(self) -> None:
        (one,) = difference(self.POLLING, self.measured({"up/envelope/steady": 1}))
        assert one.sentence == "no whole number of anything predicted: +1 B envelope up (steady)"

    def test_polls_that_stood_open(self) -> None:
        """Who leaves is announced to those who stay, in the answers to their open polls."""
        idle = talking(clients=3, arrivals="none", tail_s=0.0)
        prediction = prediction_of("longpolling", idle)
        cells = {key: int(size) for key, size in prediction.cells.items()}
        moved = 2 * int(prediction.parts["empty poll"]["up/http_head/heartbeat"])
        cells["up/http_head/heartbeat"] -= moved
        cells["up/http_head/steady"] = moved
        measured = Traffic(0, round(prediction.counts.requests), cells)
        said = "polls that stood open at the end of the window were answered after it, with news: "
        assert {one.sentence for one in difference(prediction, measured)} == {
            f"{said}-{moved} B http_head up (heartbeat)",
            f"{said}+{moved} B http_head up (steady)",
        }

    def test_other_response_heads(self) -> None:
        count = round(self.POLLING.counts.requests)
        steady = count - round(self.POLLING.counts.heartbeats)
        more = {
            "down/http_head/steady": 20 * steady,
            "down/http_head/heartbeat": 20 * (count - steady),
        }
        for one in difference(self.POLLING, self.measured(more)):
            assert one.sentence.startswith(
                "as many requests as predicted, but a response head is 20 B longer than our "
            )

    def test_a_mean_says_so(self) -> None:
        workload = TestPolls.WORKLOAD.but(tail_s=0.4)
        expected = prediction_of("polling", workload)
        real = prediction_of("polling", workload, due_s=[0.01])
        cells = {key: int(size) for key, size in real.cells.items()}
        found = difference(expected, Traffic(0, round(real.counts.requests), cells))
        assert found
        for one in found:
            assert "the mean over unknown phases" in one.sentence or "chance" in one.sentence

    def test_the_largest_comes_first(self) -> None:
        more = {"up/opaque/steady": 5, "down/opaque/steady": 50}
        found = difference(self.POLLING, self.measured(more))
        assert [one.cell for one in found] == ["down/opaque/steady", "up/opaque/steady"]


class TestWithoutAForm:
    """Where no closed form holds, nothing is said."""

    def test_compression(self) -> None:
        assert predict(talking(), "websocket-deflate", [], PYTHON) is None
        with pytest.raises(UsageError, match="no closed form for websocket-deflate; measure it"):
            handshake("websocket-deflate", PYTHON, "client0")

    def test_clients_that_are_cut_off(self) -> None:
        assert predict(talking(cut_at_s=1.0), "websocket", [], PYTHON) is None

    def test_an_unknown_variant(self) -> None:
        with pytest.raises(UsageError, match="no variant is called 'carrier-pigeon'"):
            predict(talking(), "carrier-pigeon", [], PYTHON)


class TestParts:
    """The smallest parts, beside what the code that is measured makes of the same."""

    @pytest.mark.parametrize("text", ["hi", "한글", 'a "b"\n\t\\', "\u2028", "🙂"])
    @pytest.mark.parametrize("offset", [9, 10, 1_000_000])
    def test_a_batch(self, text: str, offset: int) -> None:
        at_ms = int("1" * AT_MS)
        said = [Said(0.0, offset, 1, "client0", text), Said(0.0, offset + 1, 2, "나", text)]
        messages = [Message(one.offset, "talk", one.name, one.text, at_ms) for one in said]
        assert sum(batch(said)) == len(encode_batch(Batch("e", messages)))
        assert talk(said[0]) + len(text.encode()) == len(encode_batch(Batch("e", messages[:1]))) - 2

    @pytest.mark.parametrize(
        ("size", "head"), [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)]
    )
    def test_a_frame(self, size: int, head: int) -> None:
        """RFC 6455 section 5.2."""
        assert frame(size) == head
        assert frame(size, masked=True) == head + 4

    def test_a_response(self) -> None:
        """RFC 9110 section 6.6.1: the date always has the same length."""
        date = "Date: Sun, 06 Nov 1994 08:49:37 GMT"
        head = f"HTTP/1.1 204 No Content\r\n{date}\r\nServer: me\r\n\r\n"
        assert response("204 No Content", server="me") == len(head)

    def test_a_key_is_as_long_as_the_clients(self) -> None:
        assert len(new_key()) == KEY

    def test_batches_of_one_window(self) -> None:
        said = [Said(at_s, 1, 1, "a", "x") for at_s in (0.0, 0.0, 0.1, 0.25, 0.4)]
        assert [len(one) for one in coalesced(said, 0.0)] == [2, 1, 1, 1]
        assert [len(one) for one in coalesced(said, 250.0)] == [4, 1]
        assert [len(one) for one in coalesced(said, None)] == [1, 1, 1, 1, 1]

    def test_a_schedule_that_warms_up_moves_the_offsets_only(self) -> None:
        workload = talking(clients=1, duration_s=1.0, rate_per_s=2.0)
        early = [Tick(-100, 0, "x")] * 9
        late = [Tick(100, 0, "x")]
        warm, cold = (
            predict(workload, "websocket", ticks, PYTHON) for ticks in (early + late, late)
        )
        assert warm
        assert cold
        assert warm.counts == cold.counts
        # Offset 11 for 2, id 10 for 1: two digits more in the ack, one up and one in the batch.
        assert sum(warm.cells.values()) - sum(cold.cells.values()) == 4
