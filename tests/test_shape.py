"""The variants are parallel: whoever has read one knows where to look in the next."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest

from labs.variants import FIVE, VARIANTS

ROOT = Path(__file__).parent.parent
PACKAGES = sorted({package for package, _ in VARIANTS.values()})
FILES = {"__init__.py", "__main__.py", "server.py", "client.py", "client.js", "README.md"}
DOCSTRING_LINES = ["Up", "Down", "Resume", "Heartbeat", "Spec"]
CLIENT_MEMBERS = ["connect", "send", "messages", "close"]
UP = ["new_user_connect", "send_message", "disconnect"]
NETWORK = {"aiohttp", "engineio", "http", "socket", "socketio", "ssl", "websockets"}


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports by relative name"
            yield node.module or ""


def functions(node: ast.Module | ast.ClassDef) -> list[str]:
    return [
        one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def in_order(wanted: list[str], found: list[str]) -> bool:
    return [name for name in found if name in wanted] == wanted


def test_the_five_are_five_packages() -> None:
    assert len({VARIANTS[name][0] for name in FIVE}) == len(FIVE) == 5


@pytest.mark.parametrize("package", PACKAGES)
def test_a_variant_has_exactly_these_files(package: str) -> None:
    assert {file.name for file in (ROOT / package).iterdir()} - {"__pycache__"} == FILES


@pytest.mark.parametrize("package", PACKAGES)
def test_a_variant_offers_the_same_names(package: str) -> None:
    variant = import_module(package).VARIANT
    server, client = import_module(f"{package}.server"), import_module(f"{package}.client")
    assert variant.package == package
    assert variant.serve is server.serve
    assert variant.client is client.Client
    assert list(signature(server.frame).parameters) == ["batch"]
    assert list(signature(server.serve).parameters) == ["chat", "host", "port"]


@pytest.mark.parametrize("package", PACKAGES)
def test_variants_import_nothing_of_each_other(package: str) -> None:
    others = set(PACKAGES) - {package}
    for file in (ROOT / package).glob("*.py"):
        assert not {name.partition(".")[0] for name in imported(file)} & others, file
    script = (ROOT / package / "client.js").read_text(encoding="utf-8")
    for source in re.findall(r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""", script):
        assert source.startswith("/web/"), f"client.js imports {source}"


@pytest.mark.parametrize("package", PACKAGES)
def test_server_is_in_the_fixed_order(package: str) -> None:
    module = tree(ROOT / package / "server.py")
    doc = ast.get_docstring(module) or ""
    assert re.findall(r"^([A-Z][a-z]+): +\S", doc, re.MULTILINE) == DOCSTRING_LINES
    starts = {len(head) for head in re.findall(r"^[A-Z][a-z]+: +(?=\S)", doc, re.MULTILINE)}
    assert len(starts) == 1, "the lines of the docstring are not aligned"
    definitions = [
        node
        for node in module.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    public = [node.name for node in definitions if not node.name.startswith("_")]
    assert public[0] == "frame"
    assert public[-1] == "serve"
    first = definitions[0].lineno
    constants = [node.lineno for node in module.body if isinstance(node, ast.Assign)]
    assert all(line < first for line in constants), "constants come before frame"


@pytest.mark.parametrize("package", PACKAGES)
def test_server_takes_the_lessons_events_in_order(package: str) -> None:
    module = tree(ROOT / package / "server.py")
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    assert sum(in_order(UP, functions(node)) for node in classes) == 1


@pytest.mark.parametrize("package", PACKAGES)
def test_clients_have_the_same_members(package: str) -> None:
    module = tree(ROOT / package / "client.py")
    client = next(n for n in module.body if isinstance(n, ast.ClassDef) and n.name == "Client")
    assert [name for name in functions(client) if not name.startswith("_")] == CLIENT_MEMBERS
    script = (ROOT / package / "client.js").read_text(encoding="utf-8")
    exports = [line for line in script.splitlines() if re.search(r"\bexport\b", line)]
    names = [re.match(r"export (?:async )?function (\w+)\(", line) for line in exports]
    assert [name and name[1] for name in names] == CLIENT_MEMBERS


def test_the_core_knows_no_network() -> None:
    files = list((ROOT / "labs" / "chat").rglob("*.py"))
    assert files
    for file in files:
        names = set(imported(file))
        assert not {name.partition(".")[0] for name in names} & NETWORK, file
        ours = {name for name in names if name.partition(".")[0] in {"labs", *PACKAGES}}
        assert all(re.match(r"labs\.(chat|errors|settings)\b", name) for name in ours), file
