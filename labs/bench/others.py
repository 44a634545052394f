"""How much of the machine other programs take."""

from __future__ import annotations

import psutil


def busy_s() -> float:
    """The time all cores have worked for others than this process and its children that ended."""
    machine, own = psutil.cpu_times(), psutil.Process().cpu_times()
    idle_s = machine.idle + getattr(machine, "iowait", 0.0)
    twice_s = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)
    ours_s = own.user + own.system + own.children_user + own.children_system
    busy_s: float = sum(machine) - idle_s - twice_s - ours_s
    return busy_s
