"""What experiments and notebooks work with, in a few words: servers, clients, crowds, bytes.

    async with labs.serve("polling", interval_s=0.5) as server:
        ann = await server.join("ann")
        await ann.send("hello")
        print((await server.traffic()).both, "bytes")

Every server lives in a process of its own, with a tap in front of it that keeps what passes.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil

from labs.bench.results import Run
from labs.bench.run import START_S, Plan, make, serving
from labs.bench.workload import Workload
from labs.errors import LabError
from labs.net.between import between
from labs.net.network import load as load_network
from labs.settings import Settings
from labs.variants import Client, Variant, load
from labs.wire.control import Child, child, together
from labs.wire.recording import Recording
from labs.wire.recording import load as load_recording
from labs.wire.sequence import draw
from labs.wire.show import shown
from labs.wire.traffic import Traffic


class Drawing(str):
    """An SVG picture; a notebook shows it."""

    def _repr_svg_(self) -> str:
        from labs.notebook.picture import plain

        return plain(self)

    def __repr__(self) -> str:
        return "<a drawing>"


@dataclass
class Served:
    """A server that runs. `url` leads through the tap, `direct_url` past it."""

    variant: Variant
    settings: Settings
    url: str
    direct_url: str
    process: Child
    tap: Child
    _clients: list[Client] = field(default_factory=list)

    def client(self, **settings: Any) -> Client:
        """A client that has not joined yet, through the tap; settings of its own if given."""
        return self.variant.client(self.url, self.settings.but(**settings))

    async def join(self, name: str, **settings: Any) -> Client:
        """A client that has joined; it leaves when the server is left."""
        client = self.client(**settings)
        await client.connect(name)
        self._clients.append(client)
        return client

    async def traffic(self) -> Traffic:
        """What has passed the tap since this was last asked, by layer and phase."""
        answer = await self.tap.ask({"mark": "asked"})
        return msgspec.convert(answer["traffic"], Traffic)

    async def cut(self) -> int:
        """Reset every connection at the tap; answers how many there were."""
        return int((await self.tap.ask({"cut": True}))["cut"])

    async def recording(self, title: str = "") -> Recording:
        """Everything that has passed the tap so far."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "conversation.jsonl")
            await self.tap.ask({"record": str(file), "title": title})
            return load_recording(file)

    async def diagram(self, title: str = "") -> Drawing:
        """The conversation so far as a sequence diagram."""
        return Drawing(draw(await self.recording(title)))

    async def conversation(self) -> str:
        """The conversation so far in words: heads, frames, events, packets."""
        return "\n".join(shown(await self.recording()))

    async def cpu_s(self) -> float:
        """The CPU time that the server has used, in seconds."""
        return float((await self.process.ask({"use": True}))["cpu_s"])

    @property
    def memory_bytes(self) -> int:
        """The memory of the server now (RSS)."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


@asynccontextmanager
async def serve(name: str, **settings: Any) -> AsyncIterator[Served]:
    """Serve a variant while inside, in a process of its own; `settings` are those of `Settings`.

    Raises `UsageError` for a name or a setting that there is not, `LabError` if it cannot start.
    """
    variant = load(name)
    chosen = variant.settings(Settings(**settings))
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(
            child(f"the {name} server", "labs.bench.host", name)
        )
        direct = (await process.ask(settings, START_S))["url"]
        there = urlsplit(direct)
        address = str(there.hostname), str(there.port)
        tap = await stack.enter_async_context(child("the tap", "labs.wire.tap", *address))
        port = (await tap.hear(START_S))["port"]
        url = there._replace(netloc=f"127.0.0.1:{port}").geturl()
        served = Served(variant, chosen, url, direct, process, tap)
        try:
            yield served
        finally:
            for client in served._clients:
                await client.close()


async def count_bytes(cases: Sequence[tuple[Workload, str]], seed: int = 1) -> list[Run]:
    """One run of each case, a workload and a variant, whose bytes are counted: side by side.

    Raises `LabError` if a message met a wrong fate.
    """
    runs: dict[int, Run] = {}

    async def one(place: int, workload: Workload, name: str) -> None:
        plan = Plan(workload, name, "bytes", 1, seed)
        async with child("the generator", "labs.bench.load") as crowd, serving(plan) as server:
            runs[place] = _right(await make(plan, server, [crowd], _at_once))

    await together(*(one(place, *case) for place, case in enumerate(cases)))
    return [runs[place] for place in range(len(cases))]


async def take_latency(
    workload: Workload,
    names: Sequence[str],
    rounds: int = 3,
    seed: int = 1,
    network: str = "",
) -> dict[str, list[Run]]:
    """Runs of each variant whose latency is taken, one at a time, in seeded random order.

    `network` is the name or file of one to emulate. Raises `LabError` if a message met a wrong
    fate, `UsageError` for a network that there is not.
    """
    order = [(number, name) for number in range(1, rounds + 1) for name in names]
    random.Random(seed).shuffle(order)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    emulated = between(load_network(network), seed) if network else nullcontext()
    async with emulated as net, AsyncExitStack() as stack:
        prefix = net.client_prefix if net else []
        loads = [
            await stack.enter_async_context(child("a generator", "labs.bench.load", prefix=prefix))
            for _ in range(workload.generators)
        ]
        for number, name in order:
            if net:
                await net.restart(number)
            plan = Plan(workload, name, "latency", number, seed)
            async with serving(plan, net) as server:
                runs[name].append(_right(await make(plan, server, loads, _at_once)))
    return runs


def _right(run: Run) -> Run:
    if run.outcome.wrong:
        raise LabError(f"{run.variant}, {run.workload}: {run.outcome.wrong[0]}; nothing is told")
    return run


async def _at_once() -> None:
    """A run that is alone waits for nobody."""
