"""A real browser for experiments: the system's Chromium, spoken to by its DevTools protocol.

One JSON message a WebSocket frame, in flat sessions (the protocol's domain `Target`). Nothing
stands between us and the browser that would set it up for tests: its timers, its connections
and what it does with hidden tabs are those that people have.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from time import monotonic
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from labs.errors import LabError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",  # the browser itself, in which a tab in front hides the others
    "--remote-debugging-port=0",
    "--no-sandbox",  # a browser of root's has no sandbox
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LISTENING = re.compile(rb"DevTools listening on (ws://\S+)")
START_S = 30.0  # how long a browser may take to start
ANSWER_S = 15.0  # ... to answer, and a page to come to what is waited for
LOOK_S = 0.02  # from one look at a page to the next


class Tab:
    """A tab of the browser."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self._browser, self._target, self._session = browser, target, session

    async def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page; a promise is waited for.

        Raises `LabError` when it throws.
        """
        how = {"expression": script, "awaitPromise": True, "returnByValue": True}
        answer = await self._browser.ask("Runtime.evaluate", self._session, **how)
        if "exceptionDetails" in answer:
            thrown = answer["exceptionDetails"].get("exception", {})
            raise LabError(f"the page threw {thrown.get('description', 'an error')}")
        return answer["result"].get("value")

    async def until(self, script: str, within_s: float = ANSWER_S) -> None:
        """Wait until an expression is true in the page; raises `LabError` when it never is."""
        end_s = monotonic() + within_s
        while not await self.run(f"Boolean({script})"):
            if monotonic() > end_s:
                raise LabError(f"the page did not come to {script} within {within_s:g} s")
            await asyncio.sleep(LOOK_S)

    async def show(self) -> None:
        """Bring it to the front; the tabs behind it are hidden."""
        await self._browser.ask("Target.activateTarget", targetId=self._target)

    async def close(self) -> None:
        """Close it, as its cross does: the page hears of it."""
        await self._browser.ask("Target.closeTarget", targetId=self._target)


class Browser:
    """A running Chromium. Its tabs share a window, a profile and its connections."""

    def __init__(self, process: asyncio.subprocess.Process, line: ClientConnection) -> None:
        self._process, self._line = process, line
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._listening = asyncio.create_task(self._listen())

    async def open(self, url: str) -> Tab:
        """A new tab, in front, on its way to a URL."""
        target = (await self.ask("Target.createTarget", url=url))["targetId"]
        attached = await self.ask("Target.attachToTarget", targetId=target, flatten=True)
        return Tab(self, target, attached["sessionId"])

    async def ask(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """One command of the protocol; raises `LabError` when it is refused or not answered."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        command: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session:
            command["sessionId"] = session
        try:
            await self._line.send(json.dumps(command))
            return await asyncio.wait_for(answer, ANSWER_S)
        except (ConnectionClosed, ConnectionResetError, TimeoutError):
            raise LabError(f"the browser does not answer {method}") from None
        finally:
            del self._answers[number]

    def kill(self) -> None:
        """End all its processes at once, by the group of the first one: no page hears of it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """End it, and the line to it."""
        self.kill()
        await self._process.wait()
        await self._line.close()
        await self._listening

    async def _listen(self) -> None:
        with suppress(ConnectionClosed):
            async for text in self._line:
                self._take(json.loads(text))
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError("the browser has ended"))

    def _take(self, said: dict[str, Any]) -> None:
        answer = self._answers.get(said.get("id", 0))
        if answer is None or answer.done():
            return
        if "error" in said:
            answer.set_exception(LabError(f"the browser refused: {said['error']['message']}"))
        else:
            answer.set_result(said["result"])


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """A browser with a profile of its own while inside; raises `LabError` without Chromium."""
    path = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if path is None:
        raise LabError("this needs Chromium (Debian: apt install chromium)")
    # Its last processes may still be writing when the folder goes.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            *(path, *FLAGS, f"--user-data-dir={profile}", "about:blank"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stderr
        log = process.stderr
        browser = None
        try:
            address = await _address(log)
            browser = Browser(process, await connect(address, max_size=None, proxy=None))
            draining = asyncio.create_task(_drain(log))
            yield browser
            await browser.close()
            await draining
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _address(log: asyncio.StreamReader) -> str:
    try:
        async with asyncio.timeout(START_S):
            async for line in log:
                if found := LISTENING.search(line):
                    return found[1].decode()
    except TimeoutError:
        raise LabError(f"the browser did not start within {START_S:g} s") from None
    raise LabError("the browser ended before it listened; see that chromium runs by itself")


async def _drain(log: asyncio.StreamReader) -> None:
    # A full pipe would stop the browser.
    while await log.read(65_536):
        pass


async def opened(browser: Browser, url: str) -> Tab:
    """A tab in which the chat's page has been loaded and asks for a name."""
    tab = await browser.open(url)
    # The page's script, a module, sets the title in the language of the reader at its end.
    await tab.until("document.readyState === 'complete' && document.body.dataset.state")
    return tab


async def ask_in(tab: Tab, name: str) -> None:
    """Give a name at the page's door."""
    await tab.run(
        f"(document.getElementById('name').value = {json.dumps(name)},"
        "document.getElementById('ask').requestSubmit())"
    )


async def join(tab: Tab, name: str) -> None:
    """Give a name at the page's door, and wait until it has let one in."""
    await ask_in(tab, name)
    await tab.until("!document.getElementById('chat').hidden")


async def say(tab: Tab, text: str) -> None:
    """Write something into the page, and send it."""
    await tab.run(
        f"(document.getElementById('text').value = {json.dumps(text)},"
        "document.getElementById('composer').requestSubmit())"
    )


def shows(text: str) -> str:
    """A script: whether a message of this text has come down."""
    return (
        "[...document.querySelectorAll('#lines .line .text')]"
        f".some((line) => line.textContent === {json.dumps(text)})"
    )
