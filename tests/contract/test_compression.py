"""SPEC.md S10.9: compression, where it is wanted and offered."""

from __future__ import annotations

import aiohttp
import pytest

from tests.contract.town import Town

LONG = "가" * 1_000
COMPRESSED = ("polling", "longpolling", "websocket", "websocket-deflate", "socketio-polling")


@pytest.mark.parametrize("compress", [False, True])
async def test_S10_9_compression(town: Town, compress: bool) -> None:
    await town.open(compress=compress)
    line = await town.line()
    alice, bob = await town.person("alice"), await town.person("bob", line, compress=compress)
    await alice.say(LONG)
    await bob.hears(LONG)
    await bob.say(LONG)
    await alice.hears(LONG)
    shrunk = compress and town.variant.name in COMPRESSED
    assert (LONG.encode() in line.down) == (not shrunk)


async def test_S10_9_who_has_not_offered_it_gets_everything_as_it_is(town: Town) -> None:
    await town.open(compress=True)
    headers = {"Accept-Encoding": "identity"}
    async with (
        aiohttp.ClientSession(headers=headers, auto_decompress=False) as http,
        http.get(town.server.url + "/") as response,
    ):
        assert "Content-Encoding" not in response.headers
        assert b"<html" in await response.read()
