"""The experiments about what goes over the wire: figures by hand, verdicts, parts."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
from aiohttp import ClientRequest
from aiohttp.http import SERVER_SOFTWARE

from labs.errors import LabError
from labs.experiments import (
    engineio_path,
    engineio_upgrade,
    streaming_requests,
    upgrade_refused,
    upstream,
    websocket_framing,
)
from labs.experiments.experiment import AnyExperiment, verdict
from labs.experiments.plotting import svg
from labs.experiments.rig.browser import PROGRAMS, browsing
from labs.experiments.rig.official_client import first_message_s, loaded
from labs.experiments.rig.refusing import HOST, Manner, refusing
from labs.net.network import Network
from labs.pages import VENDOR
from labs.variants import load
from labs.wire.relay import Piece, Sign
from tests.need import need

TEXT = "#0 good morning everyone"  # 24 characters, as the experiment has them
BATCH = f'[{{"offset":3,"kind":"talk","name":"client0","text":"{TEXT}","at_ms":1234567890123}}]'
NEAR = Network("near", delay_ms=1, up_bit_s=1_000_000_000, down_bit_s=1_000_000_000)
DATE = "Date: Thu, 01 Jan 2026 00:00:00 GMT"


def head(*lines: str) -> int:
    """The length of an HTTP head."""
    return len("\r\n".join([*lines, "", ""]))


def own_lines() -> list[str]:
    """What aiohttp's client says of itself."""
    defaults = [f"{name}: {value}" for name, value in ClientRequest.DEFAULT_HEADERS.items()]
    return [*defaults, f"User-Agent: {SERVER_SOFTWARE}"]


def drawn(experiment: AnyExperiment, predicted: Any, found: Any, *labels: str) -> None:
    """The plot is there, and these words are in it."""
    picture = svg(experiment.plot(predicted, found))
    assert picture.startswith("<svg")
    for label in labels:
        assert label in picture


# streaming-requests


def made_streaming() -> streaming_requests.Found:
    """What would be measured if all were as predicted."""
    costs = streaming_requests.predict()
    return streaming_requests.Found(costs, {"longpolling": 300.0, "streaming": 30.0})


@pytest.mark.parametrize("size", streaming_requests.SIZES)
def test_a_stream_saves_a_request_a_client(size: int) -> None:
    found = streaming_requests.predict()
    assert found["longpolling", size].requests == 1 + size
    assert found["streaming", size].requests == 1


def test_what_a_stream_saves_in_bytes() -> None:
    """A poll and the head of its answer, against a chunk and an event around the same batch."""
    assert len(TEXT) == 24
    poll = head(
        f"GET /updateMessage?session={'s' * 22}&since=eeeeeeee:3 HTTP/1.1",
        "Host: 127.0.0.1:50000",
        *own_lines(),
    )
    answer = head(
        "HTTP/1.1 200 OK",
        "Cache-Control: no-store",
        "Content-Type: application/json",
        f"Content-Length: {len(BATCH)}",
        DATE,
        f"Server: {SERVER_SOFTWARE}",
    )
    event = len("event: updateMessage\nid: eeeeeeee:3\ndata: \n\n")
    chunk = len(f"{event + len(BATCH):x}\r\n\r\n")
    found = streaming_requests.predict()
    for size in streaming_requests.SIZES:
        polled, streamed = found["longpolling", size], found["streaming", size]
        saved = polled.delivery_bytes - streamed.delivery_bytes
        assert saved == pytest.approx(poll + answer - event - chunk)


def test_the_verdicts_of_streaming() -> None:
    judge, expected, made = (
        streaming_requests.judge,
        streaming_requests.predict(),
        made_streaming(),
    )
    assert verdict(judge(expected, made)) == "reproduced"
    dear = replace(made, cpu_us={"longpolling": 50.0, "streaming": 30.0})
    assert verdict(judge(expected, dear)) == "not reproduced"
    asking = {**expected, ("streaming", 32): replace(expected["streaming", 32], requests=33.0)}
    assert verdict(judge(expected, replace(made, costs=asking))) == "not reproduced"
    assert verdict(judge(asking, replace(made, costs=asking))) == "erratum"


def test_the_plot_of_streaming() -> None:
    drawn(
        streaming_requests.EXPERIMENT,
        streaming_requests.predict(),
        made_streaming(),
        "long polling, theory",
        "streaming, measured",
    )


# websocket-framing


def test_the_heads_of_frames() -> None:
    """RFC 6455 section 5.2: 7 bits of length, or 16 more from 126 on, or 64 more from 65,536."""
    heads = websocket_framing.predict().heads
    down = {size: heads["down", size] for size in websocket_framing.PAYLOADS}
    assert down == {1: 2, 125: 2, 126: 4, 65_535: 4, 65_536: 10}
    assert all(heads["up", size] == least + 4 for size, least in down.items())


async def test_the_heads_of_real_frames() -> None:
    assert await websocket_framing.frame_heads() == websocket_framing.predict().heads


def test_the_layers_of_a_websocket() -> None:
    """Ten deliveries of 8 messages, each sent and answered once: shares of a tenth."""
    update = len('{"event":"updateMessage","data":}') + len(BATCH) - len(TEXT)
    send = len('{"event":"sendMessage","data":{"text":"","key":""},"id":1}') + 16
    ack = len('{"event":"ack","data":{"offset":11},"id":1}')
    layers = websocket_framing.predict().layers["WebSocket"]
    assert layers["text"] == 24 + 24 / 10
    # Ten have joined, so offsets have two digits.
    assert layers["envelope"] == pytest.approx(update + len("1") + (send + ack) / 10)
    # An update has 126 bytes or more, a send and its answer have fewer.
    assert layers["framing"] == pytest.approx(4 + (6 + 2) / 10)


def test_the_verdicts_of_framing() -> None:
    judge, expected = websocket_framing.judge, websocket_framing.predict()
    assert verdict(judge(expected, expected)) == "reproduced"
    heavy = replace(expected, heads={**expected.heads, ("down", 126): 5})
    assert verdict(judge(expected, heavy)) == "not reproduced"
    dear = replace(expected, layers={**expected.layers, "WebSocket": {"framing": 1_000.0}})
    assert verdict(judge(dear, dear)) == "erratum"


def test_the_plot_of_framing() -> None:
    expected = websocket_framing.predict()
    drawn(websocket_framing.EXPERIMENT, expected, expected, "theory", "measured", "WebSocket")


# upstream


def test_what_goes_up() -> None:
    """A mask and two or four bytes around a frame's JSON; a head before a request's."""
    text, key = "#0 ".ljust(10, "x"), "k" * 16
    sent = f'{{"event":"sendMessage","data":{{"text":"{text}","key":"{key}"}},"id":1}}'
    posted = f'{{"text":"{text}","key":"{key}","session":"{"s" * 22}"}}'
    request = head(
        "POST /sendMessage HTTP/1.1",
        "Host: 127.0.0.1:50000",
        "Content-Type: application/json",
        *own_lines(),
        f"Content-Length: {len(posted)}",
    )
    costs = upstream.predict().costs
    assert len(sent) < 126 <= len(sent) + 90
    assert costs["frame", 10].up == 6 + len(sent)
    assert costs["frame", 100].up == 8 + len(sent) + 90
    assert costs["POST, Python's heads", 10].up == request + len(posted)
    assert costs["POST, Chromium's heads", 10].up > costs["POST, Python's heads", 10].up
    assert [costs[name, 10].requests for name in upstream.WAYS] == [1, 1, 0]


def test_connections_of_what_is_under_way() -> None:
    """A stream takes one, and so does each request that is not yet answered."""
    connections = upstream.predict().connections
    assert [connections["POST, Python's heads", most] for most in (1, 5)] == [2, 6]
    assert [connections["frame", most] for most in (1, 5)] == [1, 1]


def test_the_verdicts_of_upstream() -> None:
    judge, expected = upstream.judge, upstream.predict()
    assert verdict(judge(expected, expected)) == "reproduced"
    more = replace(expected, connections={**expected.connections, ("frame", 5): 2})
    assert verdict(judge(expected, more)) == "not reproduced"
    heavy = {**expected.costs, ("frame", 10): upstream.Cost(1_000, 166, 0)}
    dear = replace(expected, costs=heavy)
    assert verdict(judge(dear, dear)) == "erratum"


def test_the_plot_of_upstream() -> None:
    expected = upstream.predict()
    drawn(
        upstream.EXPERIMENT,
        expected,
        expected,
        *("frame, theory", "POST, Python's heads, measured"),
    )


async def test_whoever_says_something_waits_until_it_has_come() -> None:
    heard, client = upstream.Heard(), Mute()
    saying = asyncio.create_task(heard.say(client, [10, 12]))  # type: ignore[arg-type]
    await client.asked.wait()
    assert client.said == ["#0 xxxxxxx", "#1 xxxxxxxxx"]
    heard.arrived(0, 0, 2, 0)
    assert not (await asyncio.wait({saying}, timeout=0.05))[0]
    heard.arrived(0, 1, 3, 0)
    await saying


class Mute:
    """A client whose every message is answered at once, but comes to nobody."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.asked = asyncio.Event()

    def send(self, text: str, key: str | None = None) -> asyncio.Future[int]:
        self.said.append(text)
        self.asked.set()
        answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        answered.set_result(1)
        return answered


# engineio-upgrade


def test_what_coming_in_takes() -> None:
    """Opening, connecting and joining are a round trip each, and an upgrade is two more."""
    found = engineio_upgrade.predict()
    assert found.round_trips == {
        "socketio": 1 + 2 + 1 + 1,
        "socketio-websocket": 1 + 1 + 1,
        "socketio-polling": 1 + 1 + 1,
    }
    assert found.official == {"socketio": 4, "socketio-websocket": 3, "socketio-polling": 3}
    # Polling: GET, POST and GET to connect, POST and GET to join, a GET that stands, a POST.
    assert found.requests == {"socketio": 2, "socketio-websocket": 1, "socketio-polling": 7}


def test_what_an_upgrade_adds_in_bytes() -> None:
    """A poll, its answer, a sid in the query, four probing frames; the frame that opened is not."""
    stamp = 18 - sum(10**digits for digits in range(1, 7)) / 2**22
    poll = head(
        "GET /socket.io/?transport=polling&EIO=4&t= HTTP/1.1",
        "Host: 127.0.0.1:50000",
        *own_lines(),
    )
    opening = (
        '0{"sid":"%s","upgrades":["websocket"],"pingTimeout":5000,"pingInterval":15000,'
        '"maxPayload":1048576}'
    ) % ("s" * 20)
    answer = head(
        "HTTP/1.1 200 OK",
        "Content-Type: text/plain; charset=UTF-8",
        f"Content-Length: {len(opening)}",
        DATE,
        f"Server: {SERVER_SOFTWARE}",
    )
    sid = len("&sid=") + 20
    probing = (6 + len("2probe")) + (2 + len("3probe")) + (6 + 1) + (2 + 1)
    framed = 2 + len(opening) - len('"websocket"')
    sizes = engineio_upgrade.predict().sizes
    added = sizes["socketio", "python"] - sizes["socketio-websocket", "python"]
    expected = poll + stamp + answer + len(opening) + sid + probing - framed
    assert added == pytest.approx(expected, abs=1e-3)


def test_the_verdicts_of_the_upgrade() -> None:
    judge, expected = engineio_upgrade.judge, engineio_upgrade.predict()
    assert verdict(judge(expected, expected)) == "reproduced"
    slow = replace(expected, round_trips={**expected.round_trips, "socketio": 6.0})
    assert verdict(judge(expected, slow)) == "not reproduced"
    early = replace(expected, official={**expected.official, "socketio": 3.0})
    assert verdict(judge(expected, early)) == "not reproduced"
    never = replace(expected, switched={**expected.switched, "socketio": False})
    assert verdict(judge(expected, never)) == "erratum"


def test_the_plot_of_the_upgrade() -> None:
    expected = engineio_upgrade.predict()
    drawn(engineio_upgrade.EXPERIMENT, expected, expected, "python, theory", "chromium, measured")


async def test_an_end_that_comes_to_nobody_holds_up_nobody() -> None:
    shape, nobody, there = engineio_upgrade.Far(NEAR, 1), cast(Any, None), asyncio.Event()

    def gone(piece: Piece) -> None:
        raise OSError(107, "Transport endpoint is not connected")

    shape("down", nobody, gone)(Sign.END)
    shape("down", nobody, lambda piece: there.set())(b"for another")
    await asyncio.wait_for(there.wait(), 10)


async def test_the_official_client_comes_in() -> None:
    need(any(map(shutil.which, PROGRAMS)), "Chromium is needed (Debian: apt install chromium)")
    need((VENDOR / "socket.io.js").is_file(), "npm is needed when the project is installed")
    variant = load("socketio-websocket")
    settings = variant.settings()
    chat = variant.chat(settings)
    async with variant.serve(chat, HOST, 0) as url, browsing() as browser:
        async with loaded(browser, url, settings) as tab:
            assert await first_message_s(tab, settings) > 0
            with pytest.raises(LabError):
                await first_message_s(tab, settings.but(path="/elsewhere"))
        assert not list(chat.present())  # it has come, and gone


# engineio-path


def test_who_is_let_in() -> None:
    """Each server's own path, with and without a slash, over either transport: eight of twelve."""
    came = engineio_path.predict().came
    assert len(came) == 12
    assert sum(each.heard for each in came.values()) == 8
    wrong = engineio_path.Case("/socket.io", "/chat/engine", "websocket")
    assert came[wrong] == engineio_path.Came(heard=False, told=True, requests=2)
    assert engineio_path.predict().scripts["/chat/engine", "/socket.io"] == 404


def test_the_verdicts_of_the_path() -> None:
    judge, expected = engineio_path.judge, engineio_path.predict()
    assert verdict(judge(expected, expected)) == "reproduced"
    wrong = engineio_path.Case("/socket.io", "/chat/engine", "polling")
    untold = {**expected.came, wrong: engineio_path.Came(False, False, 1)}
    assert verdict(judge(expected, replace(expected, came=untold))) == "not reproduced"
    elsewhere = {**expected.scripts, ("/chat/engine", "/socket.io"): 200}
    assert verdict(judge(expected, replace(expected, scripts=elsewhere))) == "erratum"


def test_the_plot_of_the_path() -> None:
    expected = engineio_path.predict()
    drawn(engineio_path.EXPERIMENT, expected, expected, "theory", "measured", "/chat/engine")


async def test_a_path_that_does_not_agree() -> None:
    need((VENDOR / "socket.io.js").is_file(), "npm is needed when the project is installed")
    found = await engineio_path.run(1)
    assert found == engineio_path.predict()


# upgrade-refused, and its proxy

ASKING = (
    b"GET /chat?x=1 HTTP/1.1\r\nHost: here\r\nCONNECTION: keep-alive, Upgrade\r\n"
    b"upgrade:  WebSocket\r\nX-More: yes\r\n\r\n"
)
POST = b"POST /say HTTP/1.1\r\nHost: here\r\nContent-Length: 6\r\n\r\n\r\n\r\n\xff\x00"


class Behind:
    """A server that keeps what comes and answers each piece with one of its own."""

    def __init__(self) -> None:
        self.came = b""
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1_000):
            self.came += piece
            writer.write(b"ok:%d;" % len(self.came))
        self.ended.set()
        writer.close()


@asynccontextmanager
async def proxied(
    manner: Manner,
) -> AsyncIterator[tuple[Behind, Any, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client's connection through a proxy."""
    behind = Behind()
    server = await asyncio.start_server(behind.serve, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    async with server, refusing(HOST, port, manner) as proxy, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(HOST, int(proxy.url.rpartition(":")[2]))
        yield behind, proxy, reader, writer
        writer.close()


@pytest.mark.parametrize("manner", upgrade_refused.MANNERS)
async def test_the_proxy_passes_requests_on_as_they_are(manner: Manner) -> None:
    """Bodies too, whatever is in them, and however the bytes are cut."""
    async with proxied(manner) as (behind, proxy, reader, writer):
        for cut in (10, len(POST) - 3):
            writer.write(POST[:cut])
            await writer.drain()
            writer.write(POST[cut:])
        writer.write_eof()
        answered = await reader.read()
        assert behind.came == POST + POST
        assert answered.endswith(b"ok:%d;" % len(behind.came))
        assert (dict(proxy.requests), proxy.upgrades) == ({"POST": 2}, 0)


async def test_the_proxy_refuses() -> None:
    async with proxied("refuse") as (behind, proxy, reader, writer):
        writer.write(POST)
        assert await reader.readuntil(b"ok:%d;" % len(POST))
        writer.write(ASKING)
        assert (await reader.read()).startswith(b"HTTP/1.1 403 Forbidden\r\n")
        await behind.ended.wait()
        assert behind.came == POST
        assert proxy.upgrades == 1


async def test_the_proxy_strips() -> None:
    """RFC 9110 section 7.6.1: what speaks of one hop only stays there."""
    async with proxied("strip") as (behind, proxy, _, writer):
        writer.write(ASKING)
        writer.write_eof()
        await behind.ended.wait()
        assert behind.came == b"GET /chat?x=1 HTTP/1.1\r\nHost: here\r\nX-More: yes\r\n\r\n"
        assert proxy.upgrades == 1


async def test_the_proxy_lets_pass() -> None:
    """After the request, what comes is no HTTP any more."""
    async with proxied("let") as (behind, _, _, writer):
        writer.write(ASKING + b"\x81\x80")
        writer.write_eof()
        await behind.ended.wait()
        assert behind.came == ASKING + b"\x81\x80"


async def test_the_proxy_wants_lengths() -> None:
    async with proxied("let") as (behind, _, reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 411 ")
        await behind.ended.wait()
        assert behind.came == b""


async def test_the_proxy_has_no_server_behind_it() -> None:
    async with proxied("let") as (_, proxy, _, _):
        pass
    async with refusing(HOST, int(proxy.url.rpartition(":")[2]), "let") as alone:
        reader, writer = await asyncio.open_connection(HOST, int(alone.url.rpartition(":")[2]))
        assert await reader.read() == b""
        writer.close()


def test_who_comes_in_behind_a_proxy() -> None:
    found = upgrade_refused.predict()
    let_in = {case for case, came in found.items() if came.heard == 20}
    assert let_in == {
        *((name, "let") for name in upgrade_refused.VARIANTS),
        ("socketio", "refuse"),
        ("socketio", "strip"),
    }
    assert found["socketio", "let"].posts == 0
    assert found["socketio", "refuse"].posts == 10


def test_the_verdicts_of_a_refusal() -> None:
    judge, expected = upgrade_refused.judge, upgrade_refused.predict()
    assert verdict(judge(expected, expected)) == "reproduced"
    mute = replace(expected["websocket", "refuse"], error="something went wrong")
    assert verdict(judge(expected, {**expected, ("websocket", "refuse"): mute})) == "not reproduced"
    deaf = replace(expected["socketio", "strip"], heard=19)
    assert verdict(judge(expected, {**expected, ("socketio", "strip"): deaf})) == "erratum"


def test_the_plot_of_a_refusal() -> None:
    expected = upgrade_refused.predict()
    drawn(upgrade_refused.EXPERIMENT, expected, expected, "theory", "measured", "socketio, strip")
