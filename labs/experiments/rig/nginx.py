"""nginx as one more process of an experiment, with a configuration of its own.

The system's nginx, if one runs, is left alone: this one has its own folder, its own port and its
own processes, which end with the experiment.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

from labs.errors import LabError

HOST = "127.0.0.1"
ADMINISTRATORS = "/usr/local/sbin:/usr/sbin"  # which are not on everybody's PATH
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
START_S = 10.0
STOP_S = 5.0


class Location(NamedTuple):
    """What stands behind a path: the URL of a server, and directives on the way to it."""

    url: str
    directives: Sequence[str] = ()


def program() -> str:
    """Where nginx is; raises `LabError` with what to install."""
    path = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:{ADMINISTRATORS}")
    if path is None:
        raise LabError("this needs nginx (Debian: apt install nginx-light)")
    return path


def configuration(folder: Path, port: int, locations: Mapping[str, Location]) -> str:
    """What nginx is told; `folder` is for its files, a location's name is a folder of its URL."""
    files = "\n".join(f"  {name}_temp_path {folder / name};" for name in TEMPORARY)
    places = "\n".join(_place(name, location) for name, location in locations.items())
    # Its worker would be another user, and not be let into the folder.
    user = "" if os.geteuid() else "user root;\n"
    return (
        f"daemon off;\n{user}pid {folder / 'pid'};\nerror_log stderr;\n"
        f"events {{}}\nhttp {{\n  access_log off;\n{files}\n"
        f"  server {{\n    listen {HOST}:{port};\n{places}\n  }}\n}}\n"
    )


def _place(name: str, location: Location) -> str:
    lines = (
        f"proxy_pass http://{urlsplit(location.url).netloc}/",
        "proxy_http_version 1.1",
        *location.directives,
    )
    return f"    location /{name}/ {{\n" + "".join(f"      {line};\n" for line in lines) + "    }"


def _written(folder: Path, port: int, locations: Mapping[str, Location]) -> Path:
    file = folder / "nginx.conf"
    file.write_text(configuration(folder, port, locations))
    return file


@asynccontextmanager
async def proxying(locations: Mapping[str, Location]) -> AsyncIterator[str]:
    """Run nginx while inside; yields its URL.

    Raises `LabError` when it is not installed, or does not take what it is told.
    """
    path = program()
    with tempfile.TemporaryDirectory() as name:
        # It takes over a socket that listens, as from an nginx before it: so nobody else can
        # take the port after it was chosen, and no client comes too early.
        with socket.create_server((HOST, 0)) as listening:
            port = listening.getsockname()[1]
            file = _written(Path(name), port, locations)
            process = await asyncio.create_subprocess_exec(
                *(path, "-p", name, "-c", str(file), "-e", "stderr"),
                env={**os.environ, "NGINX": f"{listening.fileno()};"},
                pass_fds=[listening.fileno()],
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        assert process.stderr
        log = asyncio.create_task(process.stderr.read())
        try:
            await _answers(f"http://{HOST}:{port}/", process, log)
            yield f"http://{HOST}:{port}"
        finally:
            await _stop(process)
            await log


async def _answers(url: str, process: asyncio.subprocess.Process, log: asyncio.Task[bytes]) -> None:
    try:
        timeout = aiohttp.ClientTimeout(START_S)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url):
            return
    except TimeoutError:
        raise LabError(f"nginx did not answer within {START_S:g} s") from None
    except aiohttp.ClientError:
        await process.wait()
        said = (await log).decode(errors="replace").strip().splitlines() or ["nothing"]
        raise LabError(f"nginx did not start, and said: {said[-1]}") from None


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)  # its worker too
        await process.wait()
