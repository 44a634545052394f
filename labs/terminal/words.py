"""What the terminal says, in English and in Korean."""

from __future__ import annotations

import os
from dataclasses import dataclass

from labs.chat import Joined, Message


@dataclass(frozen=True)
class Words:
    """The lines of one language; the braces name what is put in."""

    ask_name: str
    welcome: str
    join: str
    rename: str
    leave: str
    gap: str

    def greet(self, joined: Joined) -> str:
        """The line after joining: who you are, where, and who is there."""
        return self.welcome.format(
            name=joined.name, room=joined.room, present=", ".join(joined.present)
        )

    def tell(self, message: Message) -> str:
        """A message as one line; the further lines of a text are indented, so none is forged."""
        if message.kind == "talk":
            return f"{message.name}: " + message.text.replace("\n", "\n    ")
        form = {"join": self.join, "leave": self.leave, "gap": self.gap}[message.kind]
        if message.kind == "join" and message.text:
            form = self.rename
        return "* " + form.format(name=message.name, former=message.text)


ENGLISH = Words(
    ask_name="Your name: ",
    welcome="* You are {name} in {room}. Present: {present}.",
    join="{name} has joined.",
    rename="{former} is now called {name}.",
    leave="{name} has left.",
    gap="Some messages are gone for good.",
)

KOREAN = Words(
    ask_name="대화명: ",
    welcome="* {room} 방에 {name} 대화명으로 들어왔습니다. 접속자: {present}",
    join="{name}님이 접속했습니다.",
    rename="{former}님이 대화명을 바꿨습니다: {name}",
    leave="{name}님이 퇴장했습니다.",
    gap="지나간 메시지 일부는 다시 볼 수 없습니다.",
)


def spoken() -> Words:
    """The words of the locale (POSIX: LC_ALL, then LC_MESSAGES, then LANG)."""
    wanted = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return KOREAN if next(filter(None, wanted), "").startswith("ko") else ENGLISH
