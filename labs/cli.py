"""The command line: `labs list`, `run`, `chat`, `diff`, and what measures (`labs.bench.cli`).

Only what a command needs is imported, and only once it runs: `labs list` answers at once.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import typer

from labs.bench import cli as bench_cli
from labs.errors import LabError, UsageError
from labs.experiments import cli as experiments_cli
from labs.settings import Settings
from labs.variants import FIVE, VARIANTS, load
from labs.wire import cli as wire_cli

DEFAULT = Settings()
PORT = 30_001
DAY_S = 86_400
TRANSPORTS = ",".join(DEFAULT.transports)

app = typer.Typer(
    name="labs",
    help="One chat over five transports, and the instrument that compares them.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

bench_cli.add_to(app)
experiments_cli.add_to(app)
app.add_typer(wire_cli.app, name="wire")

Name = Annotated[str, typer.Argument(help="A name of `labs list`.", metavar="NAME")]
Room = Annotated[str, typer.Option(help="The room people join.")]
EnginePath = Annotated[str, typer.Option(help="socketio: where Engine.IO lives.")]
Transports = Annotated[
    str, typer.Option(help="socketio: polling, websocket or both, in the order tried.")
]


def seconds(option: str, meaning: str) -> typer.models.OptionInfo:
    """An option in seconds; the name of its parameter ends in `_s`."""
    info: typer.models.OptionInfo = typer.Option(
        option, help=f"{meaning}, in seconds.", metavar="SECONDS", min=0, max=DAY_S
    )
    return info


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="`variants` or `experiments`.")] = "variants",
) -> None:
    """Show every name that can be run, or every claim that can be tried."""
    if what == "experiments":
        from labs.experiments import titles

        for name, title in titles():
            typer.echo(f"{name:<24}{title}")
        return
    if what != "variants":
        raise UsageError(f"there is no list of {what!r}; say variants or experiments")
    for name in VARIANTS:
        typer.echo(f"{name:<20}{_describe(name)}")


@app.command()
def run(
    name: Annotated[
        str, typer.Argument(help="A name of `labs list`, or `all` for the five.", metavar="NAME")
    ],
    host: Annotated[str, typer.Option(help="The address to serve at.")] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(min=0, max=65_535, help="The port, for `all` the first; 0: any free one."),
    ] = PORT,
    room: Room = DEFAULT.room,
    interval_s: Annotated[
        float, seconds("--interval", "polling: from one poll to the next")
    ] = DEFAULT.interval_s,
    hold_s: Annotated[
        float, seconds("--hold", "longpolling: how long a poll may wait")
    ] = DEFAULT.hold_s,
    heartbeat_s: Annotated[
        float, seconds("--heartbeat", "streaming, websocket, socketio: the longest silence")
    ] = DEFAULT.heartbeat_s,
    lease_s: Annotated[
        float, seconds("--lease", "When a lost client is announced as gone")
    ] = DEFAULT.lease_s,
    path: EnginePath = DEFAULT.path,
    transports: Transports = TRANSPORTS,
    no_coalesce: Annotated[
        bool, typer.Option("--no-coalesce", help="Send each message by itself, at once.")
    ] = False,
    page: Annotated[
        str, typer.Option(help="A folder with a page of your own, in place of ours.")
    ] = DEFAULT.page,
) -> None:
    """Serve the chat over one transport, or over all five, until Ctrl-C."""
    import asyncio

    from labs import running

    settings = _settings(
        room=room,
        interval_s=interval_s,
        hold_s=hold_s,
        heartbeat_s=heartbeat_s,
        lease_s=lease_s,
        path=path,
        transports=_split(transports),
        coalesce_ms=None if no_coalesce else DEFAULT.coalesce_ms,
        page=page,
    )
    variants = [load(one) for one in (FIVE if name == "all" else (name,))]
    asyncio.run(running.run(variants, settings, host, port, _announce))


@app.command()
def chat(
    name: Name,
    url: Annotated[str, typer.Option(help="Where the server is.")] = f"http://127.0.0.1:{PORT}",
    nick: Annotated[
        str | None, typer.Option("--name", help="Who you are; asked for if left out.")
    ] = None,
    room: Room = DEFAULT.room,
    interval_s: Annotated[
        float, seconds("--interval", "polling: from one poll to the next")
    ] = DEFAULT.interval_s,
    path: EnginePath = DEFAULT.path,
    transports: Transports = TRANSPORTS,
) -> None:
    """Chat in the terminal: every line is a message; end with Ctrl-D, or Ctrl-C."""
    import asyncio

    from labs.terminal import Conversation, spoken
    from labs.terminal.lines import lines

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"url is {url!r}; give one like http://127.0.0.1:{PORT}")
    settings = _settings(room=room, interval_s=interval_s, path=path, transports=_split(transports))
    variant, words = load(name), spoken()
    nick = nick or _ask(words.ask_name)

    async def talk() -> None:
        await Conversation(
            variant.client(url, variant.settings(settings)),
            lines(sys.stdin.fileno(), sys.stdin.encoding),
            greet=lambda joined: typer.echo(words.greet(joined)),
            tell=lambda message: typer.echo(words.tell(message)),
            complain=_complain,
        ).run(nick)

    try:
        asyncio.run(talk())
    except OSError as error:
        raise LabError(str(error)) from error


@app.command()
def diff(
    a: Annotated[str, typer.Argument(help="A name of `labs list`.")],
    b: Annotated[str, typer.Argument(help="Another one.")],
    file: Annotated[
        list[str] | None, typer.Option(help="Only this file, say server.py; may be repeated.")
    ] = None,
) -> None:
    """Show what differs between two transports, in their servers and clients."""
    from labs.diff import FILES, difference, show

    unknown = set(file or ()) - set(FILES)
    if unknown:
        raise UsageError(f"no variant has {unknown.pop()!r}; there are {', '.join(FILES)}")
    show(difference(load(a), load(b), file or FILES))


def main(argv: list[str] | None = None) -> NoReturn:
    """Run a command line, `sys.argv` by default, and end the process.

    What the user got wrong ends it with one line and status 2, what went wrong otherwise
    with one line and status 1.
    """
    try:
        status = app(argv, prog_name="labs", standalone_mode=False)
    except typer.TyperException as error:
        status = error.exit_code
        _complain(error.format_message())
    except typer.Abort:  # the end of input where an answer was asked for
        status = 1
    except LabError as error:
        status = 2 if isinstance(error, UsageError) else 1
        _complain(str(error))
    sys.exit(status or 0)


def _complain(sentence: str) -> None:
    if sentence:
        typer.echo("labs: " + " ".join(sentence.split()), err=True)


def _announce(urls: Mapping[str, str]) -> None:
    for name, url in urls.items():
        typer.echo(f"{name:<20}{url}")
    typer.echo("Press Ctrl-C to stop.")


def _ask(question: str) -> str:
    if not sys.stdin.isatty():
        raise UsageError("who are you? give a name with --name")
    return input(question)


def _settings(**given: object) -> Settings:
    from labs.chat.messages import clean_name
    from labs.errors import ChatError

    settings = DEFAULT.but(**given)
    try:
        clean_name(settings.room, settings)
    except ChatError as error:
        raise UsageError(f"room is {settings.room!r}: {error.message}") from None
    return settings


def _split(words: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in words.split(",") if part.strip())


def _describe(name: str) -> str:
    """The title, and the rest of the package's first line, read without importing the package."""
    package, attribute = VARIANTS[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise LabError(f"the package {package} is missing; install the project again")
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    title = next(
        str(ast.literal_eval(keyword.value))
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        for keyword in node.value.keywords
        if keyword.arg == "title" and ast.unparse(node.targets[0]) == attribute
    )
    if attribute != "VARIANT":  # a configuration, of which the package does not speak
        return title
    what = (ast.get_docstring(tree) or "").partition("\n")[0].partition(": ")[2]
    return f"{title}: {what}"
