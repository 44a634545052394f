"""Write notebooks from their sources: `python notebooks/write.py [NAME ...]`, or `make outputs`.

A source is Markdown, `source/NAME.md`: a new cell begins at each heading, and each block of
Python is a cell of its own. The cells are run on live servers, what their calls answer is frozen
into `data/NAME.json`, and the notebook is saved with its outputs, without times and paths.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent
CELL_S = 120  # none takes longer
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class Cell(NamedTuple):
    """A cell of a source; `kind` is `markdown` or `code`."""

    kind: str
    text: str


def cells(source: str) -> Iterator[Cell]:
    """The cells of a source, in order."""
    # Odd places hold what the group of the pattern found: Python.
    for place, part in enumerate(PYTHON.split(source)):
        if place % 2:
            yield Cell("code", part.rstrip("\n"))
        else:
            texts = re.split(r"^(?=##? )", part, flags=re.MULTILINE)
            yield from (Cell("markdown", text.strip()) for text in texts if text.strip())


def new(name: str) -> NotebookNode:
    """The notebook of a source, not run."""
    source = (HERE / "source" / f"{name}.md").read_text(encoding="utf-8")
    make: dict[str, Any] = {
        "markdown": nbformat.v4.new_markdown_cell,
        "code": nbformat.v4.new_code_cell,
    }
    found = [
        make[cell.kind](cell.text, id=f"cell-{number:02}")
        for number, cell in enumerate(cells(source), 1)
    ]
    notebook: NotebookNode = nbformat.v4.new_notebook(cells=found, metadata=METADATA)
    return notebook


def run(notebook: NotebookNode) -> None:
    """Run it here; raises what a cell raises."""
    resources = {"metadata": {"path": str(HERE)}}
    client: Any = NotebookClient(notebook, timeout=CELL_S, resources=resources, record_timing=False)
    client.execute()
    notebook.metadata = nbformat.from_dict(METADATA)


def main(names: list[str]) -> None:
    """Run these, all where none is named, and save them."""
    os.environ |= {"LABS_FREEZE": "1", "PYTHONPATH": str(HERE.parent)}
    for name in names or sorted(file.stem for file in (HERE / "source").glob("*.md")):
        begun_s, notebook = monotonic(), new(name)
        run(notebook)
        nbformat.write(notebook, HERE / f"{name}.ipynb")
        print(f"{name}: {monotonic() - begun_s:.1f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
