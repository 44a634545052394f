"""One chat over five transports, and the instrument that compares them.

    import labs

    async with labs.serve("polling") as server: ...
    result = await labs.measure("paced", ["polling", "websocket"])

These names are imported when they are first used, so that `labs list` need not wait for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labs.notebook.guess import guess as guess
    from labs.notebook.measured import count_bytes as count_bytes
    from labs.notebook.measured import measure as measure
    from labs.notebook.measured import reproduce as reproduce
    from labs.notebook.measured import take_latency as take_latency
    from labs.notebook.measured import workload as workload
    from labs.notebook.server import serve as serve
    from labs.notebook.tape import begin as begin

__version__ = "0.1.0"

_PLACES = {
    "begin": "labs.notebook.tape",
    "count_bytes": "labs.notebook.measured",
    "guess": "labs.notebook.guess",
    "measure": "labs.notebook.measured",
    "reproduce": "labs.notebook.measured",
    "serve": "labs.notebook.server",
    "take_latency": "labs.notebook.measured",
    "workload": "labs.notebook.measured",
}


if not TYPE_CHECKING:  # a checker is told above which names there are

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
