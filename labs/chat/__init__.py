"""The chat itself, with no transport in it: a room is a log, a connection is a cursor."""

from labs.chat.chat import Chat
from labs.chat.delivery import Cursor, Sink
from labs.chat.messages import Accepted, Batch, Join, Joined, Leave, Message, Position, Talk
from labs.chat.presence import Session
from labs.chat.room import Room

__all__ = [
    "Accepted",
    "Batch",
    "Chat",
    "Cursor",
    "Join",
    "Joined",
    "Leave",
    "Message",
    "Position",
    "Room",
    "Session",
    "Sink",
    "Talk",
]
