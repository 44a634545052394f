"""The tap, the kernel and a packet capture count the same bytes and segments of one run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from urllib.parse import urlsplit

import msgspec
import pytest

from labs.variants import FIVE
from labs.wire.control import Child
from labs.wire.traffic import Segments, Traffic
from tests.capture.person import SETTINGS
from tests.capture.tshark import FIN, RST, SYN, Capture, Packet, Sum, capturing
from tests.capture.veth import CLIENT, SERVER, child, need_tools, pair
from tests.capture.watched import Known, Look

START_S = 30.0
WORDS = ["hello", "안녕하세요", *(f"{n} 번째 말" for n in range(6)), "긴 글 " * 450]
"""The last one needs several segments."""

MARKERS = count(40_001)  # ports at which nobody listens

FIN_ACKED = {5, 6, 7}  # FIN-WAIT-2, TIME-WAIT, CLOSE (net/tcp_states.h)


@dataclass(frozen=True)
class Run:
    """A server behind a tap in one namespace, a person in the other, a capture between."""

    tap: Child
    person: Child
    capture: Capture

    async def look(self) -> tuple[Look, Traffic, list[Packet]]:
        """The same moment, as the kernel, the tap and the capture have seen it."""
        for marker in MARKERS:
            answer = await self.tap.ask({"look": [CLIENT, marker]})
            if answer["look"]:
                break
        packets = await self.capture.until(marker)
        look = msgspec.convert(answer["look"], Look)
        account = await self.tap.ask({"account": [["so far", look.at_s]]})
        return look, msgspec.convert(account["windows"]["so far"], Traffic), packets


@asynccontextmanager
async def running(name: str) -> AsyncIterator[Run]:
    need_tools()
    async with (
        pair() as here,
        capturing(here.server) as capture,
        child(here.server, "the server", "labs.bench.host", name) as server,
    ):
        port = urlsplit((await server.ask(SETTINGS, START_S))["url"]).port
        address = "127.0.0.1", str(port), SERVER
        async with child(here.server, "the tap", "tests.capture.watched", *address) as tap:
            url = f"http://{SERVER}:{(await tap.hear(START_S))['port']}"
            async with child(here.client, "a person", "tests.capture.person", name, url) as person:
                assert await person.hear(START_S) == {"joined": True}
                yield Run(tap, person, capture)


def payload(known: Known) -> tuple[int, int]:
    """The bytes up and down by TCP_INFO, without what it counts for the ends of stream."""
    info = known.info
    return info.bytes_received - ("up_end" in known.ends), info.bytes_sent - info.bytes_retrans


def acknowledged(known: Known) -> int:
    """The bytes down that the client's side has acknowledged, without our end of stream."""
    return known.info.bytes_acked - (known.info.state in FIN_ACKED)


def same_bytes(look: Look, traffic: Traffic, packets: list[Packet]) -> None:
    """Three counts of one thing."""
    assert not any(packet.sent_again for packet in packets)
    assert sum(known.info.total_retrans for known in look.connections) == 0
    for known in look.connections:
        assert payload(known) == (known.up, known.down)
        # A client that leaves while a poll is held resets what comes down after that.
        assert acknowledged(known) == known.down or any(packet.flags & RST for packet in packets)
    by_kernel = [sum(each) for each in zip(*map(payload, look.connections), strict=True)]
    by_capture = [Sum.of(packets, down=down).payload_bytes for down in (False, True)]
    assert [traffic.up, traffic.down] == by_kernel == by_capture
    assert traffic.connections == sum(packet.flags == SYN for packet in packets)


def counted(packets: list[Packet]) -> Segments:
    up, down = (Sum.of(packets, down=down) for down in (False, True))
    return Segments(up.segments, down.segments, up.header_bytes, down.header_bytes)


def after_the_end(packets: list[Packet]) -> list[Packet]:
    """What came in each stream after its end, and may have come after the last reading."""
    ends: dict[int, set[bool]] = {packet.stream: set() for packet in packets}
    found = []
    for packet in packets:
        if len(ends[packet.stream]) == 2:
            found.append(packet)
        elif packet.flags & RST:
            ends[packet.stream] = {True, False}
        elif packet.flags & FIN:
            ends[packet.stream].add(packet.down)
    return found


@pytest.mark.parametrize("name", FIVE)
async def test_tap_kernel_and_capture_agree(name: str) -> None:
    async with running(name) as run:
        assert await run.person.ask({"say": WORDS}, START_S) == {"heard": len(WORDS)}
        look, traffic, packets = await run.look()
        same_bytes(look, traffic, packets)
        assert look.segments == counted(packets)
        size = sum(len(text.encode()) for text in WORDS)
        assert [traffic.of(way, "text") for way in ("up", "down")] == [size, size]

        assert await run.person.ask({"leave": True}, START_S) == {"left": True}
        await run.tap.ask({"closed": True}, START_S)
        look, traffic, packets = await run.look()
        same_bytes(look, traffic, packets)
        # Read before the socket is closed: an acknowledgement of the last FIN may be missing.
        late = after_the_end(packets)
        assert all(packet.payload_bytes == 0 for packet in late)
        all_of_it, least = counted(packets), counted([p for p in packets if p not in late])
        assert least.up <= look.segments.up <= all_of_it.up
        assert least.down <= look.segments.down <= all_of_it.down
