"""The event loop of the instrument's own processes: uvloop's where it is installed.

The servers run on asyncio's own loop unless asked otherwise: they are what is measured, and
people who start them without an extra get that one.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version

try:
    import uvloop
except ImportError:  # it is not made for Windows
    uvloop = None  # type: ignore[assignment]


def runner() -> asyncio.Runner:
    """A runner of the faster loop."""
    return asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None)


def name() -> str:
    """Which loop that is, with its version."""
    return f"uvloop {version('uvloop')}" if uvloop else "asyncio"
