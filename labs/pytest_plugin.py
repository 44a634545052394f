"""A pytest plugin: benchmarks hand over their runs, and at the end there is a table and a report.

    pytest -p labs.pytest_plugin tests/benchmarks --labs-report=report.html

It is no entry point on purpose: an installed package that adds options to everybody's pytest,
in every project of that environment, is a nuisance. Whoever wants it names it, in `addopts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from labs.errors import UsageError

if TYPE_CHECKING:  # a run of pytest that measures nothing need not wait for these
    from labs.bench.results import Result, Run
    from labs.bench.workload import Workload

WIDTH = 80


class Collected:
    """What the benchmarks of a session measured. `workloads` are by name."""

    def __init__(self) -> None:
        self.begun_s = monotonic()
        self.workloads: dict[str, Workload] = {}
        self.methods: dict[str, tuple[str, str]] = {}
        self.runs: list[Run] = []
        self.seed = 0

    def keep(self, workload: Workload, *runs: Run, method: tuple[str, str], seed: int) -> None:
        """Remember the runs of a variant under a workload.

        `method` says how they were measured, in English and in Korean, and `seed` what chance
        was drawn from, for the report. Raises `UsageError` if other runs had another seed.
        """
        if self.runs and seed != self.seed:
            raise UsageError(f"seed is {seed}, and was {self.seed} before; a report has one")
        self.seed = seed
        self.workloads[workload.name] = workload
        self.methods[workload.name] = method
        self.runs.extend(runs)

    def result(self) -> Result:
        """Everything so far, as a result like those of `labs bench`."""
        from labs.bench import results

        return results.Result(
            format=results.FORMAT,
            made_at=results.now(),
            elapsed_s=monotonic() - self.begun_s,
            ended="",
            seed=self.seed,
            variants=list(dict.fromkeys(run.variant for run in self.runs)),
            workloads=list(self.workloads.values()),
            machine=results.this_machine(),
            versions=results.versions(),
            runs=self.runs,
        )


COLLECTED = pytest.StashKey[Collected]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--labs-report`."""
    parser.getgroup("labs").addoption(
        "--labs-report",
        metavar="FILE",
        default=None,
        help="Write the benchmarks' report to this HTML file.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a report that could not be written now, not when everything has been measured."""
    config.stash[COLLECTED] = Collected()
    path = _path(config)
    if path and (path.is_dir() or not path.parent.is_dir()):
        raise pytest.UsageError(f"--labs-report: {path} cannot be written; give a file's name")


@pytest.fixture
def labs_keep(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`labs_keep(workload, *runs, method=(english, korean), seed=seed)`: for table and report.

    The runs are `labs.bench.results.Run`s.
    """
    return request.config.stash[COLLECTED].keep


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The tables, and where the report is."""
    collected, path = config.stash[COLLECTED], _path(config)
    if collected.runs:
        result = collected.result()
        terminalreporter.section("one chat, over its transports")
        for line in _lines(result):
            terminalreporter.write_line(line)
        if path:
            terminalreporter.write_line(f"report: {_write(collected, result, path)}")
    elif path:
        terminalreporter.write_line("labs: nothing was measured, so there is no report")


def _path(config: pytest.Config) -> Path | None:
    given = config.getoption("--labs-report")
    return config.invocation_params.dir / given if given else None


def _write(collected: Collected, result: Result, path: Path) -> Path:
    from labs.bench import report
    from labs.bench.conditions import Method

    said = list(dict.fromkeys(collected.methods.values()))
    method = Method([english for english, _ in said], " ".join(korean for _, korean in said))
    return report.write(result, path, method)


def _lines(result: Result) -> Iterator[str]:
    from labs.bench.stats import warnings
    from labs.bench.table import caption, columns, parts, table

    for workload in result.workloads:
        for shown in parts(columns(result, workload)):
            yield from _printed(table(result, workload, shown))
        for english, _ in caption(result, workload):
            yield from _printed(english)
        yield ""
    for said in warnings(result):
        yield from _printed(f"warning: {said}")


def _printed(what: object) -> Sequence[str]:
    from rich.console import Console

    screen = Console(width=WIDTH, file=StringIO(), record=True)
    screen.print(what, markup=False, highlight=False)
    return [line.rstrip() for line in screen.export_text().splitlines()]
