"""Results: what was measured, where and how, as JSON that is written once and never changed."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import msgspec
import psutil

import labs
from labs.bench.floor import Floor
from labs.bench.record import Outcome
from labs.bench.soundness import check
from labs.bench.workload import Workload
from labs.errors import LabError, UsageError
from labs.net.line import Passed
from labs.net.shaping import Shaping
from labs.wire.traffic import Segments, Traffic

FORMAT = 2
PACKAGES = ("aiohttp", "websockets", "python-socketio", "python-engineio", "hdrhistogram")

Kind = Literal["bytes", "latency"]


class ServerUse(msgspec.Struct, frozen=True):
    """What a server used: `cpu` in cores over `window_s`, memory in bytes (RSS)."""

    cpu: float
    empty_bytes: int  # before anyone joined
    full_bytes: int  # at the end of the window


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one variant under one workload: the unit of every statistic.

    A `bytes` run goes through the tap and has `windows`: what passed while everyone joined,
    waited (until the schedule began), in the `steady` window and while everyone left; a
    `latency` run has no tap and was alone. `predicted` is what the closed form says of the
    steady window, by `labs.wire.traffic.cell`; `predicted_each` of one `handshake`, `message`,
    `delivery` and `idle_minute`, by direction and layer; `causes` say why what was measured
    differs, if it does. `server` is None where the server is not ours to look into. `passed` is
    what the network between did, `up` and `down`, from the first join to the end of the drain.
    `others_cpu` is the cores other programs took meanwhile.
    """

    workload: str
    variant: str
    kind: Kind
    number: int
    started_at: str
    window_s: float  # in which `server` and `others_cpu` were taken: the schedule's and its lead
    steady_s: float  # from the first moment of the schedule to the end of the tail or the drain
    outcome: Outcome
    server: ServerUse | None
    others_cpu: float
    log: list[str]
    windows: dict[str, Traffic] = {}
    segments: Segments | None = None  # TCP's own, on the clients' side of the tap
    predicted: dict[str, float] = {}
    predicted_each: dict[str, dict[str, float]] = {}
    causes: list[str] = []
    passed: dict[str, Passed] = {}

    @property
    def valid(self) -> bool:
        """Whether nothing was lost, duplicated, reordered or made up."""
        return not self.outcome.wrong


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured."""

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    kernel: str
    governor: str = ""  # of the cores' clock rate; empty where it cannot be read


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `labs bench` measured at one time. `ended` says what ended it before its time.

    `floor` is what the instrument measured of itself and of the bare loopback before; `shaping`
    the network that was emulated, nominal and as measured; `url` the server, where it was not
    started for this; `budget_s` the time it was given, where it was given one.
    """

    format: int
    made_at: str
    elapsed_s: float
    ended: str
    seed: int
    variants: list[str]
    workloads: list[Workload]
    machine: Machine
    versions: dict[str, str]
    runs: list[Run]
    floor: Floor | None = None
    shaping: Shaping | None = None
    url: str = ""
    budget_s: float | None = None

    def of(self, workload: str, variant: str, kind: Kind | None = None) -> list[Run]:
        """The runs of one variant under one workload."""
        return [
            run
            for run in self.runs
            if (run.workload, run.variant) == (workload, variant) and kind in (None, run.kind)
        ]


def now() -> str:
    """The present time, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def this_machine() -> Machine:
    """The machine this runs on."""
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _cores(),
        memory_bytes=psutil.virtual_memory().total,
        system=_system(),
        kernel=f"{platform.system()} {platform.release()}",
        governor=_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    )


def versions() -> dict[str, str]:
    """What was measured, by version."""
    return {
        "this project": labs.__version__,
        "Python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def check_folder(out: Path) -> None:
    """Make a folder for results; raises `UsageError` where nothing can be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}; give another folder") from None
    if not os.access(out, os.W_OK):
        raise UsageError(f"{out} cannot be written to; give another folder")


def save(result: Result, folder: Path) -> Path:
    """Write a result into a new file named by the time; answers its path.

    Raises `LabError` when it cannot be written, or a file of that second exists.
    """
    stamp = result.made_at.replace(":", "").replace("-", "").replace("+0000", "Z")
    path = folder / f"{stamp}.json"
    data = msgspec.json.format(msgspec.json.encode(result), indent=1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data + b"\n")
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}") from None
    return path


def load(path: Path) -> Result:
    """Read a result; raises `LabError` for one of another format version, or none at all."""
    try:
        data = path.read_bytes()
        found = msgspec.json.decode(data)
        _check_format(found)
        result = msgspec.json.decode(data, type=Result)
        check(result)
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}") from None
    except (LabError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise LabError(f"{path} is no result that can be read: {error}") from None
    return result


def _check_format(found: Any) -> None:
    number = found.get("format") if isinstance(found, dict) else None
    if number is None:
        raise LabError("it names no format, as those of labs bench do")
    if number != FORMAT:
        raise LabError(
            f"it has format {number}; this version reads format {FORMAT}, so measure again"
        )


def _cores() -> int:
    return os.cpu_count() or 1


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # No /proc: the platform module knows less, but something.
    return platform.processor() or platform.machine()


def _line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.platform())
    except OSError:
        return platform.platform()
