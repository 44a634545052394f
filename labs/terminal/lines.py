"""Lines from a terminal, a pipe or a file, without a thread and without blocking the loop."""

from __future__ import annotations

import asyncio
import codecs
import os
from collections.abc import AsyncIterator

CHUNK_BYTES = 65_536


async def lines(descriptor: int, encoding: str = "utf-8") -> AsyncIterator[str]:
    """The lines read from a file descriptor, without their ends, until its own end.

    Bytes that are not in the encoding become U+FFFD. Nothing is read ahead of need.
    """
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    rest = ""
    while True:
        await _readable(descriptor)
        chunk = os.read(descriptor, CHUNK_BYTES)
        *whole, rest = (rest + decoder.decode(chunk, final=not chunk)).split("\n")
        for line in whole:
            yield line.removesuffix("\r")
        if not chunk:
            break
    if rest:
        yield rest


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except PermissionError:  # epoll takes no regular file, which never keeps anyone waiting
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
