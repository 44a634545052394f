"""The commands that measure: `labs bench`, `report`, `compare`, `doctor`.

Like the rest of the command line it imports what a command needs only when that runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RESULTS = Path("results")
BUDGET_S = 60.0
MOST_S = 86_400
WORKLOADS = "idle paced burst fanout upstream storm large korean"
NETWORKS = "lan, wifi, 4g, 3g, satellite"

Results = Annotated[Path, typer.Argument(help="A result of `labs bench`.", metavar="RESULT.json")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (bench, report, compare, doctor):
        app.command()(command)


def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names of `labs list`; the five if left out.", metavar="[NAMES]..."),
    ] = None,
    workload: Annotated[
        str,
        typer.Option(
            help=f"Some of {WORKLOADS}, or files that end in .toml, with commas; "
            "idle,paced,burst if left out."
        ),
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="What the crowds and the order come from.")] = 1,
    out: Annotated[Path, typer.Option(help="The folder results are written to.")] = RESULTS,
    budget_s: Annotated[
        float,
        typer.Option(
            "--budget",
            help="Repeat latency until it is settled, or until so many seconds are over in all; "
            "bytes and one round of latency are measured however long they take.",
            metavar="SECONDS",
            min=0,
            max=MOST_S,
        ),
    ] = BUDGET_S,
    network: Annotated[
        str, typer.Option(help=f"Take latency across one of {NETWORKS}, or a .toml file.")
    ] = "",
    url: Annotated[str | None, typer.Option(help="Measure a server that is there already.")] = None,
    variant: Annotated[
        str, typer.Option(help="With --url: what it speaks, a name of `labs list`.")
    ] = "",
) -> int:
    """Compare transports: bytes, requests, latency, losses, server load; write a report."""
    from labs.bench import command

    workloads = [part.strip() for part in workload.split(",") if part.strip()]
    wanted = [*(names or ()), *([variant] if variant else ())]
    return command.bench(wanted, workloads, seed, out, budget_s, network, url)


def report(
    result: Results,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where to write it.")] = None,
    markdown: Annotated[bool, typer.Option(help="Markdown instead of HTML.")] = False,
) -> None:
    """Make the report of a result again: one HTML file, or Markdown."""
    from labs.bench.report import report_files

    typer.echo(report_files(result, out, markdown))


def compare(
    old: Results,
    new: Results,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(help="Such as 'latency.p99>10%': then the status is 1; may be repeated."),
    ] = None,
) -> int:
    """Compare two results: ratios with intervals and effect sizes."""
    from labs.bench.compare import compare as compared

    return compared(old, new, fail_on or ())


def doctor() -> int:
    """Measure the instrument itself, and say what is missing on this machine."""
    from labs.bench.doctor import doctor as examined

    return examined()
