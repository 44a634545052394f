"""Recording on purpose: a tap in front of a server, until somebody presses Ctrl-C.

Server and tap are processes of their own, as where bytes are counted: neither waits for the other.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from labs.errors import LabError, UsageError
from labs.running import stop_signals
from labs.variants import VARIANTS, load
from labs.wire.control import Child, child, while_alive
from labs.wire.recording import Recording
from labs.wire.recording import load as load_recording

HOST = "127.0.0.1"
CONNECT_S = 5.0  # how long a server may take to accept a connection
START_S = 20.0  # ... and a process to start
SAVE_S = 60.0

Address = tuple[str, int]


async def record(target: str, file: Path, announce: Callable[[str], None]) -> Recording:
    """Record what passes between clients and a server; `target` is a URL or a variant's name.

    A variant is started, at a port the system chooses. `announce` is given the URL to go to.
    Ends at SIGINT or SIGTERM; what passed is written to `file` then. Raises `UsageError` for
    an unknown name, another scheme than http or ws, or a file that is no place to write to;
    `LabError` if nobody answers at the URL.
    """
    _check(file)
    with stop_signals() as stop:
        async with _server(target) as (title, address, others), _tap(*address) as (tap, port):
            announce(f"http://{HOST}:{port}")
            await while_alive(stop.wait(), tap, *others)
            await tap.ask({"record": str(file), "title": title}, SAVE_S)
    return load_recording(file)


def summary(recording: Recording, file: Path) -> str:
    """One line: how much was recorded."""
    size = sum(len(event.data) for event in recording.events)
    connections = sum(event.kind == "opened" for event in recording.events)
    on = f"{connections:,} connection{'' if connections == 1 else 's'}"
    return f"{size:,} bytes on {on} are in {file}."


def _check(file: Path) -> None:
    # Not after an hour of recording.
    if not file.parent.is_dir() or file.is_dir():
        raise UsageError(f"{file} cannot be written; name a file in a folder that exists")


@asynccontextmanager
async def _server(target: str) -> AsyncIterator[tuple[str, Address, list[Child]]]:
    """What is recorded, where it is, and the process it runs in if that is ours."""
    if "://" in target:
        yield target, await _reached(target), []
        return
    if target not in VARIANTS and ("." in target or ":" in target or "/" in target):
        raise UsageError(f"{target!r} is no name of `labs list`; a URL begins with http://")
    title = load(target).title
    async with child(f"the {target} server", "labs.bench.host", target) as process:
        url = (await process.ask({}, START_S))["url"]
        yield title, (HOST, urlsplit(url).port or 80), [process]


@asynccontextmanager
async def _tap(host: str, port: int) -> AsyncIterator[tuple[Child, int]]:
    async with child("the tap", "labs.wire.tap", host, str(port)) as tap:
        yield tap, (await tap.hear(START_S))["port"]


async def _reached(url: str) -> Address:
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if parts.scheme not in ("http", "ws") or not host:
        raise UsageError(f"{url!r} cannot be recorded; give a URL like http://127.0.0.1:3000")
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        number = getattr(error, "errno", None) or 0
        # asyncio puts its own words around the system's; a failed look-up has none of those.
        why = os.strerror(number) if number > 0 else str(error) or f"not within {CONNECT_S:g} s"
        raise LabError(f"nobody answers at {url}: {why}; start the server first") from None
    writer.close()
    return host, port
