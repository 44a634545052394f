"""The profiles hold what real clients send: each is compared with heads recorded at a socket."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest

from labs.bench.heads import ENDED, KINDS, PROFILES, Profile, find
from labs.errors import LabError, UsageError
from labs.settings import Settings
from labs.variants import FIVE, load
from tests.need import need

HOST = "127.0.0.1"
SETTINGS = Settings(interval_s=0.05, hold_s=0.5, heartbeat_s=1.0, lease_s=5.0, drain_s=0.5)
EVERY = (*FIVE, "socketio-websocket", "socketio-polling")
BROWSERS = ("chromium", "chromium-browser")
# Without a display, but not "headless": that Chromium names itself otherwise.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--ozone-platform=headless",
)
VISIT = """async () => {
    const settings = await (await fetch("/settings.json")).json();
    const client = await import("/client.js");
    await client.connect("client0", settings);
    await client.send("hello");
    for await (const { kind } of client.messages()) if (kind === "talk") return;
}"""


class Request(NamedTuple):
    """One request as it was sent: its head, and what the head says of target and body."""

    kind: str
    method: str
    target: str
    head: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    def value(self, name: str) -> str | None:
        found = re.search(rb"(?im)^%b: (.*)\r$" % name.encode(), self.head)
        return found[1].decode() if found else None


class Relay:
    """Passes on what it is sent, and keeps what went up each connection."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self.sent: list[bytearray] = []
        self.host = ""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = bytearray()
        self.sent.append(sent)
        far_reader, far_writer = await asyncio.open_connection(
            self._target.hostname, self._target.port
        )
        await asyncio.gather(
            self._pump(reader, far_writer, sent), self._pump(far_reader, writer, bytearray())
        )

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, copy: bytearray
    ) -> None:
        with suppress(ConnectionError):  # Whoever is cut off is judged by what it had sent.
            while data := await reader.read(65_536):
                copy += data
                writer.write(data)
                await writer.drain()
        writer.close()

    def requests(self, variant: str) -> Iterator[Request]:
        """The chat's own requests, pages left out."""
        for sent in self.sent:
            for head in heads(bytes(sent)):
                method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
                kind = kind_of(variant, method, target, head)
                if kind:
                    yield Request(kind, method, target, head)


def heads(sent: bytes) -> Iterator[bytes]:
    """The request heads that went up one connection, up to an upgrade."""
    while ENDED in sent:
        head, _, sent = sent.partition(ENDED)
        yield head + ENDED
        if b"upgrade: websocket" in head.lower():
            return
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        sent = sent[int(length[1]) if length else 0 :]


def kind_of(variant: str, method: str, target: str, head: bytes) -> str | None:
    upgrade = b"upgrade: websocket" in head.lower()
    path = target.partition("?")[0]
    if path == "/socket.io/":
        return "engine_upgrade" if upgrade else f"engine_{method.lower()}"
    if upgrade:
        return "upgrade"
    if method == "POST":
        return "command"
    if path == "/updateMessage":
        return "stream" if variant == "streaming" else "poll"
    return None


@asynccontextmanager
async def relayed(variant: str) -> AsyncIterator[Relay]:
    """A server of this variant behind a relay."""
    loaded = load(variant)
    settings = loaded.settings(SETTINGS)
    async with loaded.serve(loaded.chat(settings), HOST, 0) as url:
        relay = Relay(url)
        server = await asyncio.start_server(relay.take, HOST, 0)
        relay.host = f"{HOST}:{server.sockets[0].getsockname()[1]}"
        yield relay
        server.close()


def rebuilt(profile: Profile, request: Request, host: str) -> bytes:
    """The same request by the profile: with its target, its length and its key, and no more."""
    length = request.value("Content-Length")
    optional = {
        "key": request.value("Sec-WebSocket-Key"),
        "last_event_id": request.value("Last-Event-ID"),
    }
    fields = {name: value for name, value in optional.items() if value}
    return profile.request(
        request.kind,
        request.method,
        request.target,
        host,
        length=None if length is None else int(length),
        **fields,
    )


def check_targets(profile: Profile, requests: list[Request]) -> None:
    for request in requests:
        if request.kind != "command":
            fields = {**request.query, "path": request.path.rstrip("/")}
            assert profile.target(request.kind, **fields) == request.target


async def python_requests(variant: str) -> tuple[list[Request], str]:
    loaded = load(variant)
    async with relayed(variant) as relay:
        client = loaded.client(f"http://{relay.host}", loaded.settings(SETTINGS))
        await client.connect("client0")
        await client.send("hello")
        async for message in client.messages():
            if message.kind == "talk":
                break
        await client.close()
        return list(relay.requests(variant)), relay.host


@pytest.mark.parametrize("variant", EVERY)
async def test_python_is_what_the_readable_clients_send(variant: str) -> None:
    profile = find("python")
    requests, host = await python_requests(variant)
    assert {request.kind for request in requests} >= EXPECTED[variant]
    for request in requests:
        assert rebuilt(profile, request, host) == request.head
    check_targets(profile, requests)


EXPECTED = {
    "polling": {"command", "poll"},
    "longpolling": {"command", "poll"},
    "streaming": {"command", "stream"},
    "websocket": {"upgrade"},
    "socketio": {"engine_get", "engine_upgrade"},
    "socketio-websocket": {"engine_upgrade"},
    "socketio-polling": {"engine_get", "engine_post"},
}


def test_together_they_are_every_kind() -> None:
    assert set().union(*EXPECTED.values()) == set(KINDS)
    for name in PROFILES:
        assert set(find(name).heads) == set(KINDS)


@pytest.mark.parametrize("variant", EVERY)
async def test_chromium_is_what_our_pages_send(variant: str) -> None:
    """But for what changes with every release of the browser: see `normal`."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    need(path, "Chromium is needed to record its heads (Debian: apt install chromium).")
    from playwright.async_api import async_playwright

    profile = find("chromium")
    async with relayed(variant) as relay, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS, headless=False)
        page = await browser.new_page()
        await page.goto(f"http://{relay.host}/")
        await page.evaluate(VISIT)
        await browser.close()
        requests = list(relay.requests(variant))
    assert {request.kind for request in requests} >= EXPECTED[variant]
    for request in requests:
        assert normal(rebuilt(profile, request, relay.host)) == normal(request.head)
    check_targets(profile, requests)


def normal(head: bytes) -> list[str]:
    """A head without the major version and without the brands of `sec-ch-ua`.

    The version stands in User-Agent and in `sec-ch-ua`; beside it that field has a brand that
    means nothing, whose spelling, number and place change with each release on purpose (User
    Agent Client Hints, "GREASE"). `python` needs none of this.
    """
    text = re.sub(r"Chrome/\d+\.", "Chrome/N.", head.decode())
    return re.sub(r"(?m)^sec-ch-ua: [^\r]*", brands, text).split("\r\n")


def brands(line: re.Match[str]) -> str:
    found = re.findall(r'"([^"]*)";v="\d+"', line[0])
    named = sorted(brand if brand.isalpha() else "grease" for brand in found)
    return "sec-ch-ua: " + ", ".join(named)


def test_brands_are_told_from_grease() -> None:
    ours = normal(find("chromium").request("poll", "GET", "/", "a:1"))
    assert "sec-ch-ua: Chromium, grease" in ours
    assert any("Chrome/N.0.0.0" in line for line in ours)


@pytest.mark.parametrize("variant", ["socketio", "socketio-polling"])
async def test_engine_io_sends_the_clock_as_python_prints_it(variant: str) -> None:
    requests, _ = await python_requests(variant)
    stamps = [request.query["t"] for request in requests if "t" in request.query]
    assert stamps
    assert all(stamp == str(float(stamp)) for stamp in stamps)


def test_the_mean_length_of_the_clock() -> None:
    """Doubles near the present, every 4,099th of a second: about a thousand of them."""
    second = int(time.time())
    lengths = [len(str(second + step / 2**22)) for step in range(0, 2**22, 4_099)]
    mean = sum(lengths) / len(lengths)
    assert mean == pytest.approx(find("python").stamp_bytes, abs=0.05)


def test_an_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"'firefox'; there are python, chromium"):
        find("firefox")


def test_a_field_that_is_missing_is_named() -> None:
    profile = find("python")
    with pytest.raises(LabError, match="kind 'upgrade' needs its key"):
        profile.request("upgrade", "GET", "/", "a:1")
    with pytest.raises(LabError, match="kind 'command' needs its length"):
        profile.request("command", "POST", "/sendMessage", "a:1")
    with pytest.raises(LabError, match="kind 'poll' needs its session"):
        profile.target("poll", since="1")
    with pytest.raises(LabError, match="no request is of kind 'pull' here; there are command,"):
        profile.request("pull", "GET", "/", "a:1")


def test_every_head_ends_once() -> None:
    fields = {"key": "x", "last_event_id": "x"}
    for name in PROFILES:
        for kind in KINDS:
            head = find(name).request(kind, "GET", "/", "a:1", length=7, **fields)
            assert head.endswith(ENDED)
            assert head.count(ENDED) == 1
            assert b"{" not in head
