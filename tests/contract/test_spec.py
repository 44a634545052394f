"""The contract and its tests belong together: no clause without a test, no test without one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent.parent
CLAUSE = re.compile(r"\*\*(S\d+\.\d+)\*\*")
CITED = re.compile(r"S(\d+)[._](\d+)(?![\d])")


def clauses() -> list[str]:
    return CLAUSE.findall((TESTS.parent / "SPEC.md").read_text(encoding="utf-8"))


def citations(file: Path) -> Iterator[tuple[str, str]]:
    """Each clause that a test of this file names, in its own name or its docstring."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if not node.name.startswith("test_"):
                continue
            for section, number in CITED.findall(f"{node.name} {ast.get_docstring(node)}"):
                yield f"S{section}.{number}", f"{file.name}: {node.name}"


def cited() -> dict[str, str]:
    files = sorted(TESTS.rglob("test_*.py"))
    return {clause: test for file in files for clause, test in citations(file)}


def test_clauses_are_numbered_without_a_hole() -> None:
    numbers = [tuple(map(int, clause[1:].split("."))) for clause in clauses()]
    assert numbers == sorted(set(numbers))
    for section in {section for section, _ in numbers}:
        of_section = [number for one, number in numbers if one == section]
        assert of_section == list(range(1, len(of_section) + 1))


def test_every_clause_is_tested() -> None:
    tested = cited()
    assert len(clauses()) > 40
    assert [clause for clause in clauses() if clause not in tested] == []


def test_no_test_names_a_clause_that_is_not_there() -> None:
    known = clauses()
    assert {clause: test for clause, test in cited().items() if clause not in known} == {}
