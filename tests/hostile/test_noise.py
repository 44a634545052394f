"""Bytes that are no request at all, at every entry there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from tests.hostile.attacker import OverHttp, OverSocketIO, OverWebSocket
from tests.hostile.conftest import Site
from tests.hostile.raw import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOISE = {
    "nothing": b"",
    "half a line": b"GET / HT",
    "half a head": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    "half a body": b"POST /sendMessage HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "zeros": bytes(1_000),
    "bytes in the path": b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    "no method there is": b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version there is": b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    "a header of 100 KB": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "a path of 100 KB": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "1,000 headers": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: x\r\n" * 1_000 + b"\r\n",
    "a negative length": b"POST /sendMessage HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nOrigin: http://a\r\n\r\n",
    "a bad chunk": b"POST /sendMessage HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a bad upgrade": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tea\r\n\r\n",
    "a bad key": b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n",
    "bytes in the query": b"GET /socket.io/?EIO=4&transport=%ff&sid=%ff HTTP/1.1\r\n"
    b"Host: a\r\n\r\n",
}


async def shout(site: Site, noise: bytes) -> bytes:
    """Send bytes and no more; answers what comes back before the server hangs up."""
    host, _, port = site.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionError):
                writer.write(noise)
                await writer.drain()
                writer.write_eof()
                return await reader.read()
            return b""
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("what", NOISE)
async def test_S9_noise(site: Site, what: str) -> None:
    """S9: it is answered with what is wrong with it, or not at all, but never with 500."""
    reply = await shout(site, NOISE[what])
    assert not reply.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5")) or b" 505 " in reply[:20]


def examples(count: int) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """So many random inputs, the same ones every time; a server cannot be made anew for each."""
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


JSON = [
    b'"event"',
    b'"data"',
    b'"name"',
    b'"text"',
    b'"session"',
    b'"\\ud800"',
    b"null",
    b"-1",
    b"1e9",
]
BRACKETS = [b"{", b"}", b"[", b"]", b":", b",", b"\xff", b"\x00", b"\x1e"]
PACKETS = [b'42["sendMessage"', b'["newUserConnect"', b"42", b"41", b"40", b"451-", b"2probe", b"5"]
PIECES = st.sampled_from([*JSON, *BRACKETS, *PACKETS])
ANYTHING = st.binary(max_size=200) | st.lists(PIECES, max_size=12).map(b"".join)


@examples(30)
@given(noise=ANYTHING, event=st.sampled_from(["newUserConnect", "sendMessage", "disconnect"]))
async def test_S9_random_bytes(site: Site, noise: bytes, event: str) -> None:
    """S9: whatever is sent as a body, a frame or a packet, and as a request."""
    attacker = site.attacker()
    await attacker.arrive()
    try:
        if isinstance(attacker, OverHttp):
            await attacker.say(event, noise)
        elif isinstance(attacker, OverWebSocket):
            with suppress(ConnectionClosed):
                await attacker.socket.send(noise, text=bool(len(noise) % 2))
                await (await attacker.socket.ping())
        elif isinstance(attacker, OverSocketIO):
            with suppress(ConnectionError):
                await attacker.engine.send(noise)
    finally:
        await attacker.go()
    await shout(site, noise)
    await site.witness.hears()
