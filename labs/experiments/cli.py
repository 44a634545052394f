"""The commands about claims: `labs reproduce`, `labs list experiments`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labs.bench.cli import RESULTS

Names = Annotated[
    list[str],
    typer.Argument(help="Names of `labs list experiments`, or `all`.", metavar="NAMES..."),
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command()(reproduce)


def reproduce(
    names: Names,
    seed: Annotated[int, typer.Option(min=0, help="What the crowds and the order come from.")] = 1,
    out: Annotated[Path, typer.Option(help="The folder the scorecard is written to.")] = RESULTS,
    markdown: Annotated[
        Path | None, typer.Option(help="One more file for the scorecard in Markdown.")
    ] = None,
) -> int:
    """Try what is claimed of transports: predict, measure, judge; write a scorecard."""
    from labs.experiments.command import reproduce as reproduced

    return reproduced(names, seed, out, markdown)
