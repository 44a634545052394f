"""One server in a process of its own: `python -m labs.bench.host NAME [HOST]`.

Reads the settings as one JSON line from stdin, serves on a port the system chooses, prints
`{"url": ...}`, answers every further line with the CPU time it has used (`cpu_s`) at a moment
of the monotonic clock (`at_s`), and stops on SIGTERM or when stdin ends.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

from labs import variants
from labs.errors import UsageError
from labs.settings import Settings
from labs.variants import Variant
from labs.wire.control import allow_files, commands, reply

HOST = "127.0.0.1"


def find(name: str) -> Variant:
    """The variant of this name; `package:ATTRIBUTE` finds one that is not registered."""
    package, _, attribute = name.partition(":")
    if not attribute:
        return variants.load(name)
    try:
        variant = getattr(import_module(package), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"no variant at {name}: {error}") from None
    if not isinstance(variant, Variant):
        raise UsageError(f"{name} is no variant; give package:ATTRIBUTE of one")
    return variant


async def main(name: str, host: str = HOST) -> None:
    """Serve until told to stop."""
    allow_files()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    told = commands()
    variant = find(name)
    settings = variant.settings(Settings(**await anext(told)))
    async with variant.serve(variant.chat(settings), host, 0) as url:
        reply({"url": url})
        ends = {asyncio.create_task(stop.wait()), asyncio.create_task(_tell_use(told))}
        _, waiting = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()


async def _tell_use(told: AsyncIterator[dict[str, Any]]) -> None:
    # Asked of itself: from outside the kernel tells it in steps of 10 ms.
    async for _ in told:
        reply({"cpu_s": time.process_time(), "at_s": time.monotonic()})


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
