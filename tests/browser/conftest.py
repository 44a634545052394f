"""A browser for all tests, and for each a site of its own."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from labs.variants import FIVE
from tests.browser.person import Person, arrive
from tests.browser.site import Line, Site
from tests.need import need

EVERY = (*FIVE, "socketio-websocket", "socketio-polling")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",  # a browser of root's has no sandbox
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

Open = Callable[..., Awaitable[Person]]

expect.set_options(timeout=15_000)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The system's Chromium."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    need(path, "Chromium is needed to test the page (Debian: apt install chromium).")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session", params=EVERY)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A running server, one test for each variant and configuration."""
    site = Site(request.param)
    await site.start()
    yield site
    await site.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def line(site: Site) -> AsyncIterator[Line]:
    """A line to the site that can be cut."""
    line = Line(site)
    await line.start()
    yield line
    await line.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def window(browser: Browser, site: Site) -> AsyncIterator[Open]:
    """A function that opens the page of the site in a new window, once for each person."""
    people: list[Person] = []

    async def open_window(locale: str = "en-US", url: str = "") -> Person:
        people.append(await arrive(browser, url or site.url, locale))
        return people[-1]

    yield open_window
    for person in people:
        await person.page.context.close()
