"""The machine, as far as it decides what can be measured on it."""

from __future__ import annotations

import os
import socket
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import psutil

HOST = "127.0.0.1"
SAMPLE_S = 0.5
OTHERS_MOST = 0.25  # cores: past this other programs show in a latency
SOCKETS = 3  # what a client may hold open at once: a poll, a send, and the one before it
ENDS = 2  # of each of these a relay holds both ends
SPARE_FILES = 100
PORTS_LEAST = 10_000
BACKLOG = 1_024  # connections that come at one instant
MEMORY_LEAST_BYTES = 1 << 30
LOOPBACK_MTU = 65_536
PACKAGES = (
    "aiohttp",
    "engineio",
    "h11",
    "hdrh",
    "matplotlib",
    "msgspec",
    "numpy",
    "socketio",
    "websockets",
)


class Finding(NamedTuple):
    """Something about the machine; `advice` where it should be otherwise.

    With a `fatal` one nothing can be measured at all; its advice is a sentence that says what
    to do.
    """

    label: str
    value: str
    advice: str = ""
    fatal: bool = False


def machine() -> list[Finding]:
    """Everything that is looked at; takes half a second, in which nothing of ours runs."""
    return [
        *others(),
        cores(),
        governor(),
        memory(),
        files(),
        ports(),
        loopback(),
        mtu(),
        congestion_control(),
        backlog(),
        packages(),
    ]


def others() -> list[Finding]:
    """What other programs do right now, and did in the last minute."""
    psutil.cpu_percent()
    processes = [each for each in psutil.process_iter() if each.pid != os.getpid()]
    for each in processes:
        _share(each)
    time.sleep(SAMPLE_S)
    busy = psutil.cpu_percent() / 100 * (psutil.cpu_count() or 1)
    most, name = max(((_share(each), _name(each)) for each in processes), default=(0.0, ""))
    value = f"{busy:.2f} cores" + (f", most of it {name}" if most > busy / 2 > 0.05 else "")
    advice = (
        "Other programs are at work: close them before measuring." if busy > OTHERS_MOST else ""
    )
    loads = ", ".join(f"{load:.2f}" for load in os.getloadavg())
    return [Finding("CPU taken by others, now", value, advice), Finding("load average", loads)]


def cores() -> Finding:
    """How many cores this process may use."""
    affine = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if affine else os.cpu_count() or 1
    few = "Server and generator share the core: latencies hold both." if count < 2 else ""
    return Finding("cores", str(count), few)


def governor() -> Finding:
    """How the cores' frequency is scaled."""
    label = "CPU governor"
    found = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    if found is None:
        return Finding(label, "not readable (a virtual machine?)")
    slow = "" if found == "performance" else "Frequency scaling adds noise; try `performance`."
    return Finding(label, found, slow)


def memory() -> Finding:
    """The memory that is free to be used."""
    found = psutil.virtual_memory()
    value = f"{found.available / 1e9:.1f} of {found.total / 1e9:.1f} GB available"
    little = found.available < MEMORY_LEAST_BYTES
    return Finding("memory", value, "Close other programs, or expect swapping." if little else "")


def files_needed(clients: int) -> int:
    """How many files the neediest process of a run opens: the relay between all its clients."""
    return clients * SOCKETS * ENDS + SPARE_FILES


def files() -> Finding:
    """The open-file limit: the hard one, up to which a process may raise its own."""
    import resource

    from labs.bench.workload import DEFAULT, WORKLOADS

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return Finding("open files", "no limit")
    least = files_needed(max(WORKLOADS[name].clients for name in DEFAULT))
    wanted = files_needed(max(each.clients for each in WORKLOADS.values()))
    value = f"{most:,} (hard limit)"
    if most < least:
        return Finding(
            "open files", value, f"Only {most:,} files may be open: {_raise(least)}", True
        )
    if most < wanted:
        return Finding("open files", value, f"Too few for the largest workloads: {_raise(wanted)}")
    return Finding("open files", value)


def ports() -> Finding:
    """The ports that outgoing connections get."""
    found = read("/proc/sys/net/ipv4/ip_local_port_range")
    if found is None:
        return Finding("ephemeral ports", "not readable")
    first, last = map(int, found.split())
    few = (
        "Many short connections may run out of ports: raise net.ipv4.ip_local_port_range."
        if last - first < PORTS_LEAST
        else ""
    )
    return Finding("ephemeral ports", f"{first:,} to {last:,}", few)


def loopback() -> Finding:
    """Whether this machine can be reached from itself."""
    try:
        with (
            socket.create_server((HOST, 0)) as server,
            socket.create_connection(server.getsockname(), timeout=5),
        ):
            return Finding("loopback", f"{HOST} answers")
    except OSError as error:
        advice = (
            f"{HOST} cannot be reached ({error.strerror or error}): bring the loopback interface "
            "up (Linux: ip link set lo up)."
        )
        return Finding("loopback", "does not answer", advice, True)


def mtu() -> Finding:
    """The largest packet of loopback: it decides how many segments there are."""
    found = next((it.mtu for name, it in psutil.net_if_stats().items() if name[:2] == "lo"), None)
    if found is None:
        return Finding("loopback MTU", "not readable")
    other = f"Usual on Linux is {LOOPBACK_MTU:,}; segments and throughput differ."
    return Finding("loopback MTU", f"{found:,}", "" if found == LOOPBACK_MTU else other)


def congestion_control() -> Finding:
    """Which algorithm decides over emulated networks."""
    found = read("/proc/sys/net/ipv4/tcp_congestion_control")
    return Finding("TCP congestion control", found or "not readable")


def backlog() -> Finding:
    """How many connections may wait to be accepted."""
    found = read("/proc/sys/net/core/somaxconn")
    if found is None:
        return Finding("somaxconn", "not readable")
    few = f"When all reconnect at once some are refused: raise net.core.somaxconn to {BACKLOG:,}."
    return Finding("somaxconn", f"{int(found):,}", few if int(found) < BACKLOG else "")


def packages() -> Finding:
    """The Python packages without which nothing can be measured."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if not missing:
        return Finding("Python packages", "all there")
    names = ", ".join(missing)
    advice = f"Python packages are missing ({names}): install the project again (pip install .)."
    return Finding("Python packages", f"without {names}", advice, True)


def read(path: str) -> str | None:
    """What the kernel says in a file, None where it does not."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _raise(files: int) -> str:
    return f"raise the limit to {files:,} (ulimit -Hn {files}, as root; or in limits.conf)."


def _share(process: psutil.Process) -> float:
    try:
        return float(process.cpu_percent()) / 100
    except psutil.Error:
        return 0.0  # it has ended, or is not ours to look at


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return "a program that has ended"
