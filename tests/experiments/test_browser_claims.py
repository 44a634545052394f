"""What browsers and proxies do to a transport: predictions by hand, verdicts, and their I/O."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import aiohttp
import msgspec
import pytest
from aiohttp import web
from websockets.frames import Frame, Opcode

from labs import lab
from labs.errors import LabError
from labs.experiments import buffering_proxy as proxy
from labs.experiments import installed_or_web as installed
from labs.experiments import six_connections as six
from labs.experiments.buffering_proxy import Arrived
from labs.experiments.experiment import verdict
from labs.experiments.plotting import svg
from labs.experiments.rig import browser, messengers, nginx
from labs.experiments.rig.messengers import Pulse
from labs.experiments.rig.nginx import Location
from labs.experiments.rig.proxied import UNCHUNKED, Listener, unchunked
from labs.pages import WEB
from labs.settings import Settings
from labs.variants import load
from labs.wire.recording import Event, Head, Kind, Recording
from tests.need import need


def has_nginx() -> bool:
    try:
        return bool(nginx.program())
    except LabError:
        return False


def has_chromium() -> bool:
    return any(map(shutil.which, browser.PROGRAMS))


# Installed, or in a tab


def test_what_a_tab_costs_by_hand() -> None:
    found = installed.predict()
    scripts = ("chat", "errors", "i18n", "inbox", "lines", "wire")
    names = ("index.html", "chat.css", *(f"{name}.js" for name in scripts))
    told = (
        b'{"variant":"polling","room":"lobby","interval_s":0.1,"timeout_s":10.0,'
        b'"path":"/socket.io","transports":["polling","websocket"],"name_chars":32,'
        b'"text_chars":2000}'
    )
    size = sum(WEB.joinpath(name).stat().st_size for name in names) + len(told)
    size += load("polling").folder.joinpath("client.js").stat().st_size
    assert (found.page_bytes, found.page_requests) == (size, 10)
    assert (found.again_bytes, found.installed_bytes) == (size, 0)
    assert found.polls == {"terminal": 10.0, "tab, visible": 10.0, "tab, hidden": 1.0}
    assert found.killed_s == {"terminal": 2.0, "tab": 2.0}


def test_a_tab_that_is_as_predicted_is_no_installed_messenger() -> None:
    found = installed.predict()
    assert verdict(installed.judge(found, found)) == "reproduced"


def test_a_hidden_tab_that_polls_on_is_not_explained() -> None:
    predicted = installed.predict()
    polls = {**predicted.polls, "tab, hidden": 10.0}
    found = msgspec.structs.replace(predicted, polls=polls)
    assert verdict(installed.judge(predicted, found)) == "not reproduced"


def test_a_tab_that_pings_or_remembers_is_an_erratum() -> None:
    predicted = installed.predict()
    pings = msgspec.structs.replace(predicted, pings={"installed": 1.0, "tab": 1.0})
    assert verdict(installed.judge(predicted, pings)) == "erratum"
    remembers = msgspec.structs.replace(predicted, lost=3)
    assert verdict(installed.judge(predicted, remembers)) == "erratum"


def test_a_lease_that_does_not_end_is_not_explained() -> None:
    predicted = installed.predict()
    found = msgspec.structs.replace(predicted, killed_s={"terminal": 2.0, "tab": 9.0})
    wrong = [each.what for each in installed.judge(predicted, found) if not each.holds]
    assert wrong == ["tab killed: gone after"]


def test_tabs_and_terminals_are_drawn() -> None:
    predicted = installed.predict()
    drawn = svg(installed.plot(predicted, predicted))
    for word in ("theory", "measured", "tab, hidden", "terminal, killed"):
        assert word in drawn


def recorded(*events: tuple[int, int, Kind, bytes]) -> Recording:
    """A recording; each event's moment in milliseconds, connection, kind and bytes."""
    made = [Event(at * 1_000_000, connection, kind, data) for at, connection, kind, data in events]
    return Recording(Head(1, "2026-01-01T00:00:00"), made)


def upgrade(*fields: str) -> bytes:
    lines = ("GET / HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket", *fields)
    return "\r\n".join((*lines, "", "")).encode()


SWITCHED = b"HTTP/1.1 101 \r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def test_pings_are_counted_by_who_sent_them() -> None:
    ping, pong = (Frame(opcode, b"1") for opcode in (Opcode.PING, Opcode.PONG))
    up, down = ping.serialize(mask=True), ping.serialize(mask=False)
    found = messengers.pulses(
        recorded(
            (0, 0, "up", upgrade()),
            (0, 0, "down", SWITCHED),
            (500, 0, "up", up),
            (1_000, 0, "up", up),
            (0, 1, "up", upgrade("Origin: http://x")),
            (0, 1, "down", SWITCHED),
            (500, 1, "down", down),
            (500, 1, "up", pong.serialize(mask=True)),
            (2_000, 1, "down", down),
            (0, 2, "up", b"GET /updateMessage HTTP/1.1\r\nHost: x\r\n\r\n"),
        )
    )
    assert found == [Pulse(False, 1.0, 2, 0, 0), Pulse(True, 2.0, 0, 2, 1)]
    # Two pings in a second are one for each half of it.
    assert messengers.pings(found, False, 0.5) == 1.0
    assert messengers.pings(found, True, 0.5) == 0.0
    assert messengers.pongs(found) == 0.5


def test_beacons_are_told_from_what_a_program_says() -> None:
    head = b"POST /disconnect HTTP/1.1\r\nHost: x\r\n%bContent-Length: 2\r\n\r\n{}"
    browsers, programs = head % b"Origin: http://x\r\n", head % b""
    assert messengers.beacons(recorded((0, 0, "up", browsers), (0, 1, "up", programs))) == 1


async def test_a_terminal_is_seen_to_come_and_go() -> None:
    async with (
        lab.serve("polling", interval_s=0.1) as server,
        messengers.watching(server) as watch,
        messengers.terminal(server, "terminal") as program,
    ):
        assert await watch.saw("join", "terminal") <= monotonic()
        assert (await server.traffic()).of(phase="page") == 0
        await program.close()
        await watch.saw("leave", "terminal")
        offset = await watch.say("welcome back")
        assert await messengers.returned(server, str(offset - 1), "welcome back") == [
            "welcome back"
        ]


async def test_who_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messengers, "PATIENCE_S", 0.05)
    variant = load("polling")
    settings = variant.settings(Settings(interval_s=0.1))
    async with variant.serve(variant.chat(settings), "127.0.0.1", 0) as url:
        watch = messengers.Watch(variant.client(url, settings))
        await watch.start()
        with pytest.raises(LabError, match="nobody was not seen to join"):
            await watch.saw("join", "nobody")
        await watch.stop()


# Six connections


def test_six_tabs_of_seven_hear_by_hand() -> None:
    found = six.predict()
    assert found.heard == (1, 2, 3, 4, 5, 6, 6)
    assert found.heard_socket == (1, 2, 3, 4, 5, 6, 7)
    assert (found.asked, found.asked_after, found.said, found.said_after) == (6, 7, 0, 1)
    assert verdict(six.judge(found, found)) == "reproduced"


def test_a_seventh_tab_that_hears_is_not_explained_where_its_stream_was_asked_for() -> None:
    predicted = six.predict()
    hears = msgspec.structs.replace(predicted, heard=(1, 2, 3, 4, 5, 6, 7))
    assert verdict(six.judge(predicted, hears)) == "erratum"
    asked = msgspec.structs.replace(hears, asked=7)
    assert verdict(six.judge(predicted, asked)) == "not reproduced"
    unmended = msgspec.structs.replace(predicted, seventh=6)
    assert verdict(six.judge(predicted, unmended)) == "not reproduced"


def test_tabs_are_drawn() -> None:
    predicted = six.predict()
    drawn = svg(six.plot(predicted, predicted))
    for word in ("min(n, 6)", "event stream, measured", "WebSocket, measured"):
        assert word in drawn


# A browser


@asynccontextmanager
async def page(text: str) -> AsyncIterator[tuple[str, asyncio.Queue[str]]]:
    """A server of one page; yields its URL, and what the page has posted."""
    posted: asyncio.Queue[str] = asyncio.Queue()

    async def answer(request: web.Request) -> web.Response:
        if request.method == "POST":
            posted.put_nowait(await request.text())
        return web.Response(text=text, content_type="text/html")

    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}", posted
    finally:
        await runner.cleanup()


GOODBYE = "<script>onpagehide = () => navigator.sendBeacon('/', 'goodbye')</script>"


async def test_a_tab_is_run_shown_hidden_and_closed() -> None:
    need(has_chromium(), "Chromium is needed to drive it (Debian: apt install chromium)")
    async with page(GOODBYE) as (url, posted), browser.browsing() as chromium:
        first = await chromium.open(url)
        await first.until("document.readyState === 'complete'")
        assert await first.run("Promise.resolve(6 * 7)") == 42
        assert await first.run("document.visibilityState") == "visible"
        second = await chromium.open(url)
        await second.until("document.readyState === 'complete'")
        await first.until("document.visibilityState === 'hidden'")
        await first.show()
        await first.until("document.visibilityState === 'visible'")
        with pytest.raises(LabError, match=r"the page threw Error: no"):
            await first.run("(() => { throw new Error('no') })()")
        with pytest.raises(LabError, match="did not come to false within 0 s"):
            await first.until("false", 0.0)
        with pytest.raises(LabError, match="the browser refused"):
            await chromium.ask("Nobody.knowsThis")
        await first.close()
        assert await asyncio.wait_for(posted.get(), 30) == "goodbye"
        chromium.kill()
        with pytest.raises(LabError, match="does not answer"):
            await second.run("1")
    assert posted.empty()


async def test_without_chromium_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="apt install chromium"):
        async with browser.browsing():
            pass


async def test_a_program_that_is_no_browser_is_told_from_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="the browser ended before it listened"):
        async with browser.browsing():
            pass


# A buffering proxy


def test_what_a_buffer_lets_through_by_hand() -> None:
    # An event: 21 B "event: updateMessage", 15 "id: 00000000:7", 6 "data: ", 116 of JSON, 2 for
    # the line ends; 2 more where the offset has two digits. Offsets are from 7 up: one talker and
    # five listeners have joined. So 3 events of 160 B and 61 of 162, after 13 B of "retry: 1000".
    # Head and body are 71 + 13 + 10,362 = 10,446 B: two full buffers, 8,192 - 71 = 8,121 B of the
    # body. Less 13 + 480 there is room for 7,628 / 162 = 47 more events: 50.
    assert len(UNCHUNKED) == 71
    assert sum(proxy._sizes()) == 3 * 160 + 61 * 162
    assert proxy.predict() == {
        "gzip, buffers": Arrived(0, 64),
        "buffers, no chunks": Arrived(50, 64, 4_025),
        "buffers, chunks": Arrived(64, 64),
        "gzip, header heeded": Arrived(64, 64),
        "gzip, buffering off": Arrived(64, 64),
        "long polling, gzip, buffers": Arrived(64, 64),
    }


def test_buffers_that_hold_no_chunks_back_are_an_erratum() -> None:
    predicted = proxy.predict()
    findings = proxy.judge(predicted, predicted)
    assert verdict(findings) == "erratum"
    assert [finding.what for finding in findings if not finding.holds] == [
        "held back by buffers alone, chunks"
    ]


def test_events_that_come_through_gzip_and_buffers_are_not_explained() -> None:
    predicted = proxy.predict()
    found = predicted | {"gzip, buffers": Arrived(64, 64)}
    assert verdict(proxy.judge(predicted, found)) == "not reproduced"
    found = predicted | {"gzip, buffering off": Arrived(0, 64)}
    assert verdict(proxy.judge(predicted, found)) == "not reproduced"


def test_the_ways_through_a_proxy_are_drawn() -> None:
    predicted = proxy.predict()
    drawn = svg(proxy.plot(predicted, predicted))
    for word in ("theory", "measured", *predicted):
        assert word in drawn


def test_a_stream_that_might_fill_a_block_is_not_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "EVENTS", 200)
    with pytest.raises(ValueError, match="make fewer events"):
        proxy.predict()


EVENT = b"event: updateMessage\ndata: []\n\n"


@asynccontextmanager
async def stream(go_on: asyncio.Event, headers: dict[str, str]) -> AsyncIterator[str]:
    """A server of an event stream: two events, and a third when told to go on."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **headers})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(EVENT * 2)
        await go_on.wait()
        await response.write(EVENT)
        await response.write_eof()
        return response

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()


async def heard(listener: Listener, events: int) -> None:
    async with asyncio.timeout(5):
        while listener.events < events:
            listener.news.clear()
            await listener.news.wait()


async def test_the_relay_without_chunks_passes_on_at_once_what_it_gets() -> None:
    go_on, listener = asyncio.Event(), Listener()
    async with (
        stream(go_on, {}) as url,
        aiohttp.ClientSession(auto_decompress=False) as http,
        unchunked(http, url) as bare,
    ):
        reading = asyncio.create_task(listener.read(http, f"{bare}/updateMessage"))
        await heard(listener, 2)
        assert not reading.done()
        go_on.set()
        await reading
    assert listener.events == 3
    assert listener.chunks == []


async def test_nginx_lets_a_stream_through_gzip_where_it_is_told_not_to_buffer() -> None:
    need(has_nginx(), "nginx is needed in front of the streams (Debian: apt install nginx-light)")
    go_on, listener = asyncio.Event(), Listener()
    async with (
        stream(go_on, {"X-Accel-Buffering": "no"}) as url,
        nginx.proxying({"way": Location(url, (*proxy.BUFFERS, *proxy.GZIP))}) as front,
        aiohttp.ClientSession(auto_decompress=False) as http,
    ):
        reading = asyncio.create_task(listener.read(http, f"{front}/way/updateMessage"))
        await heard(listener, 2)
        go_on.set()
        await reading
    assert listener.events == 3
    assert sum(listener.chunks) > 0


async def test_nginx_keeps_a_stream_to_itself_where_it_buffers_and_compresses() -> None:
    need(has_nginx(), "nginx is needed in front of the streams (Debian: apt install nginx-light)")
    go_on, held, free = asyncio.Event(), Listener(), Listener()
    async with (
        stream(go_on, {"X-Accel-Buffering": "no"}) as url,
        nginx.proxying(
            {
                "held": Location(url, (*proxy.DEAF, *proxy.GZIP)),
                "free": Location(url, proxy.DEAF),
            }
        ) as front,
        aiohttp.ClientSession(auto_decompress=False) as http,
    ):
        reading = [
            asyncio.create_task(listener.read(http, f"{front}/{way}/updateMessage"))
            for way, listener in (("held", held), ("free", free))
        ]
        await heard(free, 2)
        assert held.events == 0
        go_on.set()
        await asyncio.gather(*reading)
    assert held.events == free.events == 3


async def test_nginx_says_what_it_does_not_understand() -> None:
    need(has_nginx(), "nginx is needed to refuse a directive (Debian: apt install nginx-light)")
    with pytest.raises(LabError, match=r'nginx did not start, and said: .*"gzipp"'):
        async with nginx.proxying({"way": Location("http://127.0.0.1:9", ("gzipp on",))}):
            pass


def test_without_nginx_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(nginx, "ADMINISTRATORS", str(tmp_path))
    with pytest.raises(LabError, match="apt install nginx"):
        nginx.program()
