"""The pytest plugin: what benchmarks hand over becomes a table and a report."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

PLUGIN = ("-p", "labs.pytest_plugin", "-p", "no:cacheprovider")
BENCHMARK = """
import pytest
from labs.bench.workload import WORKLOADS
from tests.labs.made import run, timed

@pytest.mark.parametrize("name", {names})
def test_one(labs_keep, name):
    ms = 1 if name == "socketio" else 2
    runs = [run("bytes", variant=name), *timed(ms, ms, ms, variant=name)]
    labs_keep(WORKLOADS["paced"], *runs, method=("By hand.", "손으로."), seed={seed})
"""
FIVE = ["polling", "longpolling", "streaming", "websocket", "socketio"]


@pytest.fixture
def inner(pytester: pytest.Pytester, request: pytest.FixtureRequest) -> pytest.Pytester:
    """A folder of tests of its own, which can import what this one can."""
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    return pytester


def run(inner: pytest.Pytester, *arguments: str, names: list[str] | None = None) -> list[str]:
    inner.makepyfile(BENCHMARK.format(names=names or FIVE, seed=7))
    done = inner.runpytest_subprocess(*PLUGIN, *arguments, timeout=100)
    assert done.ret == 0, done.stderr.str()
    return list(done.outlines)


def test_the_table_of_the_five_is_printed_and_the_report_written(inner: pytest.Pytester) -> None:
    lines = run(inner, "--labs-report=report.html")
    cells = [line.split() for line in lines]
    assert FIVE in cells
    assert ["latency", "p50,", "ms", *["2.00"] * 4, "1.00"] in cells
    page = inner.path / "report.html"
    assert f"report: {page}" in lines
    assert page.read_text("utf-8").count("<p>By hand.</p>") == 1
    assert "<dt>Seed</dt><dd>7</dd>" in page.read_text("utf-8")


def test_benchmarks_of_different_seeds_have_no_common_report(inner: pytest.Pytester) -> None:
    inner.makepyfile(BENCHMARK.format(names=FIVE[:2], seed="len(name)"))
    done = inner.runpytest_subprocess(*PLUGIN, timeout=100)
    done.assert_outcomes(passed=1, failed=1)
    assert "seed is 11, and was 7 before; a report has one" in done.stdout.str()


def test_more_than_five_stand_in_tables_of_their_own(inner: pytest.Pytester) -> None:
    more = [f"other{number}" for number in range(6)]
    cells = [line.split() for line in run(inner, names=["other9", *FIVE, *more])]
    assert FIVE in cells
    assert ["other9", *more[:4]] in cells
    assert more[4:] in cells
    assert ["p50,", "x", "fastest", "2.00", "2.00"] in cells, "the fastest is in another table"


def test_without_measurements_there_is_no_table_and_no_report(inner: pytest.Pytester) -> None:
    inner.makepyfile("def test_nothing(): pass")
    done = inner.runpytest_subprocess(*PLUGIN, "--labs-report=report.html", timeout=100)
    assert "labs: nothing was measured, so there is no report" in done.outlines
    assert not (inner.path / "report.html").exists()


@pytest.mark.parametrize("where", [".", "none/report.html"])
def test_a_report_that_cannot_be_written_is_refused_at_once(
    inner: pytest.Pytester, where: str
) -> None:
    inner.makepyfile("def test_nothing(): pass")
    done = inner.runpytest_subprocess(*PLUGIN, f"--labs-report={where}", timeout=100)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "cannot be written; give a file's name" in done.stderr.str()
