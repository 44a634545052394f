"""`labs bench --url` measures servers that are not ours, if they speak SPEC.md or the lesson."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from labs.bench import results, workload
from labs.bench.command import bench
from labs.bench.results import Result
from labs.bench.workload import Workload
from labs.errors import LabError, UsageError
from tests.foreign.conftest import Run, Serve

TALK = Workload(name="talk", clients=4, probes=2, duration_s=0.5, rate_per_s=20.0)


async def measured(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    """The result of a short run, made as the command makes it, beside this loop."""
    monkeypatch.setitem(workload.WORKLOADS, "talk", TALK)
    status = await asyncio.to_thread(bench, ["socketio"], ["talk"], out=folder, budget_s=1, url=url)
    assert status == 0
    return only_result(folder)


def only_result(folder: Path) -> Result:
    (path,) = folder.glob("*.json")
    return results.load(path)


async def test_a_server_of_the_lesson_on_node(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await run("lesson_server.mjs")
    result = await measured(await server.shows("url"), tmp_path, monkeypatch)
    assert [run.outcome.fates["delivered"] for run in result.runs] == [4 * 10, 4 * 14]
    assert all(run.server is None and run.valid for run in result.runs)
    tapped = result.runs[0].windows["steady"]
    assert tapped.of("down", "text") == result.runs[0].outcome.text_bytes
    assert not tapped.of(layer="opaque")


async def test_a_server_of_ours_that_runs_already(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve("socketio")
    result = await measured(server.url, tmp_path, monkeypatch)
    assert result.url == server.url
    assert all(run.valid for run in result.runs)


@pytest.mark.parametrize(
    ("url", "names", "error", "said"),
    [
        ("http://127.0.0.1:9", ["socketio"], LabError, "nobody answers at http://127.0.0.1:9"),
        ("ftp://127.0.0.1:9", ["socketio"], UsageError, "give one like http://127.0.0.1:30001"),
        ("http://127.0.0.1:9", [], UsageError, "name it with --variant"),
    ],
)
def test_what_cannot_be_reached_is_said_at_once(
    tmp_path: Path, url: str, names: list[str], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        bench(names, ["paced"], out=tmp_path, url=url)
    assert not list(tmp_path.iterdir())
