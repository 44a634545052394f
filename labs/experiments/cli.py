"""The commands about claims and choices: `labs reproduce`, `labs advise`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labs.bench.cli import RESULTS

Names = Annotated[
    list[str],
    typer.Argument(help="Names of `labs list experiments`, or `all`.", metavar="NAMES..."),
]
MOST = 200_000  # clients, and rooms of them, as `labs.advise.need` has it


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command()(reproduce)
    app.command()(advise)


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


def advise(
    clients: Annotated[
        int, typer.Option(min=1, max=MOST, help="How many there are, all rooms together.")
    ],
    rate: Annotated[
        str,
        typer.Option(
            help="Messages said in each room by all its members together: 0.2 a second, 12/min; "
            "0 to 100,000 a second.",
        ),
    ],
    rtt: Annotated[
        str,
        typer.Option(
            help="The round trip between a client and the server: 80ms, 0.5s, 2; 0 to 60s."
        ),
    ] = "50ms",
    max_latency: Annotated[
        str,
        typer.Option(
            help="Within this 95 % of deliveries must be there, after sending; 1ms to 600s."
        ),
    ] = "1s",
    rooms: Annotated[
        int, typer.Option(min=1, max=MOST, help="The clients are spread over so many.")
    ] = 1,
    chars: Annotated[
        int, typer.Option(min=1, max=1_900, help="The median length of a text, in characters.")
    ] = 24,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy refuses the upgrade to WebSocket.")
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser", help="Request heads of Chromium, not of Python.")
    ] = False,
    result: Annotated[
        Path | None,
        typer.Option(help="Take CPU and memory from a result of `labs bench`; else measured now."),
    ] = None,
) -> int:
    """Choose a transport: which ones meet a need, at what bytes, requests, CPU and memory."""
    from labs.advise.command import advise as advised
    from labs.advise.need import Need, rate_per_s, seconds

    need = Need(
        clients=clients,
        rate_per_s=rate_per_s("--rate", rate),
        rooms=rooms,
        rtt_s=seconds("--rtt", rtt),
        max_latency_s=seconds("--max-latency", max_latency),
        chars=chars,
        behind_proxy=behind_proxy,
        browser=browser,
    )
    return advised(need, result)
