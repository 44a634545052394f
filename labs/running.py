"""From a command line to servers that run until they are told to stop."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from labs.errors import UsageError
from labs.settings import Settings
from labs.variants import Variant

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """While inside, the first SIGINT or SIGTERM sets the event; a second one ends the process."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def give_back() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    def asked() -> None:
        stop.set()
        give_back()

    for number in SIGNALS:
        loop.add_signal_handler(number, asked)
    try:
        yield stop
    finally:
        give_back()


async def run(
    variants: Sequence[Variant],
    settings: Settings,
    host: str,
    port: int,
    announce: Callable[[Mapping[str, str]], None],
) -> None:
    """Serve the variants on `port`, `port` + 1 ... until a signal; port 0 lets the system choose.

    `announce` is given each name's URL once all of them serve. Raises `UsageError` when a
    port cannot be had, or a setting is one that a configuration keeps to itself.
    """
    if port + len(variants) - 1 > 65_535:
        raise UsageError(f"there are no {len(variants)} ports from {port} on; take a lower --port")
    started = [asyncio.get_running_loop().create_future() for _ in variants]
    urls: dict[str, str] = {}
    with stop_signals() as stop:
        try:
            async with asyncio.TaskGroup() as group:
                # One after the other: asyncio loses a socket when a start is cancelled half way.
                for index, variant in enumerate(variants):
                    own_port = port and port + index
                    group.create_task(
                        _serve(variant, settings, host, own_port, started[index], stop)
                    )
                    urls[variant.name] = await started[index]
                announce(urls)
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None


async def _serve(
    variant: Variant,
    settings: Settings,
    host: str,
    port: int,
    started: asyncio.Future[str],
    stop: asyncio.Event,
) -> None:
    chat = variant.chat(_own(variant, settings))
    try:
        async with variant.serve(chat, host, port) as url:
            started.set_result(url)
            await stop.wait()
    except OSError as error:
        if started.done():
            raise
        raise UsageError(_unheard(error, host, port)) from None


def _own(variant: Variant, settings: Settings) -> Settings:
    default = Settings()
    for name in variant.overrides:
        if getattr(settings, name) != getattr(default, name):
            raise UsageError(f"{variant.name} has its own {name}; leave that option out")
    return variant.settings(settings)


def _unheard(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is taken; stop what runs there, or give another --port"
    if error.errno == errno.EACCES:
        return f"port {port} of {host} is not for you; give a --port above 1023"
    # asyncio puts its own words around the system's; a failed look-up has none of those.
    why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return f"cannot serve at {host}, port {port}: {why}; give another --host"
