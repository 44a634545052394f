"""Programs and rights that only some parts of the lab need, and what is lost without them."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from typing import NamedTuple

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TUN = "/dev/net/tun"
LIST_S = 20.0  # the first listing of all fonts builds a cache


class Part(NamedTuple):
    """Something optional: whether it is `present`, what it is for, how to get it."""

    name: str
    present: bool
    purpose: str
    remedy: str
    without: str

    @property
    def advice(self) -> str:
        """One sentence on what to do, and why."""
        return f"{self.name}: {self.remedy}; without it {self.without}."


def parts() -> list[Part]:
    """Everything optional, present or not."""
    return [*programs(), *network(), uvloop(), fonts()]


def programs() -> list[Part]:
    """Browsers and foreign clients."""
    return [
        Part(
            "Chromium",
            any(map(shutil.which, BROWSERS)),
            "tests in a browser, its profile",
            "apt install chromium",
            "the browser tests do not run and the chromium profile cannot be measured anew",
        ),
        Part(
            "node",
            _there("node"),
            "clients in JavaScript",
            "apt install nodejs",
            "the tests with foreign clients do not run",
        ),
        Part(
            "npm",
            _there("npm"),
            "the Socket.IO browser client",
            "apt install npm",
            "an installation from source has no Socket.IO client for the browser",
        ),
        Part(
            "nginx",
            shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is not None,
            "the buffering proxy",
            "apt install nginx-light",
            "that claim cannot be tried",
        ),
        Part(
            "curl",
            _there("curl"),
            "the HTTP routes by hand",
            "apt install curl",
            "the tests with curl do not run",
        ),
    ]


def network() -> list[Part]:
    """What looks into packets, and what makes networks."""
    captured = "the byte counts cannot be checked against a packet capture"
    emulated = "networks are emulated by the relay: no loss, no handshake's round trips"
    return [
        Part("tshark", _there("tshark"), "packet captures", "apt install tshark", captured),
        Part(
            "ethtool",
            _there("ethtool"),
            "captures of true segments",
            "apt install ethtool",
            "offloads stay on, and segments cannot be counted in a capture",
        ),
        Part(
            "iproute2",
            _there("ip"),
            "network namespaces",
            "apt install iproute2",
            emulated,
        ),
        Part(
            "root",
            hasattr(os, "geteuid") and os.geteuid() == 0,
            "captures, namespaces",
            "run these parts as root",
            f"{captured}, and {emulated}",
        ),
        Part(
            TUN,
            os.access(TUN, os.R_OK | os.W_OK),
            "networks with real TCP",
            "load the module (modprobe tun), or give the container the device",
            emulated,
        ),
    ]


def uvloop() -> Part:
    """The faster event loop."""
    return Part(
        "uvloop",
        find_spec("uvloop") is not None,
        "a quicker generator",
        "pip install uvloop",
        "the generator runs on asyncio's own loop and reaches its limit sooner",
    )


def fonts() -> Part:
    """Fonts with Korean letters."""
    return Part(
        "Korean fonts",
        _korean(),
        "Korean in pictures, browsers",
        "apt install fontconfig fonts-noto-cjk",
        "Korean text in screenshots and printed reports is empty boxes",
    )


def _there(program: str) -> bool:
    return shutil.which(program) is not None


def _korean() -> bool:
    program = shutil.which("fc-list")
    if program is None:
        return False
    try:
        found = subprocess.run([program, ":lang=ko"], capture_output=True, timeout=LIST_S)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return bool(found.stdout.strip())
