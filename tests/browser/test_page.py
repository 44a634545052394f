"""The page itself, whatever carries the messages: languages, limits, keys, scrolling."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from labs.errors import CODES
from labs.settings import Settings
from tests.browser.conftest import Open
from tests.browser.person import arrive
from tests.browser.site import SETTINGS, Site

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[Site]:
    """One variant is enough: the page knows nothing of transports."""
    site = Site("longpolling", SETTINGS.but(text_chars=40))
    await site.start()
    yield site
    await site.stop()


async def test_the_language_can_be_switched_and_is_remembered(window: Open) -> None:
    alice = await window()
    html = alice.page.locator("html")
    await expect(html).to_have_attribute("lang", "en")
    await alice.joins("alice")
    await alice.page.get_by_role("button", name="한국어").click()
    await expect(html).to_have_attribute("lang", "ko")
    await expect(alice.log).to_have_text("alice님이 접속했습니다.")
    await expect(alice.state).to_have_text("연결됨")
    await expect(alice.page).to_have_title("lobby · 채팅")
    await alice.page.reload()
    await expect(html).to_have_attribute("lang", "ko")
    await expect(alice.page.get_by_role("button", name="들어가기")).to_be_visible()
    assert alice.troubles == []


@pytest.mark.parametrize("name", ["", "server", "x" * 33, "a\u202eb"])
async def test_a_name_that_cannot_be_used(window: Open, name: str) -> None:
    person = await window("ko-KR")
    await person.asks(name)
    await expect(person.page.locator("#name-error")).to_contain_text("쓸 수 없는 대화명입니다.")
    await expect(person.name).to_have_value(name)
    await expect(person.name).to_be_focused()


async def test_characters_are_counted_as_code_points(window: Open) -> None:
    alice = await window()
    await alice.joins("alice")
    await alice.text.fill("🚆" * 40)
    await expect(alice.page.locator("#text-count")).to_have_text("40 of 40 characters")
    await alice.text.press("Enter")
    await alice.sees("alice", "🚆" * 40)
    await alice.says("🚆" * 41)
    await expect(alice.page.locator("#text-error")).to_contain_text("Write 1 to 40 characters")
    await expect(alice.text).to_have_value("🚆" * 41)
    await expect(alice.page.locator("#pending .line")).to_have_count(0)
    await alice.sees_state("open")


async def test_the_enter_that_ends_a_composition_sends_nothing(window: Open) -> None:
    alice = await window()
    await alice.joins("alice")
    await alice.text.fill("안녕하세")
    await alice.text.dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    await expect(alice.text).to_have_value("안녕하세")
    await alice.text.press("Shift+Enter")
    await alice.text.press_sequentially("요")
    await alice.text.press("Enter")
    await alice.sees("alice", "안녕하세 요")
    await expect(alice.page.locator("#lines .text")).to_have_count(1)


async def test_the_end_is_followed_only_from_the_end(window: Open) -> None:
    alice, bob = await window(), await window()
    await alice.joins("alice")
    await bob.joins("bob")
    for number in range(40):
        await bob.says(f"line {number}")
    await alice.sees("bob", "line 39")
    last = alice.page.locator("#lines .line").last
    await expect(last).to_be_in_viewport()
    up = "one => new Promise(done => { one.onscroll = done; one.scrollTop = 0 })"
    await alice.page.locator("#scroller").evaluate(up)
    await bob.says("line 40")
    newer = alice.page.get_by_role("button", name="New messages")
    await expect(newer).to_be_visible()
    await alice.sees("bob", "line 40")
    await expect(last).not_to_be_in_viewport()
    await newer.click()
    await expect(last).to_be_in_viewport()
    await expect(newer).to_be_hidden()


async def test_keys_are_enough_to_chat_and_leave(window: Open) -> None:
    alice = await window()
    keyboard = alice.page.keyboard
    await expect(alice.name).to_be_focused()
    await keyboard.type("alice")
    await keyboard.press("Enter")
    await expect(alice.text).to_be_focused()
    await keyboard.type("no mouse")
    await keyboard.press("Enter")
    await alice.sees("alice", "no mouse")
    order: list[str] = []
    while "text" not in order and len(order) < 20:
        await keyboard.press("Tab")
        order.append(await alice.page.evaluate("document.activeElement.id"))
    assert [place for place in order if place] == [
        *("send", "present", "leave", "language", "scroller", "text")
    ]
    await alice.page.locator("#leave").press("Enter")
    await expect(alice.name).to_be_focused()


async def test_everything_can_be_told_by_a_screen_reader(window: Open) -> None:
    alice = await window()
    await alice.joins("alice")
    await expect(alice.log).to_have_accessible_name("Messages")
    await expect(alice.log).to_have_attribute("aria-live", "polite")
    await expect(alice.text).to_have_accessible_description(
        "Enter sends, Shift + Enter begins a new line."
    )
    await expect(alice.page.get_by_role("list", name="Who is here")).to_be_visible()
    await expect(alice.page.get_by_role("status")).to_have_text("Connected")


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
async def test_a_phone_has_room_for_all_of_it(browser: Browser, site: Site, locale: str) -> None:
    minsu = await arrive(browser, site.url, locale)
    await minsu.page.set_viewport_size({"width": 390, "height": 844})
    await minsu.page.reload()
    await minsu.joins("민수")
    await minsu.says("가" * 40)
    await minsu.sees("민수", "가" * 40)
    await expect(minsu.text).to_be_in_viewport(ratio=1)
    await expect(minsu.page.locator("#language")).to_be_in_viewport(ratio=1)
    await expect(minsu.present).to_be_hidden()
    await minsu.page.locator("#present").click()
    await expect(minsu.present).to_be_in_viewport(ratio=1)
    assert not await minsu.page.evaluate("document.documentElement.scrollWidth > innerWidth")
    await minsu.page.context.close()


async def test_a_server_that_is_gone_before_one_joins(site: Site, window: Open) -> None:
    alice = await window()
    await site.stop()
    await alice.asks("alice")
    await expect(alice.page.get_by_role("alert")).to_have_text(
        "The server does not answer. See that it is running, then try again."
    )
    await site.start()
    await alice.joins("alice")


async def test_the_words_are_complete_in_both_languages(window: Open) -> None:
    alice = await window()
    keys = """async () => {
      const { CODES } = await import("/web/errors.js");
      const { speak, words } = await import("/web/i18n.js");
      const said = {};
      for (const language of ["ko", "en"]) {
        speak(language);
        const settings = { name_chars: 32, text_chars: 2000 };
        said[language] = Object.keys(CODES).map((code) => words(`errors.${code}`, settings));
      }
      return JSON.stringify([CODES, said]);
    }"""
    codes, said = json.loads(await alice.page.evaluate(keys))
    assert codes == {code: wire.retry for code, wire in CODES.items()}
    for sentences in said.values():
        assert len(set(sentences)) == len(CODES)
        assert all(sentences)


async def test_the_socketio_library_is_missing(browser: Browser) -> None:
    site = Site("socketio", Settings())
    await site.start()
    alice = await arrive(browser, site.url)
    await alice.page.route("**/socket.io.js", lambda route: route.abort())
    await alice.asks("alice")
    await expect(alice.page.get_by_role("alert")).to_contain_text(
        "The Socket.IO library could not be loaded"
    )
    await alice.page.context.close()
    await site.stop()
