"""What a test needs of the machine: skipped without it, failed where everything is required."""

from __future__ import annotations

import os

import pytest


def need(present: object, sentence: str) -> None:
    """Skip this test if something is not present; `sentence` names what to install.

    With `LABS_REQUIRE=all` in the environment, as in CI, it fails instead.
    """
    if present:
        return
    if os.environ.get("LABS_REQUIRE") == "all":
        pytest.fail(sentence)
    pytest.skip(sentence)
