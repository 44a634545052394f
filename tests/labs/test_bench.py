"""`labs bench` from end to end: small crowds, real processes, real sockets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from labs.bench import comparison, results, workload
from labs.bench.command import bench
from labs.bench.floor import measure as measure_floor
from labs.bench.host import find
from labs.bench.load import Job
from labs.bench.record import merged
from labs.bench.results import Result, Run
from labs.bench.run import Plan, Server, make
from labs.bench.schedule import schedule
from labs.bench.stats import warnings
from labs.bench.workload import Workload
from labs.errors import LabError, UsageError
from labs.net.between import Span
from labs.settings import Settings
from labs.variants import FIVE, VARIANTS
from labs.wire.control import Child
from labs.wire.traffic import Traffic

TINY = {
    "idle": Workload(name="idle", clients=3, probes=0, arrivals="none", duration_s=1.0, tail_s=0.0),
    "paced": Workload(name="paced", clients=4, probes=2, duration_s=0.5, rate_per_s=20.0),
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
import os, sys
from pathlib import Path
import psutil
from labs.bench import command, workload

class Bar(command.Bar):
    runs = 0

    def made(self, run):
        self.runs += 1
        if self.runs == 3:
            os.kill(os.getpid(), int(sys.argv[2]))

command.Bar = Bar
workload.WORKLOADS["paced"] = workload.Workload(
    name="paced", clients=2, duration_s=0.5
)
status = command.bench(["websocket"], ["paced"], out=Path(sys.argv[1]), budget_s=300)
assert not psutil.Process().children()
sys.exit(status)
"""


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "measure_floor", partial(measure_floor, share_s=0.02))
    for name, each in TINY.items():
        monkeypatch.setitem(workload.WORKLOADS, name, each)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules this process and its children can import."""
    path = os.pathsep.join([str(tmp_path), os.getcwd(), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("lossy", "mortal", "full"):
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
        asked = TINY[run.workload]
        warm = 4 * (run.kind == "latency")
        assert run.outcome.fates["delivered"] == (asked.messages and 10 + warm) * asked.clients
    _check_bytes(*(result.of("paced", name, "bytes")[0] for name in names))
    shown = capsys.readouterr().out.splitlines()
    (html,) = tmp_path.glob("*.html")
    assert shown[-1] == f"report: {html}"
    assert shown[-2].startswith("9 runs in ")
    assert ["lost", "0", "0", "0"] in [line.split() for line in shown]


def _check_bytes(polling: Run, websocket: Run, same: Run) -> None:
    assert websocket.windows["join"].requests == websocket.windows["join"].connections == 4
    assert websocket.windows["steady"].requests == 0
    assert polling.windows["join"].requests >= 8, "each joins and asks at least once"
    assert polling.windows["steady"].requests >= 10 + 4, "a POST a message, a GET a client"
    assert polling.windows["leave"].requests >= 4
    for run in (polling, websocket):
        assert run.windows["steady"].of("up", "text") * 4 == run.outcome.text_bytes
        assert run.windows["steady"].of("down", "text") == run.outcome.text_bytes
    assert websocket.windows["steady"].up == same.windows["steady"].up, "the same seed, to the byte"
    assert websocket.windows["join"].up == same.windows["join"].up


def test_a_client_that_loses_a_message_fails_the_command(
    modules: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (modules / "lossy.py").write_text(LOSSY)
    few = TINY["paced"].but(drain_s=2.0, warmup_s=0.0, probes=4)
    monkeypatch.setitem(workload.WORKLOADS, "paced", few)
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
    longer = Workload(name="paced", clients=2, duration_s=20.0, rate_per_s=5.0)
    monkeypatch.setitem(workload.WORKLOADS, "paced", longer)
    assert bench(["mortal:VARIANT"], ["paced"], out=modules / "out", budget_s=1) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "the mortal:VARIANT server ended with status 7" in shown
    assert "my last words" in shown


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "Interrupted"), (signal.SIGTERM, 143, "Terminated")],
)
def test_an_interruption_keeps_the_finished_runs_and_leaves_no_process(
    tmp_path: Path, number: signal.Signals, status: int, word: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "out"), str(int(number))],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (status, "")
    result = only_result(tmp_path / "out")
    assert len(result.runs) == 3
    assert result.ended == f"{word}: the 3 runs that were finished are kept."
    assert result.ended in done.stdout
    assert done.stdout.splitlines()[-1].startswith("report: ")


FULL = """
from dataclasses import replace
from websocket_chat import VARIANT

VARIANT = replace(VARIANT, name="full", overrides={"sessions": 1})
"""


def test_a_variant_that_nobody_can_join_ends_no_other(
    modules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (modules / "full.py").write_text(FULL)
    names = ["full:VARIANT", "websocket", "polling"]
    assert bench(names, ["idle", "paced"], out=modules / "out", budget_s=1) == 1
    result = only_result(modules / "out")
    assert {(run.workload, run.variant, run.kind) for run in result.runs} == {
        *((name, variant, "bytes") for name in TINY for variant in names[1:]),
        *(("paced", variant, "latency") for variant in names[1:]),
    }
    assert all(run.valid for run in result.runs)
    assert "full:VARIANT, run 1: the generator: lobby is full" in result.ended
    assert result.ended.count("full:VARIANT") == 2, "once a workload"
    assert "lobby is full" in " ".join(capsys.readouterr().out.split())


def test_a_latency_run_that_fails_ends_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The crowd that was to make it is not asked again: nobody knows how far it has come."""
    crowds = dict[str, list[int]]()

    async def fail(plan: Plan, server: Server, loads: list[Child], joined: Any) -> Run:
        if plan.kind == "latency":
            crowds[plan.variant] = [load.pid for load in loads]
        if plan.kind == "latency" and plan.variant in ("polling", "streaming"):
            raise LabError("not everyone could join")
        return await make(plan, server, loads, joined)

    monkeypatch.setattr(comparison, "make", fail)
    names = ["polling", "streaming", "websocket"]
    assert bench(names, ["paced"], out=tmp_path, budget_s=1) == 1
    result = only_result(tmp_path)
    assert [run.variant for run in result.runs if run.kind == "latency"] == ["websocket"]
    assert len(result.runs) == 4
    assert len({pid for pids in crowds.values() for pid in pids}) >= 2
    assert result.ended.splitlines() == [
        f"paced: latency, {name}, run 1: not everyone could join"
        for name in crowds
        if name != "websocket"
    ]


@pytest.mark.parametrize("probes", [0, 2])
def test_what_the_chat_refuses_and_takes_later_is_counted(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    probes: int,
) -> None:
    slow = {"rate_burst": 5, "rate_per_s": 5.0}
    load = {"loop": "closed", "senders": 1, "warmup_s": 0.0, "settings": slow}
    runs = one_run(monkeypatch, tmp_path, "websocket", probes=probes, **load)
    assert runs[1].outcome.refused > 0
    assert "refused (rate_limited) and said again later" in " ".join(
        capsys.readouterr().out.split()
    )


# Other kinds of load


def one_run(monkeypatch: pytest.MonkeyPatch, out: Path, name: str, **changes: Any) -> list[Run]:
    """The runs of one variant under a changed `paced`, which all must be valid."""
    monkeypatch.setitem(workload.WORKLOADS, "paced", TINY["paced"].but(**changes))
    assert bench([name], ["paced"], out=out, budget_s=1) == 0
    return only_result(out).runs


@pytest.mark.parametrize("name", [name for name in VARIANTS if "deflate" not in name])
def test_bytes_are_as_predicted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """Far enough apart for every transport, nothing is left to chance."""
    far = {"arrivals": "constant", "rate_per_s": 4.0, "duration_s": 1.0, "settings": {}}
    run = one_run(monkeypatch, tmp_path, name, **far)[0]
    assert run.predicted
    measured = run.windows["steady"]
    predicted = Traffic(cells={key: round(size) for key, size in run.predicted.items()})
    for key in {*predicted.cells, *measured.cells}:
        if not key.startswith("up/http_head"):
            assert measured.cells.get(key, 0) == predicted.cells.get(key, 0), key
    # What a poll that is open at the end will bring, its window cannot tell.
    # Engine.IO's query parameter `t` has a random length; its mean is predicted.
    random_bytes = measured.requests if name == "socketio-polling" else 0
    assert abs(measured.of("up", "http_head") - predicted.of("up", "http_head")) <= random_bytes


@pytest.mark.parametrize("name", FIVE)
def test_a_storm_loses_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    tapped, timed = one_run(monkeypatch, tmp_path, name, clients=12, cut_at_s=0.2)
    back = merged([timed.outcome.back])
    assert back.get_total_count() == 10, "all but the probes"
    assert back.get_min_value() > 0
    assert tapped.windows["steady"].connections >= 10
    rejoins = name not in ("polling", "streaming")  # whose token is in every request
    assert (tapped.windows["steady"].of(phase="join") > 0) == rejoins


def test_rooms_and_several_generators_see_one_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    crowd = {"clients": 9, "rooms": 2, "generators": 3, "rate_per_s": 40.0}
    tapped, timed = one_run(monkeypatch, tmp_path, "websocket", **crowd)
    senders = [tick.sender % 2 for tick in schedule(workload.WORKLOADS["paced"], 1, 1)]
    asked = sum(5 if room == 0 else 4 for room in senders)
    assert tapped.outcome.fates["delivered"] == asked
    assert merged([timed.outcome.corrected]).get_total_count() == asked


def test_a_closed_loop_is_called_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = {"loop": "closed", "think_s": 0.2, "senders": 1, "rate_per_s": 40.0}
    runs = one_run(monkeypatch, tmp_path, "websocket", **closed)
    assert all(run.outcome.unsent > 0 for run in runs), "he thinks longer than 40 a second allow"
    assert 0 < runs[1].outcome.skipped < 8, "the warm-up has taken no turn from the window"
    assert merged([runs[1].outcome.corrected]).get_total_count() > 0
    assert "closed loop" in capsys.readouterr().out


def test_a_browser_s_heads_are_longer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for headers in ("python", "chromium"):
        runs = one_run(monkeypatch, tmp_path / headers, "longpolling", probes=0, headers=headers)
        heads = runs[0].windows["steady"].of("up", "http_head")
        assert heads / runs[0].windows["steady"].requests == pytest.approx(
            {"python": 190, "chromium": 560}[headers], rel=0.2
        )


def test_without_keep_alive_every_request_has_a_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = one_run(monkeypatch, tmp_path, "polling", probes=0, keep_alive=False)
    steady = runs[0].windows["steady"]
    assert steady.connections == steady.requests > 0


def test_a_network_is_measured_and_its_delay_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "slow.toml"
    path.write_text("delay_ms = 20.0\nup_bit_s = 10_000_000\ndown_bit_s = 10_000_000\n")
    monkeypatch.setitem(workload.WORKLOADS, "paced", TINY["paced"])
    assert bench(["websocket"], ["paced"], out=tmp_path / "out", budget_s=1, network=str(path)) == 0
    result = only_result(tmp_path / "out")
    assert result.shaping
    assert result.shaping.rtt.least_ms >= 40.0
    timed = result.of("paced", "websocket", "latency")[0]
    assert merged([timed.outcome.corrected]).get_min_value() >= 40_000
    for way in timed.passed.values():
        assert way.counts.packets == way.counts.left_packets > 10, "nothing was lost or held"


def test_a_relay_is_told_at_once_and_each_run_has_a_chance_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    restart, begun = Span.restart, list[int]()

    async def note(span: Span, run: int = 0) -> None:
        begun.append(run)
        await restart(span, run)

    monkeypatch.setattr(Span, "restart", note)
    monkeypatch.setattr("labs.net.between.why_no_tun", lambda: "this test wants none")
    path = tmp_path / "near.toml"
    path.write_text("delay_ms = 5.0\nup_bit_s = 10_000_000\ndown_bit_s = 10_000_000\n")
    names, out = ["websocket", "polling"], tmp_path / "out"
    assert bench(names, ["paced"], out=out, budget_s=1, network=str(path)) == 0
    told = (
        "The network near is made by a relay, which loses nothing and costs no handshake; packets "
        "cannot be carried here: this test wants none."
    )
    assert capsys.readouterr().err == f"labs: {told}\n"
    assert warnings(only_result(out))[0] == told
    assert begun == [0, 1, 1], "after it was measured, and before run 1 of each variant"


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
