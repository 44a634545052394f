"""`labs wire record`, `show`, `draw`, as people use them."""

from __future__ import annotations

import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from labs.settings import Settings
from labs.variants import load
from labs.wire.recording import load as loaded
from tests.labs.scenes import served
from tests.labs.test_cli import DEADLINE_S, URL, call, labs, started


async def chat(name: str, url: str) -> None:
    variant = load(name)
    client = variant.client(url, variant.settings(Settings(interval_s=0.1)))
    await client.connect("ann")
    await client.send("안녕")
    await client.close()


@pytest.mark.parametrize("name", ["polling", "socketio"])
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
async def test_a_variant_is_recorded_until_told_to_stop(
    name: str, end: signal.Signals, tmp_path: Path
) -> None:
    file = tmp_path / "recording"
    with started(labs("wire", "record", name, str(file))) as process:
        await talk(name, process.stdout)
        process.send_signal(end)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (0, "")
    recording = loaded(file)
    size = sum(len(event.data) for event in recording.events)
    opened = sum(event.kind == "opened" for event in recording.events)
    plural = "" if opened == 1 else "s"
    assert f"{size:,} bytes on {opened} connection{plural} are in {file}.\n" in out
    assert recording.head.title == load(name).title
    shown = call("wire", "show", str(file))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "안녕" in shown.stdout
    assert "opaque" not in shown.stdout
    picture = tmp_path / "picture.svg"
    assert call("wire", "draw", str(file), "-o", str(picture)).returncode == 0
    assert "안녕" in picture.read_text(encoding="utf-8")
    one = call("wire", "show", str(file), "--connection", "0").stdout
    assert "connection 0\n" in one
    assert "connection 1\n" not in one


async def talk(name: str, stdout: object) -> None:
    first = stdout.readline()  # type: ignore[attr-defined]
    assert "labs chat" in first
    found = URL.search(first)
    assert found
    await chat(name, found[0])


async def test_a_server_elsewhere_is_recorded_by_its_url(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    async with served("streaming") as (_, url):
        with started(labs("wire", "record", url, str(file))) as process:
            await talk("streaming", process.stdout)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert loaded(file).head.title == url
    assert any("안녕".encode() in event.data for event in loaded(file).events)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["show", "missing"], 1, "missing: No such file or directory"),
        (["draw", "missing", "-o", "x.svg"], 1, "missing: No such file or directory"),
        (["show", "README.md"], 1, "README.md is no recording"),
        (["record", "http://127.0.0.1:{port}", "x"], 1, "nobody answers at http://127.0.0.1:"),
        (["record", "https://127.0.0.1", "x"], 2, "give a URL like http://"),
        (["record", "http://127.0.0.1:port", "x"], 2, "give a URL like http://"),
        (["record", "127.0.0.1:80", "x"], 2, "a URL begins with http://"),
        (["record", "pollin", "x"], 2, "did you mean polling?"),
        (["record", "polling", "missing/x"], 2, "name a file in a folder that exists"),
        (["record", "polling", "tests"], 2, "name a file in a folder that exists"),
    ],
)
def test_mistakes_are_told_in_one_line(words: Sequence[str], status: int, sentence: str) -> None:
    done = call("wire", *(word.format(port=free_port()) for word in words))
    assert done.returncode == status
    assert done.stdout == ""
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_another_format_is_refused_with_its_number(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    file.write_text('{"format":99,"made_at":"now"}\n')
    done = call("wire", "show", str(file))
    assert done.returncode == 1
    assert "has format 99; this version reads 1" in done.stderr


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    file.write_text('{"format":1,"made_at":"now"}\n')
    done = call("wire", "draw", str(file), "-o", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"labs: {tmp_path}: Is a directory\n"
