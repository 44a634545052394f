"""Somebody who uses the page: what a person does and sees, in either language."""

from __future__ import annotations

from playwright.async_api import Browser, ConsoleMessage, Page, expect

PAGE_WORDS = {
    "en-US": {
        "name": "Nickname",
        "enter": "Join",
        "text": "Message",
        "leave": "Leave",
        "joined": "{} has joined.",
        "left": "{} has left.",
        "open": "Connected",
        "reconnecting": "Reconnecting…",
    },
    "ko-KR": {
        "name": "대화명",
        "enter": "들어가기",
        "text": "메시지",
        "leave": "나가기",
        "joined": "{}님이 접속했습니다.",
        "left": "{}님이 퇴장했습니다.",
        "open": "연결됨",
        "reconnecting": "다시 연결하는 중…",
    },
}


class Person:
    """One browser window. `troubles` are the errors its console has shown."""

    def __init__(self, page: Page, locale: str) -> None:
        self.page = page
        self.words = PAGE_WORDS[locale]
        self.troubles: list[str] = []
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.name = page.get_by_role("textbox", name=self.words["name"], exact=True)
        self.text = page.get_by_role("textbox", name=self.words["text"], exact=True)
        self.log = page.get_by_role("log")
        self.state = page.locator("#state")
        self.present = page.locator("#names li bdi")

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(message.text)

    async def asks(self, name: str) -> None:
        """Give a name at the door."""
        await self.name.fill(name)
        await self.page.get_by_role("button", name=self.words["enter"], exact=True).click()

    async def joins(self, name: str) -> None:
        """Give a name at the door, and go in."""
        await self.asks(name)
        await self.sees_joined(name)

    async def says(self, text: str) -> None:
        """Write something, and press Enter."""
        await self.text.fill(text)
        await self.text.press("Enter")

    async def leaves(self) -> None:
        """Press the button that says so."""
        await self.page.get_by_role("button", name=self.words["leave"], exact=True).click()

    async def sees(self, name: str, text: str) -> None:
        """Wait until somebody's message is shown, once."""
        said = self.page.locator("#lines .line").filter(has=self.page.locator("bdi", has_text=name))
        await expect(said.locator(".text").get_by_text(text, exact=True)).to_have_count(1)

    async def sees_joined(self, name: str, times: int = 1) -> None:
        """Wait until somebody's arrival is shown."""
        line = self.words["joined"].format(name)
        await expect(self.log.get_by_text(line, exact=True)).to_have_count(times)

    async def sees_left(self, name: str) -> None:
        """Wait until somebody's departure is shown."""
        line = self.words["left"].format(name)
        await expect(self.log.get_by_text(line, exact=True)).to_have_count(1)

    async def sees_state(self, state: str) -> None:
        """Wait until the page says how it is connected: `open`, `reconnecting`."""
        await expect(self.state).to_have_text(self.words[state])


async def arrive(browser: Browser, url: str, locale: str = "en-US") -> Person:
    """Open the page in a window of its own."""
    context = await browser.new_context(locale=locale)
    person = Person(await context.new_page(), locale)
    await person.page.goto(url)
    return person
