"""`labs wire`: record what passes between clients and a server, show it, draw it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Record what goes over the wire, show it, draw it.",
    no_args_is_help=True,
)

File = Annotated[Path, typer.Argument(help="A recording.", metavar="FILE", show_default=False)]


@app.command()
def show(
    file: File,
    connection: Annotated[
        int | None, typer.Option(help="Only this connection, counted from 0.", min=0)
    ] = None,
) -> None:
    """Print a recording: heads, bodies, frames, events, packets; bytes by layer at the end."""
    from labs.wire.recording import load
    from labs.wire.show import shown

    for line in shown(load(file), connection):
        typer.echo(line)


@app.command()
def draw(
    file: File,
    out: Annotated[Path, typer.Option("-o", "--out", help="The SVG file to write.")],
) -> None:
    """Draw a recording as a sequence diagram."""
    from labs.errors import LabError
    from labs.wire.recording import load
    from labs.wire.sequence import draw as drawn

    picture = drawn(load(file))
    try:
        out.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise LabError(f"{out}: {error.strerror}") from None


@app.command()
def record(
    target: Annotated[
        str, typer.Argument(help="A name of `labs list`, or a server's URL.", metavar="NAME_OR_URL")
    ],
    file: Annotated[Path, typer.Argument(help="Where the recording goes.", metavar="FILE")],
) -> None:
    """Record between clients and a server until Ctrl-C, any client, a browser too."""
    import asyncio

    from labs.wire.record import record as recorded
    from labs.wire.record import summary

    recording = asyncio.run(recorded(target, file, _announce))
    typer.echo(summary(recording, file))


def _announce(url: str) -> None:
    typer.echo(f"Open {url} in a browser, or give it to labs chat as --url.")
    typer.echo("Press Ctrl-C to stop.")
