"""`labs bench --url`: what is said of a URL that is none, of the wrong server, of one that dies."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from labs.bench import command, comparison, results, workload
from labs.bench.floor import measure as measure_floor
from labs.bench.results import Result, Run
from labs.bench.there import Distant
from labs.bench.workload import Workload
from labs.errors import LabError, UsageError

LONG = Workload(name="talk", clients=2, probes=0, duration_s=15.0, rate_per_s=4.0, tail_s=0.0)
SHORT = LONG.but(duration_s=0.5, rate_per_s=20.0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "measure_floor", partial(measure_floor, share_s=0.02))
    monkeypatch.setitem(workload.WORKLOADS, "talk", SHORT)


@contextmanager
def serving(name: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server of ours as somebody else's: its URL, and its process."""
    server = subprocess.Popen(
        [sys.executable, "-m", "labs.bench.host", name],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdin
        assert server.stdout
        server.stdin.write("{}\n")
        server.stdin.flush()
        yield json.loads(server.stdout.readline())["url"], server
    finally:
        server.kill()
        server.communicate()


def after_the_first_run(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
    class Bar(command.Bar):
        def made(self, run: Run) -> None:
            do()

    monkeypatch.setattr(command, "Bar", Bar)


def only_result(folder: Path) -> Result:
    (path,) = folder.glob("*.json")
    return results.load(path)


def measured(url: str, name: str, out: Path) -> int:
    return command.bench([name], ["talk"], out=out, budget_s=1, url=url)


@pytest.mark.parametrize(
    "url",
    ["", "http://", "http://127.0.0.1:99999", "http://127.0.0.1:0", "http://a:b", "http://[1"],
)
def test_what_is_no_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match=rf"url is {re.escape(repr(url))}; give one like"):
        measured(url, "websocket", tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_empty_url_is_refused_on_the_command_line(tmp_path: Path) -> None:
    asked = ["bench", "websocket", "--url", "", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "labs", *asked], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith("labs: url is ''; give one like http://127.0.0.1:30001")


def test_a_server_that_dies_is_named_and_the_finished_runs_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first workload is counted, and while the second one talks the server is killed."""
    monkeypatch.setitem(workload.WORKLOADS, "long", LONG.but(name="long"))
    with serving("websocket") as (url, server):
        dying = threading.Timer(1.5, server.kill)
        after_the_first_run(monkeypatch, dying.start)
        status = command.bench(["websocket"], ["talk", "long"], out=tmp_path, budget_s=1, url=url)
    assert status == 1
    result = only_result(tmp_path)
    assert [(run.workload, run.valid) for run in result.runs] == [("talk", True)]
    assert re.match(
        rf"the server at {url} has gone: its last sign was at \d\d:\d\d:\d\d, \d+\.\d s before; "
        "then: ",
        result.ended,
    )
    assert url in "".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["websocket", "streaming", "socketio"])
def test_a_server_of_another_transport_is_told_by_its_own_url(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    with serving("polling") as (url, _):
        assert measured(url, name, tmp_path) == 1
    said = "".join(capsys.readouterr().out.split())
    assert url in said
    assert set(re.findall(r"127\.0\.0\.1:\d+", said)) == {url.removeprefix("http://")}


async def test_a_server_is_there_until_it_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        there = Distant(url)
        assert await there.look() is None
    gone: Any = await there.died()
    assert isinstance(gone, LabError)
    assert f"the server at {url} has gone: its last sign was at " in str(gone)
    assert "no sign in this run" in str(await Distant(url).died())
