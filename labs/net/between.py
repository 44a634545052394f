"""A network between two processes, by the better of two mechanisms that the machine allows.

`tun`: packets, between two network namespaces; TCP's handshakes, repeats and congestion control
are the kernel's own. It needs Linux, root and ip(8). `relay`: byte streams, for anybody. `reason`
says why it is not `tun`, and whoever asked for a network must be told.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import urlsplit

import msgspec

from labs.errors import LabError
from labs.net.line import Order, Passed
from labs.net.namespaces import TUN, enter
from labs.net.network import Network
from labs.net.probe import Found
from labs.net.shaping import Mechanism, Shaping, shaping, task
from labs.wire.control import Child, child

LOOPBACK = "127.0.0.1"
PROBE = "labs.net.probe"
START_S = 20.0
MEASURE_S = 60.0
SEED_BITS = 48  # a whole number in any JSON


@dataclass(frozen=True)
class Span:
    """A network that stands between a server and its clients.

    Run the server after `server_prefix` and bind it to `server_host`; run what connects to it
    after `client_prefix`, and give it the URL that `front` answers. `player` is the process
    that plays the network.
    """

    network: Network
    seed: int
    player: Child
    mechanism: Mechanism
    reason: str = ""
    server_host: str = LOOPBACK
    server_prefix: list[str] = field(default_factory=list)
    client_prefix: list[str] = field(default_factory=list)

    async def front(self, url: str) -> str:
        """Where to reach this server through the network; raises `LabError`."""
        there = urlsplit(url)
        port = await self._front(str(there.hostname), there.port or 80)
        return there._replace(netloc=f"{there.hostname}:{port}").geturl()

    async def _front(self, host: str, port: int) -> int:
        if self.mechanism == "tun":
            return port
        found: int = (await self.player.ask({"host": host, "port": port}))["port"]
        return found

    async def verify(self) -> Shaping:
        """Measure the network through the path itself; takes some seconds. Raises `LabError`.

        Afterwards chance and counts begin anew, so that a run after it meets the same network
        as one without.
        """
        asked, host = task(self.network, self.mechanism), self.server_host
        async with child("the probe's server", PROBE, host, prefix=self.server_prefix) as server:
            ports = await server.hear(START_S)
            tcp = await self._front(host, ports["tcp"])
            udp = ports["udp"] if self.mechanism == "tun" else 0
            address = host, str(tcp), str(udp)
            async with child("the probe", PROBE, *address, prefix=self.client_prefix) as client:
                found = await client.ask(msgspec.to_builtins(asked), MEASURE_S)
        await self.restart()
        measured = msgspec.convert(found, Found)
        return shaping(self.network, self.mechanism, self.reason, asked, measured)

    async def restart(self, run: int = 0) -> None:
        """Begin the sequences of chance and the counts anew: those of a run, by its number.

        Run 1 of every variant meets the same chance, and run 2 another one.
        """
        await self.player.ask({"restart": seed_of(self.seed, run)})

    async def counts(self) -> dict[str, Passed]:
        """What has passed `up` and `down` since the start or the last `restart`."""
        return msgspec.convert(await self.player.ask({"counts": True}), dict[str, Passed])


def seed_of(seed: int, run: int) -> int:
    """The seed of a run's chance; run 0 is none, and has the seed itself."""
    return Random(f"{seed}/{run}").getrandbits(SEED_BITS) if run else seed


@asynccontextmanager
async def between(network: Network, seed: int) -> AsyncIterator[Span]:
    """Put a network between a server and its clients while inside; yields how to use it."""
    async with AsyncExitStack() as stack:
        reason = why_no_tun()
        if not reason:
            try:
                span = await stack.enter_async_context(_bridged(network, seed))
            except LabError as error:
                reason = str(error)
        if reason:
            span = await stack.enter_async_context(_relayed(network, seed, reason))
        yield span


def why_no_tun() -> str:
    """Why packets cannot be carried here, in a few words; empty if nothing speaks against it."""
    if sys.platform != "linux":
        return "network namespaces need Linux"
    if os.geteuid():
        return "network namespaces need root; this is another user"
    if not TUN.exists():
        return f"there is no {TUN}; load the kernel's module tun"
    if not shutil.which("ip"):
        return "there is no ip command; install iproute2"
    return ""


@asynccontextmanager
async def _bridged(network: Network, seed: int) -> AsyncIterator[Span]:
    async with child("the TUN bridge", "labs.net.bridge") as player:
        stands = await player.ask(_order(network, seed), START_S)
        names, addresses = stands["names"], stands["addresses"]
        yield Span(
            network,
            seed,
            player,
            "tun",
            server_host=addresses["server"],
            server_prefix=enter(names["server"]),
            client_prefix=enter(names["client"]),
        )


@asynccontextmanager
async def _relayed(network: Network, seed: int, reason: str) -> AsyncIterator[Span]:
    async with child("the shaping relay", "labs.net.shaper") as player:
        await player.ask(_order(network, seed), START_S)
        yield Span(network, seed, player, "relay", reason)


def _order(network: Network, seed: int) -> dict[str, Any]:
    order: dict[str, Any] = msgspec.to_builtins(Order(network, seed))
    return order
