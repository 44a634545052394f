"""The page and its files, by URL path: the same bytes whichever library serves them."""

from __future__ import annotations

import mimetypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from labs.settings import Settings

WEB = Path(__file__).parent / "web"
VENDOR = WEB / "vendor"
"""What the build fetched from npm: the official Socket.IO client."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class Asset(NamedTuple):
    """A file as it is served: `headers` hold the type and the page's security policy."""

    body: bytes
    headers: dict[str, str]


class Pages:
    """What a browser may fetch from the server of the variant whose `server.py` is given."""

    def __init__(self, server_file: str, settings: Settings) -> None:
        self._folder = Path(server_file).parent
        self._shown = {
            "variant": self._folder.name.removesuffix("_chat"),
            "room": settings.room,
            "interval_s": settings.interval_s,
            "timeout_s": settings.timeout_s,
            "path": settings.path,
            "transports": settings.transports,
            "name_chars": settings.name_chars,
            "text_chars": settings.text_chars,
        }

    def find(self, path: str) -> Asset | None:
        """The file at a URL path, None if there is none."""
        if path == "/":
            return read(WEB / "index.html")
        if path == "/client.js":
            return read(self._folder / "client.js")
        if path == "/settings.json":
            return Asset(msgspec.json.encode(self._shown), _headers("application/json"))
        folder, _, name = path.rpartition("/")
        if folder == "/web" and name in _names():
            return read(WEB / name)
        return None


@cache
def _names() -> frozenset[str]:
    return frozenset(file.name for file in WEB.iterdir() if file.is_file())


def read(file: Path) -> Asset:
    """A file with its headers; raises `OSError` if it is not there."""
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return Asset(file.read_bytes(), _headers(f"{kind}; charset=utf-8"))


def _headers(content_type: str) -> dict[str, str]:
    return {
        "Content-Type": content_type,
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
