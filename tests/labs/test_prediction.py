"""What was predicted is what passes, to the byte, on all variants: real servers and clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from labs.bench.heads import find
from labs.bench.prediction import Prediction, difference, handshake, predict
from labs.bench.prediction.tally import KEY
from labs.bench.schedule import Tick, schedule
from labs.bench.workload import Workload
from labs.settings import Settings
from labs.wire.traffic import Traffic, added
from tests.labs.lived import (
    CLOCK_S,
    EVERY,
    PHASES_S,
    PYTHON,
    Lived,
    Site,
    predicted,
    run,
    set_clocks,
    talking,
)


@pytest.fixture(autouse=True)
def clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    set_clocks(monkeypatch)


def check(variant: str, workload: Workload, ticks: Sequence[Tick]) -> tuple[Prediction, Lived]:
    lived = run(Site(variant, workload, ticks).live())
    prediction = predicted(variant, workload, ticks, lived)
    assert difference(prediction, lived.window) == []
    assert prediction.cells == lived.window.cells
    assert prediction.counts.requests == lived.window.requests
    return prediction, lived


@pytest.mark.parametrize("variant", EVERY)
def test_a_talk_is_predicted_to_the_byte(variant: str) -> None:
    """120 messages, so that offsets, ack numbers, lengths and chunk sizes change their digits."""
    workload = talking()
    ticks = schedule(workload, seed=7, number=1)
    assert len(ticks) == 120
    assert any(len(tick.text.encode()) > 126 for tick in ticks)
    prediction, _ = check(variant, workload, ticks)
    assert prediction.counts.deliveries == 480


@pytest.mark.parametrize("variant", EVERY)
def test_so_are_rooms_and_what_json_escapes(variant: str) -> None:
    workload = talking(clients=5, rooms=2, duration_s=2.0, rate_per_s=2.0)
    texts = ('"', "back\\slash\tand\nline", "한글 " * 400, "#3 🙂")
    ticks = [
        Tick(round((0.23 + index / 2) * 1e9), sender, text)
        for index, (sender, text) in enumerate(zip((0, 3, 4, 3), texts, strict=True))
    ]
    check(variant, workload, ticks)


@pytest.mark.parametrize("variant", EVERY)
def test_an_idle_minute_is_exact(variant: str) -> None:
    """The periods divide the minute, so a window of that length holds whole ones."""
    periods = {"interval_s": 0.5, "hold_s": 20.0, "heartbeat_s": 15.0}
    workload = talking(clients=3, arrivals="none", duration_s=60.0, tail_s=0.0, settings=periods)
    prediction, lived = check(variant, workload, [])
    each = added([{}, lived.window.cells])
    for way, size in prediction.per_idle_minute.items():
        direction, layer = way.split("/")
        assert lived.window.of(direction, layer) == 3 * size
    assert sum(each.values()) == 3 * sum(prediction.per_idle_minute.values())
    per_minute = {"polling": 120, "longpolling": 3}.get(variant, 4)
    assert prediction.counts.heartbeats == 3 * per_minute


@pytest.mark.parametrize("variant", EVERY)
def test_a_handshake_is_exact(variant: str) -> None:
    """For each client the answer is longer, by the name of who came before."""
    workload = talking(clients=11, arrivals="none", duration_s=0.5)
    lived = run(Site(variant, workload, []).live())
    names = [f"client{number}" for number in range(11)]
    opening = []
    for number, joined in enumerate(lived.joins):
        expected = handshake(
            variant,
            PYTHON,
            names[number],
            names[:number],
            Settings(**workload.settings),
            host=lived.host,
            stamp_bytes=len(str(CLOCK_S)),
        )
        found = {
            key: size for key, size in joined.cells.items() if key.endswith(("/handshake", "/join"))
        }
        assert expected == found
        opening.append(found)
    per_handshake = predicted(variant, workload, [], lived).per_handshake
    assert sum(added(opening).values()) == pytest.approx(11 * sum(per_handshake.values()))


def test_one_message_costs_what_is_said_of_it() -> None:
    """WebSocket: the mean of one message is that message."""
    workload = talking(clients=2, duration_s=1.0, rate_per_s=1.0)
    prediction, lived = check("websocket", workload, [Tick(500_000_000, 1, "안녕")])
    key = "k" * KEY
    up = f'{{"event":"sendMessage","data":{{"text":"안녕","key":"{key}"}},"id":1}}'.encode()
    assert sum(prediction.per_message.values()) - len(
        '{"event":"ack","data":{"offset":3},"id":1}'
    ) == (len(up) + 2 + 4 + 2)
    assert prediction.per_delivery["down/text"] == 6
    assert prediction.per_message["up/text"] == 6
    assert lived.window.of("down", "text") == 12


@pytest.mark.parametrize("variant", ["polling", "longpolling", "streaming"])
def test_another_clients_heads_are_told_as_such(variant: str) -> None:
    def add_a_header(clients: Sequence[Any]) -> None:
        for client in clients:
            client._http.headers["X-Extra"] = "1"

    workload = talking(duration_s=2.0)
    ticks = schedule(workload, seed=7, number=1)
    lived = run(Site(variant, workload, ticks).live(add_a_header))
    found = difference(predicted(variant, workload, ticks, lived), lived.window)
    assert {one.cell.split("/")[1] for one in found} == {"http_head"}
    extra = len("X-Extra: 1\r\n")
    assert sum(one.measured - one.predicted for one in found) == pytest.approx(
        extra * lived.window.requests, abs=extra * workload.clients
    )
    assert "as many requests as predicted, but a request head is" in found[0].sentence
    assert "B longer than profile python has it" in found[0].sentence


@pytest.mark.parametrize("coalesce_ms", [None, 150.0])
@pytest.mark.parametrize("variant", ["streaming", "websocket", "socketio"])
def test_a_coalescing_window_makes_batches(variant: str, coalesce_ms: float | None) -> None:
    workload = talking(duration_s=3.0)
    settings = {**workload.settings, "coalesce_ms": coalesce_ms}
    workload = workload.but(settings=settings)
    ticks = schedule(workload, seed=7, number=1)
    prediction, _ = check(variant, workload, ticks)
    assert prediction.counts.batches == (120 if coalesce_ms is None else 60)


@pytest.mark.parametrize("headers", ["python", "chromium"])
@pytest.mark.parametrize("variant", EVERY)
def test_light_clients_with_any_heads(variant: str, headers: str) -> None:
    """Pollers ask by the clock, so that the start of the window says when."""
    workload = talking(duration_s=3.0, probes=0, headers=headers)
    ticks = schedule(workload, seed=7, number=1)
    lived = run(Site(variant, workload, ticks).live())
    prediction = predict(
        workload,
        variant,
        ticks,
        find(headers),
        PHASES_S,
        start_s=lived.begun_s,
        age_s=lived.age_s,
        host=lived.host,
    )
    assert prediction
    if variant == "socketio-polling" and headers == "python":
        return check_but_for_the_clock(prediction, lived.window)
    assert difference(prediction, lived.window) == []


def check_but_for_the_clock(prediction: Prediction, measured: Traffic) -> None:
    """The clock's length is a mean: a request may miss it by 0.7 B less or 6 more."""
    for one in difference(prediction, measured):
        assert one.cell.startswith("up/http_head/")
        assert abs(one.measured - one.predicted) < measured.requests
        assert one.sentence.startswith("a mean was predicted, and chance is this far from it: ")
