"""Servers of ours for clients of others, and node with the packages those need."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from labs.settings import Settings
from labs.variants import load
from tests.contract.line import Line
from tests.contract.town import Person, Server
from tests.foreign.script import Script
from tests.need import need

HERE = Path(__file__).parent
PINNED = re.search(
    r'SOCKET_IO_CLIENT = "(.+)"', (HERE.parents[1] / "hatch_build.py").read_text("utf-8")
)
NPM_TIMEOUT_S = 120
SETTINGS = Settings(
    interval_s=0.05,
    hold_s=1.0,
    heartbeat_s=1.0,
    timeout_s=10.0,
    lease_s=10.0,
    drain_s=0.2,
    rate_per_s=1e6,
    rate_burst=1_000_000,
)
JS = {
    "default": {},
    "websocket": {"transports": ["websocket"]},
    "polling": {"transports": ["polling"]},
}
"""The three transport settings of the official JavaScript client."""

Serve = Callable[..., Awaitable[Server]]
Run = Callable[..., Awaitable[Script]]
Arrive = Callable[..., Awaitable[Person]]
Lay = Callable[[Server], Awaitable[Line]]


@pytest.fixture(scope="session")
def scripts(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts and `node_modules`; npm runs when its cache has not got them."""
    need(shutil.which("node"), "node is needed for JavaScript clients (Debian: apt install nodejs)")
    need(shutil.which("npm"), "npm is needed for JavaScript clients (Debian: apt install npm)")
    assert PINNED
    assert pytestconfig.cache
    cache = pytestconfig.cache.mkdir(f"socket.io-{PINNED[1]}")
    if not (cache / "installed").exists():
        _install(cache, [f"{package}@{PINNED[1]}" for package in ("socket.io-client", "socket.io")])
    folder = tmp_path_factory.mktemp("scripts")
    for script in HERE.glob("*.mjs"):
        shutil.copy(script, folder)
    (folder / "node_modules").symlink_to(cache / "node_modules")
    return folder


def _install(folder: Path, packages: list[str]) -> None:
    (folder / "package.json").write_text(json.dumps({"private": True}), "utf-8")
    command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *packages]
    done = subprocess.run(
        command, cwd=folder, check=False, capture_output=True, text=True, timeout=NPM_TIMEOUT_S
    )
    need(done.returncode == 0, f"npm could not install {packages}: {done.stderr[-300:]}")
    (folder / "installed").touch()


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Serve]:
    """A function that serves a variant, with some settings changed, until the test ends."""
    async with AsyncExitStack() as running:

        async def start(name: str = "socketio", **changes: object) -> Server:
            server = Server(load(name), SETTINGS.but(**changes), None)
            await server.start()
            running.push_async_callback(server.stop)
            return server

        yield start


@pytest_asyncio.fixture
async def line(serve: Serve) -> AsyncIterator[Lay]:
    """A function that lays a line to a server."""
    async with AsyncExitStack() as lines:

        async def lay(server: Server) -> Line:
            line = Line(server.url)
            await line.start()
            lines.push_async_callback(line.stop)
            return line

        yield lay


@pytest_asyncio.fixture
async def run(line: Lay, scripts: Path) -> AsyncIterator[Run]:
    """A function that runs one of the scripts until the test ends."""
    node = shutil.which("node") or ""
    async with AsyncExitStack() as running:

        async def start(name: str, *arguments: object) -> Script:
            script = Script(node, str(scripts / name))
            await script.start(*arguments)
            running.push_async_callback(script.stop)
            return script

        yield start


@pytest_asyncio.fixture
async def arrive(serve: Serve) -> AsyncIterator[Arrive]:
    """A function that brings somebody in on our own Python client."""
    async with AsyncExitStack() as present:

        async def join(server: Server, name: str) -> Person:
            person = Person(server.variant, server.url, server.settings, name)
            await person.join()
            present.push_async_callback(person.leave)
            return person

        yield join
