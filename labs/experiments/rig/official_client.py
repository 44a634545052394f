"""The official JavaScript client of Socket.IO in a browser, as the lesson's page has it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from labs.experiments.rig.browser import Browser, Tab
from labs.settings import Settings

LOAD = """new Promise((done, fail) => {
    const script = document.createElement("script");
    [script.src, script.onload, script.onerror] = [location.href, () => done(true), fail];
    document.head.append(script);
})"""
"""Run the script that the tab shows: the policy of our pages allows that, and no other."""

JOIN = """new Promise((done, fail) => {
    const begun = performance.now();
    const socket = io({path: %s, transports: %s, forceNew: true, reconnection: false});
    socket.on("connect_error", fail);
    socket.on("connect", () => socket.emit("newUserConnect", %s, () => {}));
    socket.on("updateMessage", () => {
        done((performance.now() - begun) / 1000);
        socket.close();
    });
})"""


@asynccontextmanager
async def loaded(browser: Browser, url: str, settings: Settings) -> AsyncIterator[Tab]:
    """A tab that has loaded the client from a server while inside; raises `LabError`."""
    script = f"{url}{settings.path}/socket.io.js"
    tab = await browser.open(script)
    await tab.until(f"location.href === {json.dumps(script)} && document.readyState === 'complete'")
    await tab.run(LOAD)
    yield tab
    await tab.close()


async def first_message_s(tab: Tab, settings: Settings) -> float:
    """From a client's making until its first message, which announces it, by the page's clock.

    Joins the room of the settings by their path and transports. Raises `LabError`.
    """
    told = settings.path, list(settings.transports), {"name": "client0", "room": settings.room}
    return float(await tab.run(JOIN % tuple(map(json.dumps, told))))
