"""Every test here runs on every name that can be run, and leaves no traceback behind."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from labs.inbox import Backoff
from labs.variants import VARIANTS, Variant, load
from tests.contract.town import Town, founded

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where an upgrade is interrupted python-engineio leaves its WebSocket for the garbage."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:Unclosed connection"))


@pytest.fixture(scope="session", autouse=True)
def frozen() -> Iterator[None]:
    """What was there before the first test is left out when `quiet` collects after each."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> Variant:
    """Each of them in turn."""
    return load(request.param)


@pytest.fixture(autouse=True)
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients come back soon; that they wait longer and longer is `test_inbox.py`'s to see."""
    monkeypatch.setattr(Backoff.__init__, "__defaults__", (0.02, 0.1))


@pytest.fixture
async def town(variant: Variant, quiet: None) -> AsyncIterator[Town]:
    """A chat of this variant, still to be opened with the settings of the test."""
    async with founded(variant) as town:
        yield town


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever happens to it, neither side logs an error."""
    yield
    gc.collect()  # a task's lost exception is logged when the task is collected
    for when in ("setup", "call", "teardown"):
        for record in caplog.get_records(when):
            assert record.levelno < logging.ERROR, record.getMessage()
