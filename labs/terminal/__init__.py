"""The chat in a terminal, line by line."""

from labs.terminal.conversation import Conversation
from labs.terminal.words import ENGLISH, KOREAN, Words, spoken

__all__ = ["ENGLISH", "KOREAN", "Conversation", "Words", "spoken"]
