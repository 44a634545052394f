"""A server that stands still for a while: stopped by a signal, in the middle of a run."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from time import monotonic

from labs.bench.results import Run
from labs.bench.run import Plan, make, serving
from labs.errors import LabError
from labs.wire.control import Child


async def stand_still(pid: int, after_s: float, for_s: float) -> float:
    """Stop a process of ours after a while, and let it go on; how long that was, in seconds.

    It goes on whatever happens here. Raises `LabError` where there is no such signal.
    """
    if not hasattr(signal, "SIGSTOP"):
        raise LabError("a server cannot be stopped here; use Linux or macOS, which have SIGSTOP")
    await asyncio.sleep(after_s)
    begun_s = monotonic()
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(for_s)
    finally:
        os.kill(pid, signal.SIGCONT)
    return monotonic() - begun_s


async def stalled(plan: Plan, loads: Sequence[Child], after_s: float, for_s: float) -> Run:
    """A run whose server stands still `for_s`, `after_s` after everyone has joined.

    Raises `LabError`, also if a message met a wrong fate.
    """
    standing: list[asyncio.Task[float]] = []
    async with serving(plan) as server:
        process = server.process
        assert process, "the server is ours"

        async def joined() -> None:
            standing.append(asyncio.create_task(stand_still(process.pid, after_s, for_s)))

        try:
            run = await make(plan, server, loads, joined)
        finally:
            # Its server must not be left standing: it could not even be told to end.
            for task in standing:
                task.cancel()
            await asyncio.gather(*standing, return_exceptions=True)
    standing[0].result()
    if run.outcome.wrong:
        raise LabError(f"{run.variant}, stalled: {run.outcome.wrong[0]}; nothing is told")
    return run
