"""Notebooks have one shape, speak two languages, and hold offline too; pytest runs them live."""

from __future__ import annotations

import ast
import asyncio
import os
import re
from collections.abc import Coroutine, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any
from xml.etree import ElementTree as Xml

import nbformat
import pytest

from labs.notebook import tape
from notebooks.write import cells

FOLDER = Path(__file__).parent.parent / "notebooks"
NAMES = sorted(file.stem for file in FOLDER.glob("*.ipynb"))
PARTS = [
    "## Question · 질문",
    "## Your prediction · 당신의 예상",
    "## Experiment · 실험",
    "## Result · 결과",
    "## What surprised · 뜻밖이었던 것",
    "## TIL · 오늘 배운 것",
]
CODE_LINES = 5
HANGUL = re.compile(r"[가-힣]")
LATIN = re.compile(r"[A-Za-z]{2}")
OF_A_MACHINE = re.compile(r"(?<![\w.])/(home|root|work|tmp|usr|opt|Users)/|[A-Z]:\\|at 0x[0-9a-f]")
UNSAFE = re.compile(r"<(style|script|svg)|\sstyle=|\son\w+=")

every = pytest.mark.parametrize("name", NAMES)


def notebook(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def texts(name: str, kind: str) -> list[str]:
    return [cell.source for cell in notebook(name).cells if cell.cell_type == kind]


def outputs(name: str) -> Iterator[Any]:
    for cell in notebook(name).cells:
        yield from cell.get("outputs", [])


def shown(name: str, kind: str) -> list[str]:
    return [each.data[kind] for each in outputs(name) if kind in each.get("data", {})]


def parts(name: str) -> dict[str, list[Any]]:
    """The cells under each heading."""
    found: dict[str, list[Any]] = {"": []}
    for cell in notebook(name).cells:
        first = cell.source.partition("\n")[0]
        if cell.cell_type == "markdown" and first.startswith("## "):
            found[first] = []
        found[list(found)[-1]].append(cell)
    return found


def test_there_are_notebooks_each_with_a_source_and_frozen_data() -> None:
    assert NAMES
    for folder, ending in (("source", "md"), ("data", "json")):
        assert sorted(file.stem for file in (FOLDER / folder).glob(f"*.{ending}")) == NAMES


@every
def test_it_says_what_its_source_says(name: str) -> None:
    source = (FOLDER / "source" / f"{name}.md").read_text(encoding="utf-8")
    found = [(cell.cell_type, cell.source) for cell in notebook(name).cells]
    assert found == list(cells(source)), "change the source, then: make outputs"


@every
def test_the_parts_are_there_in_order(name: str) -> None:
    assert list(parts(name))[1:] == PARTS


@every
def test_it_begins_by_name(name: str) -> None:
    first = texts(name, "code")[0].splitlines()
    assert first[0] == "import labs"
    assert first[-1] == f'labs.begin("{name}")'


@every
def test_the_reader_predicts_and_every_guess_is_scored(name: str) -> None:
    wanted = "\n".join(cell.source for cell in parts(name)[PARTS[1]])
    guesses = re.findall(r"^(\w+) = labs\.guess\(", wanted, re.MULTILINE)
    assert guesses
    result = "\n".join(cell.source for cell in parts(name)[PARTS[3]])
    for guess in guesses:
        assert f"{guess}.score(" in result, guess


@every
def test_what_surprised_is_asserted(name: str) -> None:
    code = [cell.source for cell in parts(name)[PARTS[4]] if cell.cell_type == "code"]
    assert code
    for each in code:
        assert any(isinstance(node, ast.Assert) for node in ast.parse(each).body), each


@every
def test_the_til_is_three_sentences_in_each_language(name: str) -> None:
    (cell,) = parts(name)[PARTS[5]]
    items = re.split(r"^\d\. ", cell.source, flags=re.MULTILINE)[1:]
    assert len(items) == 3
    for item in items:
        english, korean = HANGUL.split(item, maxsplit=1)
        assert english.rstrip().count(". ") <= 1
        assert len(english) > 30, item
        assert len(HANGUL.findall(korean)) > 5, item


@every
def test_both_languages_say_everything(name: str) -> None:
    for text in texts(name, "markdown"):
        said = [each for each in text.split("\n\n") if not each.startswith("#")]
        if said:
            assert any(LATIN.search(each) and not HANGUL.match(each) for each in said), text
            assert any(HANGUL.search(each) for each in said), text


@every
def test_code_cells_are_short(name: str) -> None:
    for text in texts(name, "code"):
        lines = [line for line in text.splitlines() if line.strip()]
        assert 1 <= len(lines) <= CODE_LINES, text


@every
def test_it_was_run_from_top_to_bottom(name: str) -> None:
    code = [cell for cell in notebook(name).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any("execution" in cell.metadata for cell in code)
    kinds = {(each.output_type, each.get("name")) for each in outputs(name)}
    assert kinds <= {("execute_result", None), ("display_data", None), ("stream", "stdout")}


@every
def test_its_outputs_name_no_place_of_a_machine(name: str) -> None:
    for each in outputs(name):
        assert not OF_A_MACHINE.search(str(each)), each


@every
def test_its_outputs_survive_where_styles_and_scripts_are_taken_out(name: str) -> None:
    pictures = shown(name, "image/svg+xml")
    assert pictures, "no picture"
    for picture in pictures:
        root = Xml.fromstring(picture)
        assert {"width", "height", "viewBox"} <= set(root.attrib)
        assert not any(each.tag.endswith("}style") for each in root.iter())
        assert not any({"style", "class"} & set(each.attrib) for each in root.iter())
    for text in shown(name, "text/html"):
        assert not UNSAFE.search(text), text


@every
async def test_it_holds_offline_and_starts_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object, **__: object) -> None:
        pytest.fail("a process was started")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refused)
    monkeypatch.setattr(tape, "_current", None)
    monkeypatch.setitem(os.environ, "LABS_OFFLINE", "1")
    monkeypatch.chdir(FOLDER)
    names: dict[str, Any] = {}
    for number, text in enumerate(texts(name, "code"), 1):
        await run(text, f"{name}, code cell {number}", names)
    assert "frozen" in repr(tape.current())


async def run(text: str, where: str, names: dict[str, Any]) -> None:
    """Run a cell as a kernel does, with `await` at its top."""
    code = compile(text, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    answer = FunctionType(code, names)()
    if isinstance(answer, Coroutine):
        await answer
