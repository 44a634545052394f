"""A real client in a process of its own: `python -m tests.capture.person VARIANT URL`.

It joins and says so, answers `{"say": [...]}` once it has heard each of these words come down,
and `{"leave": true}` once it has left.
"""

from __future__ import annotations

import asyncio
import sys

from labs.settings import Settings
from labs.variants import load
from labs.wire.control import commands, reply

SETTINGS = {"interval_s": 0.2, "hold_s": 5.0}


async def main(name: str, url: str) -> None:
    variant = load(name)
    client = variant.client(url, variant.settings(Settings(**SETTINGS)))  # type: ignore[arg-type]
    await client.connect("ann")
    messages = client.messages()
    await anext(messages)
    reply({"joined": True})
    async for command in commands():
        if "leave" in command:
            break
        for text in command["say"]:
            _, heard = await asyncio.gather(client.send(text), anext(messages))
            assert heard.text == text
        reply({"heard": len(command["say"])})
    await client.close()
    reply({"left": True})


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
