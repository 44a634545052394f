"""What browsers and proxies do to a transport: predictions by hand, verdicts, and their I/O."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from labs.errors import LabError
from labs.experiments import browser, nginx
from labs.experiments import buffering_proxy as proxy
from labs.experiments import six_connections as six
from labs.experiments.buffering_proxy import Arrived
from labs.experiments.experiment import verdict
from labs.experiments.nginx import Location
from labs.experiments.plotting import svg
from labs.experiments.proxied import UNCHUNKED, Listener, unchunked
from tests.need import need


def has_nginx() -> bool:
    try:
        return bool(nginx.program())
    except LabError:
        return False


def has_chromium() -> bool:
    return any(map(shutil.which, browser.PROGRAMS))


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
        assert await asyncio.wait_for(posted.get(), 5) == "goodbye"
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
