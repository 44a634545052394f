"""The page and its files, by URL path: the same bytes whichever library serves them."""

from __future__ import annotations

import mimetypes
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

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
        self._page = Path(settings.page).resolve() if settings.page else None
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
        if self._page:
            return _own(self._page, path)
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


def _own(page: Path, path: str) -> Asset | None:
    # Somebody's own page may have scripts in it, so our security policy is not for it.
    name = unquote(path).lstrip("/") or "index.html"
    if "\0" in name:
        return None
    file = page.joinpath(name).resolve()
    if not file.is_relative_to(page) or not file.is_file():
        return None
    return Asset(file.read_bytes(), {"Content-Type": _type(file), "Cache-Control": "no-cache"})


@cache
def _names() -> frozenset[str]:
    return frozenset(file.name for file in WEB.iterdir() if file.is_file())


def read(file: Path) -> Asset:
    """A file with its headers; raises `OSError` if it is not there."""
    return Asset(file.read_bytes(), _headers(_type(file)))


def _type(file: Path) -> str:
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def _headers(content_type: str) -> dict[str, str]:
    return {
        "Content-Type": content_type,
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
