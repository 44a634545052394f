"""Two variants side by side: what differs between two transports, and nothing else."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from labs.errors import UsageError
from labs.variants import Variant

FILES = ("server.py", "client.py", "client.js")
"""What makes up a variant, in reading order."""

_STYLES = {"---": "bold", "+++": "bold", "@@": "cyan", "-": "red", "+": "green"}


def difference(a: Variant, b: Variant, files: Sequence[str] = FILES) -> Iterator[str]:
    """The unified diff of the variants' files, line by line.

    Raises `UsageError` for two configurations of one variant, which share their files.
    """
    if a.package == b.package:
        raise UsageError(f"{a.name} and {b.name} share their files; they differ in settings only")
    for file in files:
        old, new = a.folder / file, b.folder / file
        yield from difflib.unified_diff(
            _lines(old), _lines(new), _label(old), _label(new), lineterm=""
        )


def show(lines: Iterator[str]) -> None:
    """Print a unified diff, in colour where the output is a terminal."""
    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        style = next((_STYLES[mark] for mark in _STYLES if line.startswith(mark)), "")
        console.print(Text(line, style=style))


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def _label(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"
