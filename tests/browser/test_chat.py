"""People who chat in a browser: on every variant and configuration."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Open
from tests.browser.site import Line, Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKUP = '<img src=x onerror="document.title=1"><b>bold</b>'


async def test_two_people_talk_and_one_leaves(window: Open) -> None:
    alice, bob = await window(), await window()
    await alice.joins("alice")
    await bob.joins("bob")
    await alice.sees_joined("bob")
    await alice.says("Good morning!\nDid you sleep well?")
    await bob.sees("alice", "Good morning! Did you sleep well?")
    await bob.says("Like a stone 🪨")
    await alice.sees("bob", "Like a stone 🪨")
    await expect(alice.present).to_have_text(["alice", "bob"])
    await expect(bob.present).to_have_text(["alice", "bob"])
    await expect(alice.page.locator("#pending .line")).to_have_count(0)
    await bob.leaves()
    await alice.sees_left("bob")
    await expect(alice.present).to_have_text(["alice"])
    assert alice.troubles + bob.troubles == []


async def test_two_people_talk_in_korean_and_one_goes_elsewhere(window: Open) -> None:
    minsu, younghee = await window("ko-KR"), await window("ko-KR")
    await minsu.joins("민수")
    await younghee.joins("영희")
    await minsu.sees_joined("영희")
    await minsu.says("안녕하세요, 반갑습니다")
    await younghee.sees("민수", "안녕하세요, 반갑습니다")
    await younghee.says("네, 저도요! ㅎㅎ")
    await minsu.sees("영희", "네, 저도요! ㅎㅎ")
    await younghee.page.goto("about:blank")
    await minsu.sees_left("영희")
    assert minsu.troubles + younghee.troubles == []


async def test_a_name_that_is_taken(window: Open) -> None:
    alice, other = await window(), await window()
    await alice.joins("alice")
    await other.asks("alice")
    await expect(other.name).to_have_accessible_description(
        "1 to 32 characters. Everyone in the room sees it. "
        "Somebody here bears this nickname already. Choose another. "
        "alice is here already; choose another name"
    )
    await expect(other.name).to_have_value("alice")
    await expect(other.name).to_have_attribute("aria-invalid", "true")
    await other.joins("bob")
    await alice.sees_joined("bob")


async def test_html_is_shown_as_it_was_written(window: Open) -> None:
    name = "<i>x</i><script>1</script>"
    alice, bob = await window(), await window()
    await alice.joins(name)
    await bob.joins("bob")
    await alice.says(MARKUP)
    await bob.sees(name, MARKUP)
    await expect(bob.present).to_have_text([name, "bob"])
    for person in (alice, bob):
        assert await person.page.locator("#chat :is(i, b, img, script)").count() == 0
        assert await person.page.title() == "lobby · chat"
        assert person.troubles == []


async def test_a_server_that_comes_back(site: Site, window: Open) -> None:
    alice, bob = await window(), await window()
    await alice.joins("alice")
    await bob.joins("bob")
    await site.stop()
    await alice.sees_state("reconnecting")
    await alice.says("Are you still there?")
    await expect(alice.page.locator("#pending .line")).to_have_count(1)
    await site.start()
    for person in (alice, bob):
        await person.sees_state("open")
        await expect(person.log.get_by_text("Some messages are missing here")).to_be_visible()
        await person.sees("alice", "Are you still there?")
    await bob.says("Yes.")
    await alice.sees("bob", "Yes.")
    await expect(alice.page.locator("#pending .line")).to_have_count(0)
    assert set(await alice.present.all_inner_texts()) == {"alice", "bob"}


async def test_a_dead_line_is_noticed_and_nothing_is_lost(line: Line, window: Open) -> None:
    """S5.1, S5.2 and S10.7, as far as a browser can."""
    alice, bob = await window(url=line.url), await window()
    await alice.joins("alice")
    await bob.joins("bob")
    await alice.sees_joined("bob")
    line.cut()
    await alice.sees_state("reconnecting")
    await bob.says("You missed this.")
    await bob.sees("bob", "You missed this.")
    line.mend()
    await alice.sees_state("open")
    await alice.sees("bob", "You missed this.")
    await alice.says("No, I did not.")
    await bob.sees("alice", "No, I did not.")
    await expect(bob.log.get_by_text("alice has")).to_have_count(0)


async def test_a_page_that_comes_back_from_the_cache_joins_again(window: Open) -> None:
    alice, bob = await window(), await window()
    await alice.joins("alice")
    await bob.joins("bob")
    event = "name => dispatchEvent(new PageTransitionEvent(name, { persisted: true }))"
    await bob.page.evaluate(event, "pagehide")
    await alice.sees_left("bob")
    await bob.page.evaluate(event, "pageshow")
    await alice.sees_joined("bob", times=2)
    await alice.says("Welcome back")
    await bob.sees("alice", "Welcome back")
