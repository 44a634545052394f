"""The command line, as people and scripts use it: `labs`, and `python -m polling`."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from labs.cli import main
from labs.variants import FIVE, VARIANTS, load

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30
URL = re.compile(r"http://\S+:[1-9]\d*")


def labs(*words: str, module: str = "labs") -> list[str]:
    return [sys.executable, "-m", module, *words]


def call(
    *words: str, said: str = "", locale: str = "C.UTF-8"
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        labs(*words),
        input=said,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=DEADLINE_S,
        cwd=ROOT,
        env=os.environ | {"LC_ALL": locale, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )


@contextmanager
def started(command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    """A process with pipes, which does not outlive the test."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def serving(
    *words: str, module: str = "labs", count: int = 1, by: signal.Signals = signal.SIGINT
) -> Iterator[list[str]]:
    """A server process; gives its URLs, ends it by a signal, and sees that it ends well."""
    with started(labs(*words, "--port", "0", module=module)) as process:
        assert process.stdout
        found = (URL.search(process.stdout.readline()) for _ in range(count))
        yield [url[0] for url in found if url]
        process.send_signal(by)
        _, complaints = process.communicate(timeout=DEADLINE_S)
        assert complaints == ""
        assert process.returncode == 0


def usage(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a wrong command line gets, with status 2 and nothing on stdout."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    assert said.err.startswith("labs: ")
    assert said.err.count("\n") == 1
    assert said.err.endswith("\n")
    return said.err


def test_list_names_every_variant(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["list"])
    rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ended.value.code == 0
    assert [name for name, _ in rows] == list(VARIANTS)
    for name, what in rows:
        assert what.partition(": ")[0] == load(name).title


@pytest.mark.parametrize("words", [["list"], ["--help"], ["run", "--help"], ["bench", "--help"]])
def test_a_quick_answer_loads_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys, contextlib\n"
        "from labs.cli import main\n"
        f"with contextlib.suppress(SystemExit): main({words})\n"
        "heavy = {'aiohttp', 'asyncio', 'matplotlib', 'msgspec', 'numpy', 'websockets'}\n"
        "print(heavy & set(sys.modules), file=sys.stderr)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        cwd=ROOT,
        check=True,
    )
    assert run.stdout
    assert run.stderr == "set()\n"


def test_an_unknown_name_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean polling?" in usage(capsys, "run", "pollin")
    assert "did you mean websocket?" in usage(capsys, "chat", "websockt", "--name", "alice")
    assert "did you mean streaming?" in usage(capsys, "diff", "polling", "steaming")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["run", "polling", "--port", "70000"], "--port"),
        (["run", "polling", "--port", "x"], "--port"),
        (["run", "polling", "--interval", "nan"], "--interval"),
        (["run", "polling", "--hold", "inf"], "--hold"),
        (["run", "polling", "--lease", "-1"], "--lease"),
        (["run", "polling", "--nonsense"], "--nonsense"),
        (["run", "polling", "streaming"], "unexpected extra argument"),
        (["run"], "NAME"),
        (["nonsense"], "nonsense"),
        (["run", "polling", "--interval", "0"], "interval_s"),
        (["run", "polling", "--interval", "20"], "shorter than lease_s"),
        (["run", "socketio", "--transports", "pigeon"], "pigeon"),
        (["run", "socketio", "--path", "x"], "/socket.io"),
        (["run", "socketio-polling", "--transports", "websocket"], "has its own transports"),
        (["run", "polling", "--room", ""], "1 to 32 characters"),
        (["run", "all", "--port", "65533"], "65533"),
        (["run", "polling", "--host", "nowhere.invalid"], "nowhere.invalid"),
        (["chat", "polling", "--url", "127.0.0.1:30001", "--name", "alice"], "url"),
        (["diff", "polling", "streaming", "--file", "server.js"], "server.py"),
        (["diff", "socketio", "socketio-polling"], "share their files"),
        (["bench", "polling", "--seed", "-1"], "--seed"),
    ],
)
def test_a_wrong_command_line_gets_one_line(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert why in usage(capsys, *words)


@pytest.mark.parametrize("name", ["all", *FIVE])
def test_a_busy_port_gets_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        first = port - 2 if name == "all" else port
        assert re.search(
            r"port \d+ of 127.0.0.1 is taken", usage(capsys, "run", name, "--port", str(first))
        )


@pytest.mark.parametrize("name", VARIANTS)
def test_S11_3_run_chat_and_stop(name: str) -> None:
    with serving("run", name, "--interval", "0.2") as [url]:
        said = call("chat", name, "--url", url, "--name", "alice", said="hello\n안녕\n\nbye")
        assert said.returncode == 0, said.stderr
        assert said.stderr == ""
        assert said.stdout.splitlines() == [
            "* You are alice in lobby. Present: alice.",
            "* alice has joined.",
            "alice: hello",
            "alice: 안녕",
            "alice: bye",
        ]
        korean = call(
            "chat", name, "--url", url, "--name", "bob", said="네\n", locale="ko_KR.UTF-8"
        )
        assert "* bob님이 접속했습니다." in korean.stdout.splitlines()
        taken = call("chat", name, "--url", url, "--name", "SERVER")
        assert taken.returncode == 1
        assert taken.stderr.count("\n") == 1


@pytest.mark.parametrize("name", FIVE)
def test_S11_3_someone_is_there_when_it_stops(name: str) -> None:
    with ExitStack() as stack:
        with serving("run", name, "--interval", "0.2") as [url]:
            chat = labs("chat", name, "--url", url, "--name", "alice")
            talking = stack.enter_context(started(chat))
            assert talking.stdout
            assert talking.stdout.readline().startswith("* You are alice")
            assert talking.stdout.readline() == "* alice has joined.\n"
        # It is trying to come back; Ctrl-C ends that too.
        talking.send_signal(signal.SIGINT)
        assert talking.wait(timeout=DEADLINE_S) == 0
        assert talking.communicate() == ("", "")


def test_a_refused_line_is_told_and_the_rest_is_said() -> None:
    with serving("run", "polling", "--interval", "0.2") as [url]:
        said = call("chat", "polling", "--url", url, "--name", "a", said="x" * 2_001 + "\nshort\n")
    assert said.returncode == 0
    assert re.fullmatch(r"labs: a text has 1 to 2000 characters.*\n", said.stderr)
    assert "a: short" in said.stdout


def test_all_five_are_served_on_ports_of_their_own() -> None:
    with serving("run", "all", count=5, by=signal.SIGTERM) as urls:
        assert len(set(urls)) == 5


def test_python_m_variant_is_labs_run() -> None:
    with serving("--interval", "0.2", module="polling") as [url]:
        said = call("chat", "polling", "--url", url, "--name", "alice", said="hi\n")
    assert "alice: hi" in said.stdout


@pytest.mark.parametrize("name", FIVE)
def test_nobody_answering_gets_one_line(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said = call("chat", name, "--url", f"http://127.0.0.1:{port}", "--name", "alice")
    assert said.returncode == 1
    assert said.stdout == ""
    assert said.stderr.startswith("labs: no chat answers at ")
    assert said.stderr.count("\n") == 1


def test_chat_needs_a_name_where_nobody_can_be_asked() -> None:
    said = call("chat", "polling")
    assert said.returncode == 2
    assert said.stderr == "labs: who are you? give a name with --name\n"


def test_diff_is_plain_in_a_pipe_and_applies() -> None:
    diff = call("diff", "polling", "longpolling").stdout
    assert "\x1b" not in diff
    heads = re.findall(r"^(?:---|\+\+\+) (\S+)$", diff, re.MULTILINE)
    files = ("server.py", "client.py", "client.js")
    assert heads == [f"{folder}/{file}" for file in files for folder in ("polling", "longpolling")]
    new = (ROOT / "longpolling" / "server.py").read_text("utf-8").splitlines()
    one = call("diff", "polling", "longpolling", "--file", "server.py").stdout
    added = [line[1:] for line in one.splitlines()[2:] if line.startswith("+")]
    assert added
    assert set(added) <= set(new)
    assert "client" not in "".join(re.findall(r"^--- .*", one, re.MULTILINE))


def test_diff_is_coloured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[32m+" in call("diff", "polling", "longpolling").stdout
