"""`labs bench` from end to end: small crowds, real processes, real sockets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import psutil
import pytest

from labs.bench import results, workload
from labs.bench.command import bench
from labs.bench.host import find
from labs.bench.load import Job
from labs.bench.results import Result, Run
from labs.bench.workload import Workload
from labs.errors import LabError, UsageError
from labs.settings import Settings
from labs.wire.control import Child

TINY = {
    "idle": Workload("idle", "?", "?", clients=3, arrivals="none", duration_s=1.0, tail_s=0.0),
    "paced": Workload("paced", "?", "?", clients=4, duration_s=0.5, rate_per_s=20.0),
}

LOSSY = """
from dataclasses import replace
from websocket_chat import VARIANT
from websocket_chat.client import Client

class Lossy(Client):
    async def messages(self):
        async for message in super().messages():
            if not message.text.startswith("#3"):
                yield message

VARIANT = replace(VARIANT, name="lossy", client=Lossy)
"""

MORTAL = """
import asyncio, os, sys
from contextlib import asynccontextmanager
from dataclasses import replace
from websocket_chat import VARIANT as REAL

def die():
    print("my last words", file=sys.stderr, flush=True)
    os._exit(7)

@asynccontextmanager
async def serve(chat, host, port):
    async with REAL.serve(chat, host, port) as url:
        asyncio.get_running_loop().call_later(3, die)
        yield url

VARIANT = replace(REAL, name="mortal", serve=serve)
"""

INTERRUPTED = """
import os, signal, sys
from pathlib import Path
import msgspec
import psutil
from labs.bench import command, workload

class Bar(command.Bar):
    runs = 0

    def made(self, run):
        self.runs += 1
        if self.runs == 3:
            os.kill(os.getpid(), signal.SIGINT)

command.Bar = Bar
workload.WORKLOADS["paced"] = workload.Workload("paced", "?", "?", clients=2, duration_s=0.5)
status = command.bench(["websocket"], ["paced"], out=Path(sys.argv[1]), budget_s=300)
assert not psutil.Process().children()
sys.exit(status)
"""


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, each in TINY.items():
        monkeypatch.setitem(workload.WORKLOADS, name, each)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules this process and its children can import."""
    path = os.pathsep.join([str(tmp_path), os.getcwd(), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("lossy", "mortal"):
        sys.modules.pop(name, None)


def only_result(folder: Path) -> Result:
    (path,) = folder.glob("*.json")
    return results.load(path)


def test_a_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["polling", "websocket", "websocket_chat:VARIANT"]  # the last two are the same
    assert bench(names, ["idle", "paced"], out=tmp_path, budget_s=1) == 0
    result = only_result(tmp_path)
    assert [len(result.of("idle", name)) for name in names] == [1, 1, 1]
    assert [len(result.of("paced", name, "bytes")) for name in names] == [1, 1, 1]
    assert [len(result.of("paced", name, "latency")) for name in names] == [1, 1, 1]
    for run in result.runs:
        assert run.valid, run.outcome.wrong
        assert not run.log
        assert run.outcome.fates["delivered"] == TINY[run.workload].deliveries
    _check_bytes(*(result.of("paced", name, "bytes")[0] for name in names))
    shown = capsys.readouterr().out.splitlines()
    (html,) = tmp_path.glob("*.html")
    assert shown[-1] == f"report: {html}"
    assert shown[-2].startswith("9 runs in ")
    assert ["lost", "0", "0", "0"] in [line.split() for line in shown]


def _check_bytes(polling: Run, websocket: Run, same: Run) -> None:
    assert websocket.phases["join"].requests == websocket.phases["join"].connections == 4
    assert websocket.phases["steady"].requests == 0
    assert polling.phases["join"].requests >= 8, "each joins and asks at least once"
    assert polling.phases["steady"].requests >= 10 + 4, "a POST a message, a GET a client"
    assert polling.phases["leave"].requests >= 4
    for run in (polling, websocket):
        assert run.phases["steady"].up > run.outcome.text_bytes
        assert run.phases["steady"].down > 4 * run.outcome.text_bytes, "everyone gets everything"
    assert websocket.phases["steady"].up == same.phases["steady"].up, "the same seed, to the byte"
    assert websocket.phases["join"].up == same.phases["join"].up


def test_a_client_that_loses_a_message_fails_the_command(
    modules: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (modules / "lossy.py").write_text(LOSSY)
    monkeypatch.setitem(workload.WORKLOADS, "paced", replace(TINY["paced"], drain_s=2.0))
    out = modules / "out"
    assert bench(["lossy:VARIANT"], ["paced"], out=out, budget_s=1) == 1
    result = only_result(out)
    assert [run.outcome.fates["lost"] for run in result.runs] == [4, 4]
    shown = capsys.readouterr().out
    assert "message 3 at client 0: lost" in shown
    assert any(line.split() == ["latency", "p50,", "ms", "void"] for line in shown.splitlines())


def test_a_server_that_dies_gives_its_last_words(
    modules: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (modules / "mortal.py").write_text(MORTAL)
    longer = Workload("paced", "?", "?", clients=2, duration_s=20.0, rate_per_s=5.0)
    monkeypatch.setitem(workload.WORKLOADS, "paced", longer)
    assert bench(["mortal:VARIANT"], ["paced"], out=modules / "out", budget_s=1) == 1
    shown = capsys.readouterr().out
    assert "the mortal:VARIANT server ended with status 7" in shown
    assert "my last words" in shown


def test_ctrl_c_keeps_the_finished_runs_and_leaves_no_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "")
    result = only_result(tmp_path / "out")
    assert len(result.runs) == 3
    assert result.ended == "Interrupted: the 3 runs that were finished are kept."
    assert result.ended in done.stdout
    assert done.stdout.splitlines()[-1].startswith("report: ")


async def test_the_host_serves_until_its_stdin_ends_or_it_is_told_to_stop() -> None:
    for stop in (Child.stop, terminate):
        host = await Child.start("a server", "labs.bench.host", "polling")
        url = (await host.ask({"interval_s": 0.5}, 20))["url"]
        client = find("polling").client(url, Settings(interval_s=0.5))
        joined = await client.connect("ann")
        assert joined.present == ["ann"]
        use = await host.ask({"use": True})
        assert use["cpu_s"] > 0
        await client.close()
        await stop(host)
        assert not psutil.pid_exists(host.pid)
        assert not host.log


async def terminate(host: Child) -> None:
    os.kill(host.pid, signal.SIGTERM)
    died = await host.died()
    assert "status 0" in str(died)
    await host.stop()


def test_what_cannot_be_written_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="give another folder"):
        bench([], [], out=tmp_path / "file")


async def test_a_server_that_cannot_be_reached_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        job = Job("websocket", url, TINY["paced"], seed=1, number=1, fixed=False)
        load = await Child.start("the generator", "labs.bench.load")
        with pytest.raises(LabError, match=r"the generator: .*refused|Connect"):
            await load.ask(msgspec.to_builtins(job), 30)
        await load.stop()


@pytest.mark.parametrize(
    ("names", "workloads", "said"),
    [
        (["websockets"], [], "did you mean websocket"),
        (["no.such:THING"], [], "no variant at no.such:THING"),
        (["labs.chat:Chat"], [], "is no variant"),
        ([], ["pacd"], "did you mean paced"),
    ],
)
def test_what_does_not_exist_is_refused_before_anything_starts(
    tmp_path: Path, names: list[str], workloads: list[str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        bench(names, workloads, out=tmp_path)
    assert not list(tmp_path.iterdir())
