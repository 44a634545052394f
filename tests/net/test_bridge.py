"""The TUN bridge, with the kernel's own TCP and UDP on either side of it. Needs root."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from labs.errors import LabError
from labs.net.between import Span, between, seed_of
from labs.net.checking import allowed
from labs.net.network import Network
from labs.net.queue import DeadlineQueue
from labs.wire.control import ChildDiedError
from tests.need import need

NEAR = Network("near", delay_ms=8, up_bit_s=200_000_000, down_bit_s=200_000_000)
PATIENCE_S = 60.0  # only a test that fails waits so long


@pytest.fixture(autouse=True, scope="module")
def rights() -> None:
    async def why_not() -> str:
        async with between(NEAR, 1) as span:
            return span.reason

    reason = asyncio.run(why_not())
    need(not reason, f"A TUN bridge needs root, /dev/net/tun and iproute2 on Linux: {reason}.")


@asynccontextmanager
async def bridge(network: Network, seed: int = 1) -> AsyncIterator[Span]:
    async with between(network, seed) as span:
        assert span.mechanism == "tun", span.reason
        yield span


@asynccontextmanager
async def running(
    code: str, *arguments: object, prefix: Sequence[str] = ()
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python program while inside; its stdin is a pipe, and so is its stdout."""
    process = await asyncio.create_subprocess_exec(
        *(*prefix, sys.executable, "-c", code, *map(str, arguments)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line(process: asyncio.subprocess.Process) -> Any:
    assert process.stdout
    return json.loads(await asyncio.wait_for(process.stdout.readline(), PATIENCE_S))


def namespaces() -> set[str]:
    return {row.split()[0] for row in said_by("ip", "netns", "list").splitlines()}


def said_by(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def names(span: Span) -> set[str]:
    return {span.server_prefix[-1], span.client_prefix[-1]}


async def ended(pid: int) -> None:
    """Wait for the end of a process that need not be our child."""
    over, watch = asyncio.Event(), os.pidfd_open(pid)
    asyncio.get_running_loop().add_reader(watch, over.set)
    try:
        await asyncio.wait_for(over.wait(), PATIENCE_S)
    finally:
        asyncio.get_running_loop().remove_reader(watch)
        os.close(watch)


# Namespaces come and go


async def test_two_namespaces_stand_while_it_does() -> None:
    async with bridge(NEAR) as span:
        made = names(span)
        assert len(made) == 2
        assert made <= namespaces()
    assert not made & namespaces()


async def test_one_run_learns_nothing_from_another() -> None:
    async with bridge(NEAR) as span:
        for prefix in (span.server_prefix, span.client_prefix):
            asked = [*prefix, "cat", "/proc/sys/net/ipv4/tcp_no_metrics_save"]
            assert said_by(*asked).strip() == "1"


async def test_two_bridges_do_not_know_each_other() -> None:
    async with bridge(NEAR) as one, bridge(NEAR) as other:
        assert names(one) | names(other) <= namespaces()
        assert len(names(one) | names(other)) == 4
        assert (await one.verify()).rtt.least_ms >= NEAR.rtt_ms
        assert (await other.counts())["up"].counts.packets == 0


HOLD = """
import asyncio, json, sys
from labs.errors import LabError
from labs.net.between import between
from labs.net.network import load
async def main():
    async with between(load("lan"), 1) as span:
        names = [span.server_prefix[-1], span.client_prefix[-1]]
        print(json.dumps({"pid": span.player.pid, "names": names}), flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_they_go_when_something_fails_in_front_of_it() -> None:
    made: set[str] = set()

    async def fail_inside() -> None:
        async with bridge(NEAR) as span:
            made.update(names(span))
            raise LabError("by the way")

    with pytest.raises(LabError, match="by the way"):
        await fail_inside()
    assert len(made) == 2
    assert not made & namespaces()


async def test_they_go_when_the_parent_is_killed() -> None:
    async with running(HOLD) as parent:
        said = await line(parent)
        made = set(said["names"])
        assert made <= namespaces()
        parent.send_signal(signal.SIGKILL)
        await ended(said["pid"])
    assert not made & namespaces()


async def test_the_next_one_removes_what_a_killed_bridge_has_left() -> None:
    async with bridge(NEAR) as span:
        left = names(span)
        os.kill(span.player.pid, signal.SIGKILL)
        with pytest.raises(ChildDiedError):
            await span.counts()
        assert left <= namespaces()
        async with bridge(NEAR):
            assert not left & namespaces()


async def test_they_go_when_it_is_told_to_end() -> None:
    async with bridge(NEAR) as span:
        made = names(span)
        os.kill(span.player.pid, signal.SIGTERM)
        with pytest.raises(ChildDiedError):
            await span.counts()
        assert not made & namespaces()


async def test_it_ends_when_it_cannot_carry_packets() -> None:
    async with bridge(NEAR) as span:
        made, name = names(span), span.server_prefix[-1]
        link = json.loads(said_by("ip", "-n", name, "-j", "link", "show", "type", "tun"))[0]
        said_by("ip", "-n", name, "link", "set", "dev", link["ifname"], "down")
        async with running(SEND, span.server_host, 9, 1, prefix=span.client_prefix):
            died = await asyncio.wait_for(span.player.died(), PATIENCE_S)
        assert "Input/output error" in str(died)
        assert not made & namespaces()


async def test_nothing_else_is_in_reach() -> None:
    async with bridge(NEAR) as span:
        for prefix in (span.server_prefix, span.client_prefix):
            routes = said_by(*prefix, "ip", "-j", "route")
            assert [route["dst"] for route in json.loads(routes)] == ["10.77.0.0/30"]


# What passes


SEND = """
import socket, sys, time
host, port, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for each in range(number):
    udp.sendto(each.to_bytes(4, "big"), (host, port))
    time.sleep(0.0005)
"""
RECEIVE = """
import json, socket, sys
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
udp.bind((sys.argv[1], 0))
print(json.dumps(udp.getsockname()[1]), flush=True)
print(json.dumps([int.from_bytes(udp.recv(64), "big") for _ in range(int(sys.argv[2]))]))
"""


@pytest.mark.parametrize("run", [0, 1, 2])
async def test_just_those_packets_are_lost_that_the_seed_and_the_run_say(run: int) -> None:
    network = Network("lossy", delay_ms=2, jitter_ms=1, up_bit_s=10**9, down_bit_s=10**9, loss=0.1)
    number, seed = 600, 42
    queue = DeadlineQueue[int](network, "up", seed_of(seed, run))
    expected = [each for each in range(number) if queue.put(each * 10**9, 32, each)]
    async with (
        bridge(network, seed) as span,
        running(RECEIVE, span.server_host, len(expected), prefix=span.server_prefix) as receiver,
    ):
        port = await line(receiver)
        await span.restart(run)
        address = span.server_host, port, number
        async with running(SEND, *address, prefix=span.client_prefix) as sender:
            received = await line(receiver)
            assert await asyncio.wait_for(sender.wait(), PATIENCE_S) == 0
        passed = await span.counts()
    assert received == expected
    up = passed["up"].counts
    assert (up.packets, up.bytes) == (number, number * 32)
    assert (up.lost, up.left_packets) == (queue.counts.lost, len(expected))
    least, most = allowed(network.loss, number)
    assert least <= up.lost <= most
    assert passed["down"].counts.packets == 0


async def test_it_measures_itself_and_begins_anew() -> None:
    network = Network(
        "n", delay_ms=8, up_bit_s=5_000_000, down_bit_s=10_000_000, loss=0.05, queue_ms=100
    )
    async with bridge(network) as span:
        found = await span.verify()
        passed = await span.counts()
    assert (found.mechanism, found.reason) == ("tun", "")
    assert found.rtt.samples >= 20
    assert network.rtt_ms <= found.rtt.least_ms <= found.rtt.median_ms <= found.rtt.p95_ms
    assert found.connect_ms >= network.rtt_ms
    assert found.congestion_control
    for loss in (found.loss_up, found.loss_down):
        assert loss
        assert loss.sent >= 300
        least, most = allowed(network.loss, loss.sent)
        assert least <= loss.missing <= most
        assert loss.low < loss.share < loss.high
    assert found.up_bit_s > 0
    assert found.down_bit_s > 0
    assert {way: each.counts.packets for way, each in passed.items()} == {"up": 0, "down": 0}


SERVE = """
import asyncio, json, sys
from labs import variants
from labs.settings import Settings
async def main():
    variant = variants.load("websocket")
    async with variant.serve(variant.chat(variant.settings(Settings())), sys.argv[1], 0) as url:
        print(json.dumps(url), flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
CHAT = """
import asyncio, json, sys, time
from labs import variants
from labs.settings import Settings
async def main():
    variant = variants.load("websocket")
    client = variant.client(sys.argv[1], variant.settings(Settings()))
    begun_s = time.monotonic()
    joined = await client.connect("Mina")
    joined_s = time.monotonic()
    await client.send("안녕, world")
    sent_s = time.monotonic()
    async for message in client.messages():
        if message.kind == "talk":
            break
    await client.close()
    took_s = [joined_s - begun_s, sent_s - joined_s]
    print(json.dumps({"present": joined.present, "text": message.text, "took_s": took_s}))
asyncio.run(main())
"""


async def test_a_chat_works_across_and_pays_for_its_round_trips() -> None:
    async with (
        bridge(NEAR) as span,
        running(SERVE, span.server_host, prefix=span.server_prefix) as server,
    ):
        url = await span.front(await line(server))
        assert span.server_host in url
        async with running(CHAT, url, prefix=span.client_prefix) as client:
            said = await line(client)
        passed = await span.counts()
    assert (said["present"], said["text"]) == (["Mina"], "안녕, world")
    connect_s, send_s = said["took_s"]
    # TCP's handshake, WebSocket's, newUserConnect; then one message and its answer.
    assert connect_s >= 3 * NEAR.rtt_ms / 1e3
    assert send_s >= NEAR.rtt_ms / 1e3
    assert passed["up"].counts.left_packets >= 4
    assert passed["down"].counts.left_packets >= 3
