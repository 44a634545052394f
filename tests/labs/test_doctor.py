"""`labs doctor`: what it says, and when it says that nothing can be measured."""

from __future__ import annotations

import re
import resource
import shutil
import socket
from importlib import util
from typing import Any

import psutil
import pytest
from rich.cells import cell_len

from labs.bench import doctor_machine, doctor_parts, floor
from labs.bench.doctor import TITLE, TITLE_MACHINE, TITLE_PARTS, doctor
from labs.bench.doctor_machine import Finding, files_needed, machine
from labs.bench.doctor_parts import parts
from labs.bench.floor import Clock, FanOut, Floor, Lateness, RoundTrips
from labs.bench.workload import DEFAULT, WORKLOADS
from labs.errors import LabError

PROGRAMS = ("Chromium", "node", "npm", "curl", "tshark", "ethtool", "iproute2", "Korean fonts")


def a_floor(slower: float = 1.0) -> Floor:
    """The floor of some quiet machine, or of one so many times slower."""
    raw = RoundTrips(900, 20.0, 60.0 * slower, 150.0 * slower)
    framed = RoundTrips(900, 25.0, 70.0 * slower * slower, 170.0 * slower * slower)
    timer = Lateness(150, 2.0, 5.0 * slower, 9.0 * slower)
    fanout = FanOut(100, 66, 45_000, 0.15 * slower, 0.9, 0.8)
    tapped = RoundTrips(900, 40.0, 60.0 * slower + 20.0 * slower**3, 200.0 * slower)
    return Floor("asyncio", True, raw, framed, timer, fanout, Clock(9, 50, 70.0), tapped)


@pytest.fixture(autouse=True)
def _glance(monkeypatch: pytest.MonkeyPatch) -> None:
    """How busy the machine is does not matter here."""
    monkeypatch.setattr(doctor_machine, "SAMPLE_S", 0.01)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check is made, but the floor is one measured elsewhere."""

    async def measure() -> Floor:
        return a_floor()

    monkeypatch.setattr(floor, "measure", measure)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be measured: it could not work."""

    async def measure() -> Floor:
        raise AssertionError("measured on a machine where that cannot work")

    monkeypatch.setattr(floor, "measure", measure)


def words(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, with its lines joined."""
    return " ".join(capsys.readouterr().out.split())


def limit_files(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (min(most, 64), most))


def found(label: str) -> Finding:
    return next(each for each in machine() if each.label == label)


def test_measures_and_says_that_it_can(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor() == 0
    said = words(capsys)
    for title in (TITLE, TITLE_MACHINE, TITLE_PARTS, "labs bench can run here."):
        assert title in said
    assert re.search(r"n = [\d,]+ deliveries in [\d.]+ s, all checked", said)


@pytest.mark.usefixtures("quiet")
def test_fits_into_eighty_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("PATH", "")  # the most to be said
    doctor()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert not [line for line in lines if "…" in line]


@pytest.mark.usefixtures("quiet")
def test_names_what_is_missing_and_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert doctor() == 0
    said = words(capsys)
    for part in parts():
        if part.name in PROGRAMS:
            assert not part.present
            assert part.remedy.startswith("apt install ")
        assert (part.advice in said) == (not part.present)


def test_a_program_on_the_path_is_not_missing(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not any(part.present for part in parts() if part.name in PROGRAMS)
    for program in ("google-chrome", "tshark"):
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    present = {part.name for part in parts() if part.present and part.name in PROGRAMS}
    assert present == {"Chromium", "tshark"}


def test_fonts_that_cannot_be_listed_are_missing(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    listing = tmp_path / "fc-list"
    for script, present in (("echo Noto", True), ("echo", False), ("exit 1", False)):
        listing.write_text(f"#!/bin/sh\n{script}\n")
        listing.chmod(0o755)
        assert doctor_parts.fonts().present is present


@pytest.mark.usefixtures("unmeasured")
def test_too_few_files_for_the_default_workloads(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_files(monkeypatch, 100)
    assert doctor() == 1
    said = words(capsys)
    needed = files_needed(max(WORKLOADS[name].clients for name in DEFAULT))
    assert f"Only 100 files may be open: raise the limit to {needed:,}" in said
    assert "labs bench cannot run here." in said
    assert f"{TITLE}: not measured" in said


@pytest.mark.usefixtures("quiet")
def test_too_few_files_for_the_largest_workloads_is_advice(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_files(monkeypatch, 1_024)
    assert doctor() == 0
    assert "Too few for the largest workloads" in words(capsys)


@pytest.mark.parametrize("most", [1 << 20, resource.RLIM_INFINITY])
def test_files_enough(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_files(monkeypatch, most)
    assert not doctor_machine.files().advice


@pytest.mark.usefixtures("unmeasured")
def test_no_loopback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr(socket, "create_server", refuse)
    assert doctor() == 1
    assert "bring the loopback interface up" in words(capsys)


@pytest.mark.usefixtures("unmeasured")
def test_no_packages(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    find = util.find_spec
    monkeypatch.setattr(
        doctor_machine, "find_spec", lambda name: None if name in ("h11", "hdrh") else find(name)
    )
    assert doctor() == 1
    assert "Python packages are missing (h11, hdrh): install the project again" in words(capsys)


def test_a_measurement_that_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def measure() -> Floor:
        raise LabError("the probe of the floor ended with status 1")

    monkeypatch.setattr(floor, "measure", measure)
    assert doctor() == 1
    assert "The self-measurement failed (the probe of the floor ended" in words(capsys)


def test_a_slow_machine_is_no_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def measure() -> Floor:
        return a_floor(slower=1_000.0)

    monkeypatch.setattr(floor, "measure", measure)
    assert doctor() == 0
    said = words(capsys)
    for label in (
        "TCP, raw",
        "WebSocket, generator",
        "TCP, raw, one to 100",
        "timer error, generator",
    ):
        assert f"{label}: " in said


@pytest.mark.usefixtures("quiet")
def test_a_quiet_machine_is_told_nothing_of_the_floor(capsys: pytest.CaptureFixture[str]) -> None:
    doctor()
    assert "TCP, raw: " not in words(capsys)


def test_other_programs_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda: 4)
    for percent, busy in ((50.0, True), (1.0, False)):
        monkeypatch.setattr(psutil, "cpu_percent", lambda percent=percent: percent)
        now, _ = doctor_machine.others()
        assert now.value.startswith(f"{percent / 100 * 4:.2f} cores")
        assert bool(now.advice) is busy


def test_what_the_kernel_does_not_tell_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "read", lambda _: None)
    for each in machine():
        if "not readable" in each.value:
            assert not each.advice
    assert found("somaxconn").value == "not readable"


@pytest.mark.parametrize(
    ("label", "text", "advised"),
    [
        ("ephemeral ports", "32768\t60999", False),
        ("ephemeral ports", "32768\t33000", True),
        ("somaxconn", "4096", False),
        ("somaxconn", "128", True),
        ("CPU governor", "performance", False),
        ("CPU governor", "powersave", True),
    ],
)
def test_kernel_settings(
    label: str, text: str, advised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = {
        "ephemeral ports": doctor_machine.ports,
        "somaxconn": doctor_machine.backlog,
        "CPU governor": doctor_machine.governor,
    }
    monkeypatch.setattr(doctor_machine, "read", lambda _: text)
    assert bool(checks[label]().advice) is advised


def test_every_part_says_what_it_is_for() -> None:
    names = [part.name for part in parts()]
    assert len(set(names)) == len(names)
    assert set(PROGRAMS) < set(names)
    for part in parts():
        assert part.purpose
        assert part.advice.startswith(f"{part.name}: ")
        assert "; without it " in part.advice


def test_programs_are_asked_for_by_their_own_names() -> None:
    by_name = {part.name: part.present for part in parts()}
    assert by_name["iproute2"] == (shutil.which("ip") is not None)
    assert by_name["uvloop"] == (util.find_spec("uvloop") is not None)
