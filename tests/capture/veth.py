"""Two network namespaces with a wire between them, and processes inside them.

    server namespace  10.203.0.1  veth0 ------ veth0  10.203.0.2  client namespace

Segmentation offloads are off, so that a segment is a packet; what would send one again only
because a machine is slow is off as well, so that each is sent once.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from labs.wire.control import LINE_BYTES, Child
from tests.need import need

ROOT = Path(__file__).parent.parent.parent
TOOLS = "install iproute2, ethtool and tshark, and run as root on Linux"
SERVER, CLIENT = "10.203.0.1", "10.203.0.2"
WIRE = "veth0"


def need_tools() -> None:
    """Skip (in CI: fail) where namespaces or captures cannot be had."""
    tools = all(shutil.which(tool) for tool in ("ip", "ethtool", "tshark"))
    need(tools and sys.platform == "linux" and os.geteuid() == 0, TOOLS)


@dataclass(frozen=True)
class Pair:
    """The names of the two namespaces."""

    server: str
    client: str


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    """Two namespaces with a wire between them, which are gone afterwards."""
    name = f"labs-{os.getpid()}-{secrets.token_hex(3)}"
    both = Pair(f"{name}-s", f"{name}-c")
    try:
        for namespace in (both.server, both.client):
            await run("ip", "netns", "add", namespace)
        await run(
            *("ip", "link", "add", WIRE, "netns", both.server),
            *("type", "veth", "peer", "name", WIRE, "netns", both.client),
        )
        await _set_up(both.server, SERVER)
        await _set_up(both.client, CLIENT)
        yield both
    finally:
        for namespace in (both.server, both.client):
            with suppress(AssertionError):  # it was never made
                await run("ip", "netns", "delete", namespace)


async def _set_up(namespace: str, address: str) -> None:
    inside = ("ip", "-n", namespace)
    await run(*inside, "address", "add", f"{address}/30", "dev", WIRE)
    for device in ("lo", WIRE):
        await run(*inside, "link", "set", device, "up")
    # The timer that sends again never runs out within a test, and no probe is sent for a tail.
    await run(*inside, *["route", "replace", "10.203.0.0/30", "dev", "veth0", "rto_min", "60s"])
    enter = ("ip", "netns", "exec", namespace)
    await run(*enter, "sysctl", "-qw", "net.ipv4.tcp_early_retrans=0")
    await run(*enter, *["ethtool", "-K", "veth0", "tso", "off", "gso", "off", "gro", "off"])


async def run(*command: str) -> None:
    """Run a command to its end; raises `AssertionError` with what it said if it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, f"{' '.join(command)}: {said.decode()}"


@asynccontextmanager
async def child(namespace: str, name: str, module: str, *arguments: str) -> AsyncIterator[Child]:
    """A Python module as a child process in a namespace, while inside."""
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", namespace, sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
        cwd=ROOT,
    )
    started = Child(name, process)
    try:
        yield started
    except BaseException:
        started.kill()
        raise
    finally:
        await started.stop()
