"""Two network namespaces of Linux, each with one end of a TUN bridge, and nothing else in them.

A TUN device (Linux: Documentation/networking/tuntap.rst) is a network interface whose other
side is a file: what the kernel sends out at the interface is read from the file, one IP packet a
read, and what is written to the file the kernel receives at the interface. A file stays tied to
its interface when that is moved to another namespace, so that one process can hold both ends.

Nothing in a namespace reaches anything but the other one, so all pairs use the same addresses.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from labs.errors import LabError

TUN = Path("/dev/net/tun")
NAMED = Path("/run/netns")  # where ip-netns(8) keeps the names
SERVER, CLIENT = "10.77.0.1", "10.77.0.2"
PREFIX_BITS = 30
NO_METRICS = "/proc/sys/net/ipv4/tcp_no_metrics_save"
QUEUED_PACKETS = 10_000  # the kernel keeps so many for us; what is beyond it drops unseen

_SET_INTERFACE = 0x400454CA  # TUNSETIFF of linux/if_tun.h
_TUN, _NO_HEAD = 0x0001, 0x1000  # IFF_TUN, IFF_NO_PI
_NAME_BYTES = 16  # IFNAMSIZ


def name(role: str, pid: int) -> str:
    """The name of a namespace of ours: it says whose it is."""
    return f"labs-{pid}-{role}"


def enter(namespace: str) -> list[str]:
    """What to put before a command so that it runs in a namespace."""
    return ["ip", "netns", "exec", namespace]


@contextmanager
def bridged() -> Iterator[tuple[int, int]]:
    """The two namespaces of this process while inside: the server's and the client's files.

    Raises `LabError` if they cannot be made.
    """
    _sweep()
    with ExitStack() as stack:
        yield (
            stack.enter_context(_end(name("server", os.getpid()), SERVER)),
            stack.enter_context(_end(name("client", os.getpid()), CLIENT)),
        )


@contextmanager
def _end(namespace: str, address: str) -> Iterator[int]:
    """One namespace with its interface and its address while inside."""
    _ip("netns", "add", namespace)
    file = -1
    try:
        file, interface = _open()
        _ip("link", "set", "dev", interface, "netns", namespace)
        _ip(
            *("-n", namespace, "-batch", "-"),
            lines=(
                "link set dev lo up",
                # No IPv6 address: its own housekeeping would be packets that nobody sent.
                f"link set dev {interface} addrgenmode none txqueuelen {QUEUED_PACKETS}",
                f"address add {address}/{PREFIX_BITS} dev {interface}",
                f"link set dev {interface} up",
            ),
        )
        # What TCP has learnt of this path in one run must not help the next.
        _ip("netns", "exec", namespace, "sh", "-c", f"echo 1 > {NO_METRICS}")
        yield file
    finally:
        if file >= 0:
            os.close(file)
        _ip("netns", "delete", namespace)


def _open() -> tuple[int, str]:
    """A new TUN interface: its file and its name, which the kernel chooses."""
    import fcntl  # not on Windows, where this module tells only what it would need

    try:
        file = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        raise LabError(f"{TUN}: {error.strerror}") from None
    try:
        wanted = struct.pack(f"{_NAME_BYTES}sH22x", b"labs%d", _TUN | _NO_HEAD)
        made: bytes = fcntl.ioctl(file, _SET_INTERFACE, wanted)
    except OSError as error:
        os.close(file)
        raise LabError(f"no TUN interface can be made here: {error.strerror}") from None
    return file, made[:_NAME_BYTES].rstrip(b"\0").decode()


def _sweep() -> None:
    """Remove what a process that was killed has left: its namespaces bear its id."""
    for path in NAMED.glob("labs-*-*"):
        found = re.fullmatch(r"labs-(\d+)-(server|client)", path.name)
        if found and not Path("/proc", found[1]).exists():
            # Another process may be sweeping too, so that it is gone already is no error.
            subprocess.run(["ip", "netns", "delete", path.name], capture_output=True, check=False)


def _ip(*arguments: str, lines: tuple[str, ...] = ()) -> None:
    """Run ip(8); raises `LabError` with what it said if it fails."""
    done = subprocess.run(
        ["ip", *arguments], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip() or f"status {done.returncode}"
        raise LabError(f"ip {' '.join(arguments)}: {said}")
