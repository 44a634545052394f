"""Every claim is an experiment: `labs reproduce NAME`. Each module tries one.

A module offers `EXPERIMENT`, an `Experiment`: what is claimed and by whom, a closed form of what
must come out, with its derivation, a run on the real servers, and the comparison of the two.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from labs.errors import UsageError

if TYPE_CHECKING:  # the names alone are to be had at once
    from labs.experiments.experiment import AnyExperiment

EXPERIMENTS = (
    # The lesson
    "idle-polling",
    "polling-delay",
    "longpolling-transit",
    "longpolling-frequent",
    "streaming-requests",
    "websocket-framing",
    "half-open",
    "upstream",
    "engineio-upgrade",
    "engineio-path",
    "upgrade-refused",
    "installed-or-web",
    # The literature
    "rfc6202-transits",
    "quantum-leap",
    "empty-polls",
    "appelqvist-ornmyr",
    "coordinated-omission",
    "pimentel-nickerson",
    "coalescing",
    "zombies",
    "deflate",
    # Folklore
    "always-faster",
    "crossover",
    "six-connections",
    "buffering-proxy",
    "sticky-sessions",
)
"""Every experiment, in the order in which it is told; `some-name` is in `some_name.py`."""


def load(name: str) -> AnyExperiment:
    """The experiment of this name; raises `UsageError` with the nearest one."""
    if name not in EXPERIMENTS:
        near = difflib.get_close_matches(name, EXPERIMENTS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else "see them all with: labs list experiments"
        raise UsageError(f"no experiment is called {name!r}; {hint}")
    module = import_module(f"labs.experiments.{name.replace('-', '_')}")
    experiment: AnyExperiment = module.EXPERIMENT
    return experiment


def titles() -> Iterator[tuple[str, str]]:
    """Every experiment's name and what it tries: the first line of its module, not imported."""
    for name in EXPERIMENTS:
        source = (Path(__file__).parent / f"{name.replace('-', '_')}.py").read_text("utf-8")
        yield name, (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
