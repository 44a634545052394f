"""Claims about staying connected, compressing and batching: their arithmetic, verdicts, parts."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import suppress

import aiohttp
import msgspec
import pytest
from aiohttp import web
from websockets.asyncio.client import connect

from labs.experiments import coalescing, deflate, half_open, sticky_sessions, zombies
from labs.experiments.echo_host import Mode
from labs.experiments.experiment import AnyExperiment, verdict
from labs.experiments.plotting import svg
from labs.experiments.rig import pinging
from labs.experiments.rig.balancer import balancing
from labs.experiments.rig.silent import cable
from labs.wire.control import child
from labs.wire.relay import HOST


def drawn(experiment: AnyExperiment, predicted: object, found: object) -> str:
    """The text of a plot."""
    return " ".join(re.findall(r"<text[^>]*>([^<]*)", svg(experiment.plot(predicted, found))))


def decided(experiment: AnyExperiment, found: object) -> str:
    """The verdict on made data."""
    return verdict(experiment.judge(experiment.predict(), found))


# half-open


def burden(**noticed_s: list[float]) -> half_open.Burden:
    """What ought to come out, one client in the middle of each span, but for what is given."""
    middle = {side: [sum(wait) / 2] for side, wait in half_open.predict().items()}
    named = {side.replace("_", " "): each for side, each in noticed_s.items()}
    kib = {name: [0, 100 * 20_480, 300 * 20_480] for name in half_open.HELD}
    return half_open.Burden(noticed_s={**middle, **named}, memory_bytes=kib)


def test_half_open_spans() -> None:
    """With h = t = 1 s, H = 1 s and I = 0.25 s, by hand."""
    waits = half_open.predict()
    assert waits["streaming server"] == (1.0, 2.0)  # t, and h more
    assert waits["streaming client"] == (1.0, 2.0)  # t, and h more
    assert waits["websocket client"] == (1.0, 2.0)  # t, and h more
    assert waits["socketio server"] == (0.5, 2.0)  # t / 2, and h + t / 2 more
    assert waits["longpolling server"] == (0.0, 1.0)  # a poll's rest of H
    assert waits["polling client"] == (1.0, 1.25)  # t, and I more
    assert half_open.stated()["websocket server"] == 2.0  # h + t


def test_half_open_verdicts() -> None:
    """A side that is late breaks the theory; one that only breaks what is stated, the claim."""
    experiment = half_open.EXPERIMENT
    assert decided(experiment, burden()) == "reproduced"
    assert decided(experiment, burden(polling_client=[9.0])) == "not reproduced"
    dear = burden()
    dear.memory_bytes["streaming"] = [0, 100 * 409_600, 300 * 409_600]
    assert decided(experiment, dear) == "erratum"


def test_half_open_memory() -> None:
    """Twenty KiB a connection, from the first to the last."""
    found = half_open.EXPERIMENT.judge(half_open.predict(), burden())
    of = {finding.what: finding.measured for finding in found}
    assert of["streaming: memory of a held connection"] == 20.0
    assert of["streaming: first 100 against the rest"] == 1.0


def test_half_open_plot() -> None:
    """Every side is named, and both lines and dots of memory."""
    text = drawn(half_open.EXPERIMENT, half_open.predict(), burden())
    assert "websocket server" in text
    assert "streaming, linear" in text
    assert "measured" in text


async def test_half_open_is_noticed_on_both_sides() -> None:
    """A real pair, with a short hold; when is not asked here."""
    settings = half_open.SETTINGS.but(timeout_s=0.3, hold_s=0.2, lease_s=0.3)
    server_s, client_s = await half_open.pulled("longpolling", settings, 1)
    assert len(server_s) == len(client_s) == 1
    assert client_s[0] > 0


async def test_a_pulled_cable_says_nothing() -> None:
    """Neither bytes nor an end pass after the pull, on old connections and on new ones."""
    heard, ends = asyncio.Queue[bytes](), list[asyncio.StreamWriter]()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)
        with suppress(ConnectionError):
            while data := await reader.read(100):
                heard.put_nowait(data)
            heard.put_nowait(b"end")

    server = await asyncio.start_server(listen, HOST, 0)
    async with server, cable(HOST, server.sockets[0].getsockname()[1]) as line:
        _, old = await asyncio.open_connection(HOST, line.port)
        old.write(b"before")
        assert await heard.get() == b"before"
        line.pull()
        _, new = await asyncio.open_connection(HOST, line.port)
        for writer in (old, new):
            writer.write(b"after")
            writer.close()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(heard.get(), 0.2)
        for writer in (old, new, *ends):
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()


# coalescing


def batches(p95_off_ms: float = 90.0, saved: float = 0.0) -> coalescing.Batches:
    """Bursts of 50 at five clients: 500 deliveries as 500 frames, or as 10."""
    experiment, around = coalescing.predict(), {"websocket": 35}

    def case(name: str, fewer: int) -> coalescing.Case:
        less = round(fewer * (experiment.saved.get(name, 0) + saved))
        return coalescing.Case(
            deliveries=500,
            predicted=100_000,
            found=100_000 - less,
            envelope=50_000 - fewer * (around.get(name, 2) - 1),
            requests=110,
        )

    bursts = {
        name: {"off": case(name, 0), "turn": case(name, 490)}
        for name in (*coalescing.TICK, "longpolling")
    }
    bursts["socketio-websocket"] = {
        "off": case("socketio-websocket", 0),
        "turn": case("socketio-websocket", 0),
        "window": case("socketio-websocket", 490),
    }
    # 500 deliveries at six to a frame: 83 frames.
    poisson = {"websocket": {"off": case("websocket", 0), "window": case("websocket", 417)}}
    return coalescing.Batches(
        bursts=bursts,
        poisson=poisson,
        p95_ms={"off": p95_off_ms, "turn": 30.0},
        cpu_s={"off": 0.3, "turn": 0.1},
        waits_ms={"off": 1.0, "window": 31.0},
        pair_ms={
            "socketio-polling": [20.0, 22.0, 90.0],
            "socketio-websocket": [30.0, 82.0, 95.0],
        },
    )


def test_coalescing_predicts() -> None:
    """100 messages a second in windows of 50 ms; a WebSocket frame less."""
    predicted = coalescing.predict()
    assert predicted.each == 6.0  # the first, and 100/s x 0.05 s
    assert predicted.p50_ms == pytest.approx(30.0)  # 25 ms x 6 / 5
    # Its own head of 2 or 4 bytes; {"event":"updateMessage","data":} is 33, and [] less a comma 1.
    assert 33 + 1 + 2 <= predicted.saved["websocket"] <= 33 + 1 + 4


def test_coalescing_counts_frames_by_their_brackets() -> None:
    """500 deliveries with 490 x 34 bytes less around them are ten frames."""
    cases = batches().bursts["websocket"]
    assert coalescing.frames("websocket", cases, "turn") == 10


def test_coalescing_verdicts() -> None:
    """Worse than polling; no worse; batching of no use; other bytes than frames account for."""
    assert decided(coalescing.EXPERIMENT, batches()) == "reproduced"
    none_worse = batches()
    none_worse.pair_ms["socketio-polling"][1] = 83.0
    assert decided(coalescing.EXPERIMENT, none_worse) == "erratum"
    assert decided(coalescing.EXPERIMENT, batches(p95_off_ms=20.0)) == "not reproduced"
    assert decided(coalescing.EXPERIMENT, batches(saved=9.0)) == "not reproduced"


def test_coalescing_plot() -> None:
    """Both settings, each as theory and as measured."""
    text = drawn(coalescing.EXPERIMENT, coalescing.predict(), batches())
    assert "a frame a turn, theory" in text
    assert "a frame a message, measured" in text
    assert "polling" in text


# zombies


def held(
    websockets_s: float = 50.2, socketio_s: float = 64.0, ping: int = 6
) -> dict[str, zombies.Watched]:
    """Eight clients of each, three intervals, the dead held for so long at full length."""

    def watched(
        known: pinging.Defaults, down: int, up: int, closed_s: float, told_s: float
    ) -> zombies.Watched:
        return zombies.Watched(
            defaults=known,
            sizes={"down": [down] * 24, "up": [up] * 24},
            closed_s=[closed_s / zombies.SCALE] * 8,
            told_s=[told_s / zombies.SCALE] * 8,
        )

    return {
        "websockets": watched(pinging.Defaults(20, 20, 10), ping, 10, 40.1, websockets_s),
        "socketio": watched(pinging.Defaults(25, 20), 3, 7, socketio_s, socketio_s),
    }


def test_zombies_bytes_and_times() -> None:
    """A ping of 2 + 4, a pong of 2 + 4 + 4; a text frame of 2 + 1, a masked one of 2 + 4 + 1."""
    predicted = zombies.predict()
    assert predicted["websockets"].bytes_each == 16
    assert predicted["socketio"].bytes_each == 10
    assert (predicted["websockets"].least_s, predicted["websockets"].most_s) == (50, 50)
    assert (predicted["socketio"].least_s, predicted["socketio"].most_s) == (45, 65)
    found = zombies.EXPERIMENT.judge(predicted, held())
    of = {finding.what: finding.measured for finding in found}
    assert of["websockets: an hour, one side pinging"] == 2_880  # 16 x 3,600 / 20
    assert of["socketio: an hour, one side pinging"] == 1_440  # 10 x 3,600 / 25


def test_zombies_verdicts() -> None:
    """Held longer than claimed; for so long that nothing explains it; other bytes."""
    assert decided(zombies.EXPERIMENT, held()) == "erratum"
    assert decided(zombies.EXPERIMENT, held(websockets_s=90.0)) == "not reproduced"
    assert decided(zombies.EXPERIMENT, held(ping=8)) == "not reproduced"
    claims = zombies.EXPERIMENT.judge(zombies.predict(), held(websockets_s=45.0, socketio_s=46.0))
    assert verdict([finding for finding in claims if finding.of == "claim"]) == "reproduced"


def test_zombies_plot() -> None:
    """The claim, the theory and what was measured."""
    text = drawn(zombies.EXPERIMENT, zombies.predict(), held())
    assert "claim: I + T" in text
    assert "theory: the program hears" in text
    assert "measured: given up" in text


@pytest.mark.parametrize("library", zombies.LIBRARIES)
async def test_zombies_are_watched(library: str) -> None:
    """A real server of each library, its times a hundredth of the defaults."""
    found = await zombies.watch(library, clients=1, scale=100)
    assert len(found.told_s) == 1
    assert found.told_s[0] >= (found.defaults.interval_s + found.defaults.timeout_s) / 100 - 0.02
    bytes_each = zombies.predict()[library].bytes_each
    assert found.sizes["down"][0] + found.sizes["up"][0] == bytes_each


# sticky-sessions


def test_sticky_sessions_by_hand() -> None:
    """Ten requests in turn at two workers: the second, fourth ... of a session's are refused."""
    predicted = sticky_sessions.predict()
    turns = [(1 + place) % 2 for place in range(10)]  # the opening was worker 0's
    assert predicted.refused["round-robin"] == sum(worker != 0 for worker in turns)
    assert predicted.joined["round-robin socketio-polling"] == 0
    assert predicted.joined["round-robin socketio-websocket"] == sticky_sessions.CLIENTS


def test_sticky_sessions_verdicts() -> None:
    """As foretold; clients that come in all the same; refusals that stickiness does not cure."""
    predicted = sticky_sessions.predict()
    assert decided(sticky_sessions.EXPERIMENT, predicted) == "reproduced"
    joined = {**predicted.joined, "round-robin socketio-polling": 4}
    other = msgspec.structs.replace(predicted, joined=joined)
    assert decided(sticky_sessions.EXPERIMENT, other) == "erratum"
    uncured = msgspec.structs.replace(predicted, refused={**predicted.refused, "sid": 3})
    assert decided(sticky_sessions.EXPERIMENT, uncured) == "not reproduced"


def test_sticky_sessions_plot() -> None:
    """A bar of theory and a dot for each rule and transport."""
    predicted = sticky_sessions.predict()
    text = drawn(sticky_sessions.EXPERIMENT, predicted, predicted)
    assert "round-robin socketio-polling" in text
    assert "theory" in text
    assert "measured" in text


async def test_a_session_by_hand_on_two_workers() -> None:
    """The symptom and the cure, with real servers."""
    async with sticky_sessions.workers("socketio-polling", "round-robin") as (balancer, url):
        assert await sticky_sessions.knock(url) == 5
        assert Counter(each.worker for each in balancer.passed if each.named) == {0: 5, 1: 5}
    async with sticky_sessions.workers("socketio-polling", "sid") as (balancer, url):
        assert await sticky_sessions.knock(url) == 0
        assert len({each.worker for each in balancer.passed}) == 1


async def test_a_balancer_passes_websockets_on() -> None:
    """Words go both ways, and a refusal of the upgrade keeps its status."""

    async def echo(request: web.Request) -> web.StreamResponse:
        if request.path != "/here":
            return web.Response(status=403)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(f"heard {await socket.receive_str()}")
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/{path}", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    workers = [f"http://{HOST}:{site.port}"]
    async with balancing(workers, "address") as (balancer, url), aiohttp.ClientSession() as http:
        async with http.ws_connect(f"{url}/here") as socket:
            await socket.send_str("a word")
            assert await socket.receive_str() == "heard a word"
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await http.ws_connect(f"{url}/there")
        assert [each.status for each in balancer.passed] == [101, 403]
    await runner.cleanup()


# deflate


def figures(**changed: object) -> deflate.Figures:
    """What ought to come out: 12 KiB a connection, and 49 more where windows are kept."""
    kib = {"none": 12.0, "alone": 12.5, "kept": 61.0}
    return msgspec.structs.replace(deflate.predict(), **{"kib": kib, **changed})


def test_deflate_is_as_in_rfc_7692() -> None:
    """Sections 7.2.3.1 and 7.2.3.2: Hello is 7 bytes, and 5 when it was said before."""
    hello = [b"Hello", b"Hello"]
    assert deflate.packed(hello, "none") == [5, 5]
    assert deflate.packed(hello, "alone") == [7, 7]
    assert deflate.packed(hello, "kept") == [7, 5]


def test_deflate_memory_by_hand() -> None:
    """2^14 + 2^14 bytes and 6 KiB; 2^12 bytes and 7 KiB."""
    assert deflate.predict().kib["kept"] == (16 + 16 + 6) + (4 + 7)


def test_deflate_verdicts() -> None:
    """As foretold; another price than is documented; other bytes than zlib makes."""
    assert decided(deflate.EXPERIMENT, figures()) == "reproduced"
    dear = figures(kib={"none": 40.0, "alone": 40.0, "kept": 89.0})
    assert decided(deflate.EXPERIMENT, dear) == "erratum"
    pair = {case: size + 1 for case, size in deflate.predict().pair.items()}
    assert decided(deflate.EXPERIMENT, figures(pair=pair)) == "not reproduced"


def test_deflate_plot() -> None:
    """Both ways to compress, as zlib and as measured."""
    text = drawn(deflate.EXPERIMENT, deflate.predict(), figures())
    assert "kept: zlib says" in text
    assert "alone: measured" in text


@pytest.mark.parametrize("mode", deflate.MODES)
async def test_a_pair_sends_what_zlib_makes(mode: Mode) -> None:
    """Real servers of the library, to the byte; the longest text has a longer head."""
    payloads = ["안녕 hello 안녕 hello".encode(), b"x" * 200, b"once more, hello"]
    heads = [2 if size < 126 else 4 for size in deflate.packed(payloads, mode)]
    expected = sum(heads) + sum(deflate.packed(payloads, mode))
    assert await deflate.passed(payloads, mode) == expected


async def test_the_echo_is_a_process_of_its_own() -> None:
    """It compresses by default, and says back what it hears."""
    async with child("the echo", "labs.experiments.echo_host") as host:
        port = (await host.ask({"mode": "kept"}))["port"]
        async with connect(f"ws://{HOST}:{port}/", proxy=None) as client:
            assert [each.name for each in client.protocol.extensions] == ["permessage-deflate"]
            await client.send("hello")
            assert await client.recv() == "hello"
