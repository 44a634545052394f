"""A page as the original lesson has it, served from its own folder, unchanged (S10.6)."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser, Dialog, Page, expect

from tests.browser.site import SETTINGS, Site

PAGE = """<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<div id="chat"></div>
<input id="message"><button onclick="send()">send</button>
<script src="/socket.io/socket.io.js"></script>
<script>
  const socket = io();
  socket.on("connect", () => socket.emit("newUserConnect", prompt("?")));
  socket.on("updateMessage", (data) => {
    const line = document.createElement("p");
    line.textContent = data.name === "SERVER" ? data.message : data.name + ": " + data.message;
    document.getElementById("chat").append(line);
  });
  const send = () => {
    socket.emit("sendMessage", { message: document.getElementById("message").value });
  };
</script>
"""


async def visit(browser: Browser, url: str, name: str) -> Page:
    page = await browser.new_page()

    async def answer(dialog: Dialog) -> None:
        await dialog.accept(name)

    page.on("dialog", answer)
    await page.goto(url)
    return page


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("name", ["socketio", "socketio-websocket", "socketio-polling"])
async def test_S10_6_a_page_of_the_lesson(browser: Browser, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "public"
    folder.mkdir()
    transports = f'io({{transports: ["{name.removeprefix("socketio-")}"]}})'
    html = PAGE if name == "socketio" else PAGE.replace("io()", transports)
    (folder / "index.html").write_text(html, encoding="utf-8")
    (tmp_path / "secret.txt").write_text("not for visitors", encoding="utf-8")
    site = Site(name, SETTINGS.but(page=str(folder)))
    await site.start()
    try:
        alice = await visit(browser, site.url, "alice")
        said = alice.locator("#chat p")
        await expect(said).to_have_text(["alice님이 접속했습니다."])
        bob = await visit(browser, site.url, "밥")
        await expect(said.nth(1)).to_have_text("밥님이 접속했습니다.")
        await bob.fill("#message", "안녕하세요")
        await bob.click("button")
        for page in (alice, bob):
            await expect(page.locator("#chat p").last).to_have_text("밥: 안녕하세요")
        await bob.close()
        await expect(said.last).to_have_text("밥님이 퇴장했습니다.")
        await alice.close()
        async with aiohttp.ClientSession() as http:
            for path in ("/%2e%2e/secret.txt", "/..%2fsecret.txt", "/%00", "/nothing.html"):
                async with http.get(site.url + path) as response:
                    assert response.status == 404
    finally:
        await site.stop()
