"""`labs bench`: measure, print the tables, write the result and the report."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from labs import variants
from labs.bench import results
from labs.bench.comparison import Comparison
from labs.bench.host import find as find_variant
from labs.bench.results import Result, Run
from labs.bench.stats import warnings
from labs.bench.table import caption, columns, parts, table
from labs.bench.workload import DEFAULT, Workload, find
from labs.errors import LabError, UsageError
from labs.net.network import Network
from labs.net.network import load as load_network

BUDGET_S = 60.0
CONNECT_S = 3.0  # a server that is there answers sooner
INTERRUPTED = 130  # the exit status of a program ended by SIGINT
TERMINATED = 143  # ... and by SIGTERM
HTTP_PORT = 80


def bench(
    names: Sequence[str] = (),
    workloads: Sequence[str] = (),
    seed: int = 1,
    out: Path = Path("results"),
    budget_s: float = BUDGET_S,
    network: str = "",
    url: str | None = None,
) -> int:
    """Measure variants under workloads, print the tables, write results; answers the status.

    Nothing named means all five, under the default workloads. Bytes are counted and one round of
    latency taken; then rounds are repeated until the figures are settled, or until `budget_s`
    seconds are over. `network` is the name or the file of one to emulate; `url` a server that is
    there already, for one variant. The status is 1 when a message met a wrong fate, or a run
    failed, 130 after Ctrl-C and 143 after SIGTERM. Raises `UsageError`.
    """
    begun_s = monotonic()
    wanted = [find(name) for name in dict.fromkeys(workloads or DEFAULT)]
    _check_names(wanted)
    chosen = _variants(names)
    emulated = load_network(network) if network else None
    results.check_folder(out)
    if url is not None:
        _check_url(url, chosen, emulated)
    with Termination() as termination:
        with Bar() as bar:
            comparison = Comparison(
                chosen, wanted, seed, budget_s, bar, emulated, url or "", bar.tell
            )
            ended, status = _measure(comparison, termination)
        result = _result(comparison, ended, monotonic() - begun_s)
        if not all(run.valid for run in result.runs):
            status = status or 1
        screen = Console()
        _show(screen, result)
        if result.runs:
            _write(screen, result, out, begun_s)
    return status or (TERMINATED if termination.told else 0)


def _measure(comparison: Comparison, termination: Termination) -> tuple[str, int]:
    """What ended it before its time, if something did, and the status so far."""
    try:
        asyncio.run(termination.ending(comparison.measure()))
    except LabError as error:
        return str(error), 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        word, status = (
            ("Terminated", TERMINATED) if termination.told else ("Interrupted", INTERRUPTED)
        )
        kept = f"{word}: the {len(comparison.runs)} runs that were finished are kept."
        return "\n".join([*comparison.failed.values(), kept]), status
    return "", 0


class Termination:
    """While inside, SIGTERM ends the measuring and not the program, which still has to write.

    Beside the main thread signals are nobody's to handle.
    """

    def __init__(self) -> None:
        self.told = False
        self._main: asyncio.Task[None] | None = None

    def __enter__(self) -> Termination:
        self._main_thread = threading.current_thread() is threading.main_thread()
        if self._main_thread:
            self._before = signal.signal(signal.SIGTERM, self._tell)
        return self

    def __exit__(self, *_: object) -> None:
        if self._main_thread:
            signal.signal(signal.SIGTERM, self._before)

    async def ending(self, work: Awaitable[None]) -> None:
        """Do some work; SIGTERM cancels it."""
        self._main = asyncio.current_task()
        if self.told and self._main:
            self._main.cancel()
        try:
            await work
        finally:
            self._main = None

    def _tell(self, *_: object) -> None:
        self.told = True
        if self._main:
            self._main.get_loop().call_soon_threadsafe(self._main.cancel)


class Bar:
    """The progress of a comparison, on a terminal; it disappears when it is over."""

    def __init__(self) -> None:
        screen = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("runs"),
            TimeElapsedColumn(),
            console=screen,
            transient=True,
            disable=not screen.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=0)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tell(self, line: str) -> None:
        """Something that nobody should overlook: a line on stderr, above the bar."""
        self._progress.console.print(f"labs: {line}", markup=False, highlight=False, soft_wrap=True)

    def expect(self, runs: int) -> None:
        """So many runs more will be made."""
        self._progress.update(self._task, total=(self._progress.tasks[0].total or 0) + runs)

    def doing(self, what: str) -> None:
        """This is being done now."""
        self._progress.update(self._task, description=what)

    def made(self, run: Run) -> None:
        """A run is finished."""
        self._progress.advance(self._task)


def _variants(names: Sequence[str]) -> list[str]:
    """The names, each once; raises `UsageError` for one that cannot be had."""
    for name in names:
        # A registered name need not be imported here, only in its own processes.
        if name not in variants.VARIANTS:
            find_variant(name)
    return list(dict.fromkeys(names or variants.FIVE))


def _check_names(workloads: Sequence[Workload]) -> None:
    """Raises `UsageError` for two of one name, which results could not tell apart."""
    for name, times in Counter(workload.name for workload in workloads).items():
        if times > 1:
            raise UsageError(f"two workloads are called {name}; give one of them another `name`")


def _check_url(url: str, names: Sequence[str], network: Network | None) -> None:
    """Raises `UsageError` for what cannot be measured, `LabError` where nobody answers."""
    host, port = _address(url)
    if not host or not port:
        raise UsageError(
            f"url is {url!r}; give one like http://127.0.0.1:30001, with a port from 1 to 65535"
        )
    if len(names) != 1:
        raise UsageError("a server of yours speaks one transport; name it with --variant")
    if network:
        raise UsageError("a network is put before servers of our own; leave --network or --url out")
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S):
            return
    except OSError as error:
        reason = error.strerror or error
        raise LabError(f"nobody answers at {url} within {CONNECT_S:g} s: {reason}") from None


def _address(url: str) -> tuple[str, int]:
    """Host and port of a URL; empty and 0 where it has none that there can be."""
    try:
        there = urlsplit(url)
        port = HTTP_PORT if there.port is None else there.port
    except ValueError:
        return "", 0
    return (there.hostname or "", port) if there.scheme == "http" else ("", 0)


def _result(comparison: Comparison, ended: str, elapsed_s: float) -> Result:
    return Result(
        format=results.FORMAT,
        made_at=results.now(),
        elapsed_s=elapsed_s,
        ended=ended,
        seed=comparison.seed,
        variants=comparison.names,
        workloads=comparison.workloads,
        machine=results.this_machine(),
        versions=results.versions(),
        runs=comparison.runs,
        floor=comparison.floor,
        shaping=comparison.shaping,
        url=comparison.url,
        budget_s=comparison.budget_s,
    )


def _show(screen: Console, result: Result) -> None:
    shown = [workload for workload in result.workloads if columns(result, workload)]
    captions = [[english for english, _ in caption(result, workload)] for workload in shown]
    common = (
        [line for line in captions[0] if all(line in each for each in captions)] if shown else []
    )
    for workload, lines in zip(shown, captions, strict=True):
        for part in parts(columns(result, workload)):
            screen.print(table(result, workload, part))
        _say(screen, (line for line in lines if line not in common))
    _say(screen, common)
    for said in warnings(result):
        style = "bold red" if said == result.ended else "yellow"
        screen.print(f"warning: {said}", style=style, markup=False, highlight=False)


def _say(screen: Console, lines: Iterable[str]) -> None:
    for line in lines:
        screen.print(line, style="dim", markup=False, highlight=False)
    screen.print()


def _write(screen: Console, result: Result, out: Path, begun_s: float) -> None:
    from labs.bench import report  # matplotlib: a second that a failed start need not cost

    path = results.save(result, out)
    page = report.write(result, path.with_suffix(".html"))
    runs, seconds = len(result.runs), monotonic() - begun_s
    # Not wrapped: the last line is a path to be copied.
    screen.print(f"{runs} runs in {seconds:.0f} s", highlight=False)
    screen.print(f"report: {page}", soft_wrap=True, markup=False, highlight=False)
