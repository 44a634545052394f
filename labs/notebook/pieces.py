"""Pieces of experiments, for notebooks that look closer; answered by the tape like the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from labs.advise import Costs, tried
from labs.bench.drawing import BELOW_IN, LAYER_COLOURS, axes, label_bars, legend, room, svg
from labs.bench.plots import BAR_IN
from labs.bench.results import Run
from labs.bench.run import Plan
from labs.bench.workload import Workload
from labs.experiments import half_open, sticky_sessions
from labs.experiments.rig.balancer import Rule
from labs.experiments.rig.browser import browsing, join, opened
from labs.experiments.rig.stall import stalled
from labs.lab import Drawing
from labs.notebook.server import Server
from labs.notebook.tape import current, digest
from labs.settings import Settings
from labs.wire.control import child, together
from labs.wire.traffic import LAYERS, Traffic

Sides = dict[str, list[float]]


async def stand_still(
    workload: Workload, variant: str, after_s: float, for_s: float, seed: int = 1
) -> Run:
    """A run of which latency is taken, whose server is stopped for a while by a signal.

    It is stopped `after_s` after everyone has joined. Raises `LabError` where it cannot be, and if
    a message met a wrong fate.
    """

    async def live() -> Run:
        async with child("the generator", "labs.bench.load") as load:
            plan = Plan(workload, variant, "latency", 1, seed)
            return await stalled(plan, [load], workload.warmup_s + after_s, for_s)

    call = f"stand still {variant} {digest(workload, after_s, for_s, seed)}"
    run: Run = await current().take(call, Run, live)
    return run


async def pull_cables(names: Sequence[str], **settings: Any) -> dict[str, Sides]:
    """Pull the cable of clients of each; after how many seconds each side has noticed.

    By transport, the seconds of the `server`, one for each client, and of each `client`. Raises
    `LabError` where no cable can be pulled, which takes Linux.
    """
    found: dict[str, Sides] = {}

    async def one(name: str) -> None:
        server, client = await half_open.pulled(name, Settings(**settings))
        found[name] = {"server": server, "client": client}

    async def live() -> dict[str, Sides]:
        await together(*map(one, names))
        return {name: found[name] for name in names}

    call = f"pull cables {', '.join(names)} {digest(settings)}"
    noticed: dict[str, Sides] = await current().take(call, dict[str, Sides], live)
    return noticed


async def turned_away(rule: Rule) -> int:
    """Requests refused of ten that name a session, behind a proxy with two workers.

    `rule` is how it chooses a worker: `round-robin`, or by `sid` or `address`.
    """

    async def live() -> int:
        async with sticky_sessions.workers("socketio-polling", rule) as (_, url):
            return await sticky_sessions.knock(url)

    refused: int = await current().take(f"turned away {rule}", int, live)
    return refused


async def costs(names: Sequence[str]) -> Costs:
    """What these transports cost a server of this machine in CPU and memory."""
    found: Costs = await current().take(f"costs {', '.join(names)}", Costs, lambda: tried(names))
    return found


@asynccontextmanager
async def tab(server: Server, name: str) -> AsyncIterator[None]:
    """Somebody in a browser's tab: the page is loaded, the name given. Offline nothing opens.

    Raises `LabError` without Chromium.
    """
    if current().offline:
        yield
        return
    async with browsing() as browser:
        await join(await opened(browser, server.served.url), name)
        yield


def layers(passed: Mapping[str, Traffic], share: float, what: str) -> Drawing:
    """Bars: bytes by layer, both ways, each `share` of what passed; `what` names the axis."""
    names = list(passed)
    height_in = 0.2 + BELOW_IN + BAR_IN * len(names)
    figure, (on,) = axes(height_in=height_in, left=room(names))
    left = [0.0] * len(names)
    for layer in LAYERS:
        sizes = [share * each.of(layer=layer) for each in passed.values()]
        if any(sizes):
            on.barh(names, sizes, left=left, color=LAYER_COLOURS[layer], label=layer)
            left = [a + b for a, b in zip(left, sizes, strict=True)]
    label_bars(on, left)
    legend(on)
    on.set_xlabel(what)
    return Drawing(svg(figure))
