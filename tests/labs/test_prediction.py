"""What was predicted is what passes, to the byte: real servers and clients, in virtual time.

Server, tap and clients share one event loop whose clock jumps to the next timer when nothing is on
its way, so that a minute takes none and every count is exact, however slow the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from itertools import cycle, islice
from time import monotonic_ns
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import pytest

from labs.bench.heads import find
from labs.bench.light import light
from labs.bench.prediction import Prediction, difference, handshake, predict
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
from labs.bench.prediction.windows import coalesced
from labs.bench.schedule import Tick, schedule
from labs.bench.workload import Workload
from labs.chat.messages import Batch, Message, encode_batch
from labs.errors import UsageError
from labs.inbox import new_key
from labs.settings import Settings
from labs.variants import Client, load
from labs.wire.ledger import account
from labs.wire.tap import tapping
from labs.wire.traffic import Traffic, added
from tests.labs.virtual import VirtualLoop

EVERY = (
    "polling",
    "longpolling",
    "streaming",
    "websocket",
    "socketio",
    "socketio-websocket",
    "socketio-polling",
)
HOST = "127.0.0.1"
PYTHON = find("python")
GRACE_S = 0.005  # what is on its way between two sockets of loopback is there at once, or nearly
CLOCK_S = 1_795_379_121.6540225  # a time that takes as many digits as any
PHASES_S = (0.13, 0.28, 0.37, 0.06, 0.21)
SETTLE_S = 0.94  # before a window; every poller asks twice
T = TypeVar("T")


class PatientLoop(VirtualLoop):
    """Virtual time that jumps only when no byte is on its way between two sockets."""

    def __init__(self) -> None:
        super().__init__()
        jump = self._jump
        real, virtual = super(type(jump), jump).select, jump.select

        def select(timeout: float | None = None) -> Any:
            return real(0 if timeout == 0 else GRACE_S) or virtual(timeout)

        jump.select = select  # type: ignore[method-assign]


def run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        return runner.run(main)


def now_s() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture(autouse=True)
def clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients' clocks: polling's goes with the loop, Engine.IO's always has all its digits."""
    monkeypatch.setattr("polling.client.monotonic", now_s)
    monkeypatch.setattr("engineio.base_client.time", SimpleNamespace(time=lambda: CLOCK_S))
    phases_s = cycle(PHASES_S)
    monkeypatch.setattr("polling.client.random", SimpleNamespace(uniform=lambda *_: next(phases_s)))


class Lived(NamedTuple):
    """What really passed: by each join, and in the window; and where the clients had asked."""

    joins: list[Traffic]
    window: Traffic
    host: str
    age_s: float
    begun_s: float


class Nobody:
    """What light clients report to."""

    def arrived(self, client: int, index: int, offset: int, at_ns: int) -> None: ...
    def foreign(self, client: int) -> None: ...
    def broke(self, client: int, at_ns: int) -> None:
        raise AssertionError(f"client{client} broke")


class Site:
    """A server behind a tap, and clients that follow a workload: its probes are readable."""

    def __init__(self, variant: str, workload: Workload, ticks: Sequence[Tick]) -> None:
        self.variant, self.workload, self.ticks = load(variant), workload, ticks
        self.settings = self.variant.settings(Settings(**workload.settings))
        self.clients: list[Any] = []
        self._ends_ns: list[tuple[str, int | None]] = []
        self._reading: list[asyncio.Task[None]] = []

    async def live(self, spoil: Any = None) -> Lived:
        served = self.variant.serve(self.variant.chat(self.settings), HOST, 0)
        async with served as url, tapping(HOST, urlsplit(url).port or 0) as (tap, port):
            for number in range(self.workload.clients):
                await self._join(number, f"http://{HOST}:{port}")
            joined_s = now_s()
            if spoil:
                spoil(self.clients)
            await asyncio.sleep(SETTLE_S)
            begun_s = now_s()
            self._end("settled")
            await self._play(begun_s)
            self._end("window")
            windows = account([*tap.events], self._ends_ns)
            await self._leave()
        joins = [windows[f"client{number}"] for number in range(self.workload.clients)]
        return Lived(joins, windows["window"], f"{HOST}:{port}", begun_s - joined_s, begun_s)

    async def _join(self, number: int, url: str) -> None:
        rooms, settings = self.workload.rooms, self.settings
        own = settings if rooms == 1 else settings.but(room=f"room{number % rooms}")
        client = self._client(number, url, own)
        self.clients.append(client)
        await client.connect(f"client{number}")
        if number < self.workload.probes:
            self._reading.append(asyncio.create_task(self._read(client)))
        await asyncio.sleep(1e-9)  # until nothing is on its way
        self._end(f"client{number}")

    def _client(self, number: int, url: str, settings: Settings) -> Any:
        if number < self.workload.probes:
            return self.variant.client(url, settings)
        kind = light(self.variant)
        assert kind
        profile, phase = find(self.workload.headers), PHASES_S[number]
        return kind(number, url, settings, profile, Nobody(), phase=phase)

    async def _read(self, client: Client) -> None:
        async for _ in client.messages():
            pass

    async def _play(self, begun_s: float) -> None:
        sending = []
        for tick in self.ticks:
            await asyncio.sleep(begun_s + tick.at_ns / 1e9 - now_s())
            sending.append(asyncio.ensure_future(self.clients[tick.sender].send(tick.text)))
        end_s = begun_s + self.workload.duration_s + self.workload.tail_s
        await asyncio.sleep(end_s - now_s())
        assert all(task.done() for task in sending)

    async def _leave(self) -> None:
        for client in self.clients:
            await client.close()
        await asyncio.gather(*self._reading)

    def _end(self, name: str) -> None:
        self._ends_ns.append((name, monotonic_ns()))


def due_s(lived: Lived, workload: Workload) -> list[float] | None:
    """When each poller asks first; nobody's join had taken any time."""
    interval_s = Settings(**workload.settings).interval_s
    phases_s = islice(cycle(PHASES_S), workload.clients)
    return [(phase_s - lived.age_s) % interval_s for phase_s in phases_s]


def predicted(variant: str, workload: Workload, ticks: Sequence[Tick], lived: Lived) -> Prediction:
    found = predict(
        workload,
        variant,
        ticks,
        PYTHON,
        due_s=due_s(lived, workload) if variant == "polling" else None,
        age_s=lived.age_s,
        host=lived.host,
        stamp_bytes=len(str(CLOCK_S)),
    )
    assert found
    return found


def talking(**changes: Any) -> Workload:
    return Workload(
        **{
            "name": "talk",
            "clients": 4,
            "probes": 20,
            "duration_s": 12.0,
            "arrivals": "constant",
            "rate_per_s": 10.0,
            "chars_median": 60.0,
            "chars_sigma": 1.0,
            "chars_most": 600,
            "tail_s": 0.5,
            "settings": {"interval_s": 0.4, "hold_s": 0.07, "heartbeat_s": 1.0},
            **changes,
        }
    )


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
def test_light_clients_with_any_heads(
    variant: str, headers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pollers ask by the clock, so that the start of the window says when."""
    monkeypatch.setattr("labs.bench.light.polling.monotonic", now_s)
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
