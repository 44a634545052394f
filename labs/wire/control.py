"""JSON lines between a process and its children: commands down stdin, answers up stdout.

A child ends when its stdin does, so none outlives its parent, however that ended.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar

import msgspec

from labs.errors import LabError

try:
    import resource
except ImportError:  # not a Unix
    resource = None  # type: ignore[assignment]

T = TypeVar("T")

LINE_BYTES = 1 << 24  # the longest line: a run's histograms
LOG_LINES = 20  # of a child's log, kept for the moment it dies
STOP_S = 8.0  # how long a child may take to end by itself


class ChildDiedError(LabError):
    """A process of the measurement ended before its time; `log` is the end of what it said."""

    def __init__(self, name: str, status: int | None, log: list[str]) -> None:
        said = "".join(f"\n    {line}" for line in log) or " It logged nothing."
        super().__init__(f"{name} ended with status {status} in the middle of a run.{said}")
        self.log = log


class Child:
    """A Python module running as a child process. `log` holds the last lines of its stderr."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        self.name = name
        self.pid = process.pid
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self._logging = asyncio.create_task(self._keep_log(process.stderr))

    @classmethod
    async def start(
        cls, name: str, module: str, *arguments: str, prefix: Sequence[str] = ()
    ) -> Child:
        """Run `python -m module arguments`; `name` is what people call it.

        `prefix` is a command that runs it in its place, in another namespace say.
        """
        # A session of its own: Ctrl-C at the terminal is the parent's to handle.
        process = await asyncio.create_subprocess_exec(
            *prefix,
            sys.executable,
            "-m",
            module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
            start_new_session=True,
        )
        return cls(name, process)

    def tell(self, command: dict[str, Any]) -> None:
        """Send a command."""
        self._stdin.write(msgspec.json.encode(command) + b"\n")

    async def hear(self, within_s: float) -> dict[str, Any]:
        """The next answer; raises `ChildDiedError`, or `LabError` when it takes too long.

        An answer with an `error` in it is raised as a `LabError`.
        """
        try:
            line = await asyncio.wait_for(self._stdout.readline(), within_s)
        except TimeoutError:
            raise LabError(f"{self.name} did not answer within {within_s:g} s") from None
        except ValueError:
            most = f"{LINE_BYTES:,} bytes"
            raise LabError(f"{self.name} answers more than {most} at once; ask for less") from None
        if not line:
            raise await self.died()
        answer: dict[str, Any] = msgspec.json.decode(line)
        if "error" in answer:
            raise LabError(f"{self.name}: {answer['error']}")
        return answer

    async def ask(self, command: dict[str, Any], within_s: float = 10.0) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self.tell(command)
        return await self.hear(within_s)

    async def died(self) -> ChildDiedError:
        """Wait for the end of the process, which was not asked for; answers what to raise."""
        status = await self._process.wait()
        await self._logging
        return ChildDiedError(self.name, status, list(self.log))

    async def stop(self) -> None:
        """Close its stdin and wait for it to end; a child that does not is killed."""
        with suppress(ConnectionError):
            self._stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_S)
        except TimeoutError:
            self.kill()
            await self._process.wait()
        await self._logging

    def terminate(self) -> None:
        """Ask it to end, and to put away what it has made."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it now."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def _keep_log(self, stderr: asyncio.StreamReader) -> None:
        async for line in stderr:
            self.log.append(line.decode(errors="replace").rstrip())


@asynccontextmanager
async def child(
    name: str, module: str, *arguments: str, prefix: Sequence[str] = ()
) -> AsyncIterator[Child]:
    """A child process while inside; ended if anything goes wrong, and never left behind."""
    starting = asyncio.create_task(Child.start(name, module, *arguments, prefix=prefix))
    try:
        yield await asyncio.shield(starting)
    except BaseException:
        (await starting).terminate()
        raise
    finally:
        await _stop(await starting)


async def _stop(process: Child) -> None:
    stopping = asyncio.create_task(process.stop())
    try:
        await asyncio.shield(stopping)
    except asyncio.CancelledError:
        process.kill()
        await stopping
        raise


class Mortal(Protocol):
    """Something that may end: a child, or a server of somebody else's."""

    async def died(self) -> LabError:
        """Wait for its end; answers what to raise then."""


async def while_alive(work: Coroutine[Any, Any, T], *others: Mortal) -> T:
    """The result of `work`; raises what `died` answers as soon as one of the others ends."""
    main = asyncio.create_task(work)
    deaths = [asyncio.create_task(other.died()) for other in others]
    try:
        done, _ = await asyncio.wait({main, *deaths}, return_when=asyncio.FIRST_COMPLETED)
        for death in deaths:
            if death in done:
                raise death.result()
        return main.result()
    finally:
        for task in (main, *deaths):
            task.cancel()
        await asyncio.gather(main, *deaths, return_exceptions=True)


async def together(*work: Coroutine[Any, Any, object]) -> None:
    """Do all at once; the first error ends the others and is raised."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def allow_files() -> None:
    """In a child: as many open sockets as the system lets this user have."""
    if resource is not None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def commands() -> AsyncIterator[dict[str, Any]]:
    """In a child: the parent's commands, until it closes the pipe or is gone."""
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    async for line in reader:
        yield msgspec.json.decode(line)


def reply(answer: Any) -> None:
    """In a child: answer the parent."""
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()
