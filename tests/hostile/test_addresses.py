"""S9.1, S11.1: requests that go where they should not, or come from where they should not."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

import pytest

from labs.errors import CODES
from tests.hostile.attacker import code_of
from tests.hostile.conftest import Site
from tests.hostile.raw import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPENING_HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
PAGES = ("/", "/client.js", "/settings.json", "/web/index.html")
ENGINE = "/socket.io/?EIO=4&transport="  # takes GET and POST
HTTP_COMMANDS = [
    ("POST", "/newUserConnect", ()),
    ("POST", "/sendMessage", ()),
    ("POST", "/disconnect", ()),
    ("GET", "/updateMessage?session=x&since=0", ()),
]
ROUTES: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {
    "websocket_chat": [
        ("GET", "/", OPENING_HANDSHAKE),
        ("GET", "/any/where", OPENING_HANDSHAKE),
    ],
    "socketio_chat": [
        ("GET", ENGINE + "polling", ()),
        ("POST", ENGINE + "polling&sid=x", ()),
        ("GET", ENGINE + "websocket", OPENING_HANDSHAKE),
        ("GET", "/socket.io/socket.io.js", ()),
    ],
}
FOREIGN = (
    "http://example.com",
    "https://127.0.0.1",
    "http://127.0.0.1:1",
    "http://127.0.0.1.example.com",
    "null",
    "127.0.0.1",
    "http://[",
    "http://[::1",
    "\xff\xfe",
    "http://" + "a" * 5_000,
)
OUTSIDE = (
    "/web/../errors.py",
    "/web/../../SPEC.md",
    "/web/%2e%2e/errors.py",
    "/web/..%2ferrors.py",
    "/web/..\\errors.py",
    "/web//etc/passwd",
    "/web/%2fetc%2fpasswd",
    "/web/vendor/../../errors.py",
    "/web/",
    "/web",
    "/web/.",
    "/web/%00",
    "/web/index.html%00.js",
    "/web/index.html/",
    "/client.js/../server.py",
    "/client.js/",
    "/server.py",
    "/../polling/server.py",
    "//etc/passwd",
    "/%ff",
    "/favicon.ico",
    "/nowhere",
)


class Reply(NamedTuple):
    """An HTTP response, whole."""

    status: int
    body: bytes


async def ask(site: Site, method: str, target: str, *headers: str) -> Reply:
    """A request written by hand, so that nothing is normalised on the way."""
    host, _, port = site.url.removeprefix("http://").partition(":")
    length = () if method in ("GET", "HEAD") else ("Content-Length: 0",)
    head = (f"{method} {target} HTTP/1.1", f"Host: {host}:{port}", *headers, *length, "", "")
    if not any(line.startswith("Connection:") for line in headers):
        head = (head[0], "Connection: close", *head[1:])
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(PATIENCE_S):
            writer.write("\r\n".join(head).encode("latin-1"))
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            size = 0 if method == "HEAD" else int(fields.get("content-length", "0"))
            return Reply(int(lines[0].split()[1]), await reader.readexactly(size))
    finally:
        writer.close()
        await writer.wait_closed()


def refused(reply: Reply, code: str, *statuses: int) -> None:
    assert reply.status in statuses
    assert code_of(json.loads(reply.body)) == code


@pytest.mark.parametrize("origin", FOREIGN, ids=lambda origin: ascii(origin)[:40])
async def test_S11_1_a_foreign_origin(site: Site, origin: str) -> None:
    """S11.1: refused on every route and in every handshake, whatever else is wrong with it."""
    routes: list[Any] = [("GET", page, ()) for page in (*PAGES, "/nowhere")]
    for method, target, headers in routes + ROUTES.get(site.variant.package, HTTP_COMMANDS):
        reply = await ask(site, method, target, f"Origin: {origin}", *headers)
        refused(reply, "forbidden_origin", CODES["forbidden_origin"].status)


async def test_S11_1_two_origins(site: Site) -> None:
    """S11.1: a second `Origin` does not hide a foreign first one."""
    own, foreign = f"Origin: {site.url}", "Origin: http://example.com"
    for origins in ((foreign, own), (own, foreign)):
        reply = await ask(site, "GET", "/settings.json", *origins)
        refused(reply, "forbidden_origin", 403)


async def test_S11_1_the_own_origin(site: Site) -> None:
    """S11.1: a page that came from here may ask, and so may a program that names no origin."""
    assert (await ask(site, "GET", "/settings.json", f"Origin: {site.url}")).status == 200
    assert (await ask(site, "GET", "/settings.json")).status == 200


@pytest.mark.parametrize("path", OUTSIDE)
async def test_S9_1_a_path_that_is_not_there(site: Site, path: str) -> None:
    """S9.1: 404 with `bad_request`, and no file but those of the page."""
    refused(await ask(site, "GET", path), "bad_request", 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "LOCK"])
async def test_S9_1_a_method_that_is_not_there(site: Site, method: str) -> None:
    """S9.1: 404 or 405 with `bad_request`, on pages, on routes and elsewhere."""
    routes = [route[:2] for route in ROUTES.get(site.variant.package, HTTP_COMMANDS)]
    paths = {path for _, path in routes} - {path for one, path in routes if one == method}
    for path in {"/", "/client.js", "/nowhere"} | paths - {
        ENGINE + "polling",
        ENGINE + "websocket",
    }:
        refused(await ask(site, method, path), "bad_request", 404, 405)


async def test_S9_1_a_command_that_is_asked_for(site: Site) -> None:
    """S9.1: GET where POST belongs, POST where GET belongs."""
    for path in ("/newUserConnect", "/sendMessage", "/disconnect"):
        refused(await ask(site, "GET", path), "bad_request", 404, 405)
    refused(await ask(site, "POST", "/updateMessage"), "bad_request", 404, 405)


async def test_a_page_has_a_head(site: Site) -> None:
    """RFC 9110 section 9.3.2: HEAD is GET without the body."""
    assert await ask(site, "HEAD", "/") == Reply(200, b"")
    assert (await ask(site, "HEAD", "/nowhere")).status == 404


async def test_S10_polls_with_bad_queries(site: Site) -> None:
    """S9, S10.1-3: a poll's session and position are checked like a command's."""
    if site.variant.package in ROUTES:
        return
    attacker = site.attacker()
    await attacker.arrive()
    session = await attacker.join(site.name())
    for query in ("", "?session=", "?session=nobody&since=0", "?since=0", "?session=%ff&since=0"):
        refused(await ask(site, "GET", "/updateMessage" + query), "unknown_session", 404)
    for since in ("", "-1", "x", "1.5", "1234abcd:", "1" * 19, "%ff", "%C2%B2", "+1", "%201"):
        target = f"/updateMessage?session={session}&since={since}"
        refused(await ask(site, "GET", target), "bad_request", 400)
    await attacker.go()
