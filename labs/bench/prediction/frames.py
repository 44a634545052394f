"""What a chat over a WebSocket weighs (RFC 6455).

    handshake   GET head with an upgrade; 101
    join        {"event":"newUserConnect","data":{…},"id":0}  {"event":"ack","data":{…},"id":0}
    steady      {"event":"sendMessage","data":{…},"id":n}     {"event":"ack","data":{…},"id":n}
                                                              {"event":"updateMessage","data":[…]}
    heartbeat   ping and pong, from both sides

A client's nth message has the id n. Each is one frame: its head of 2 to 10 bytes is framing, and
four more are where a client's mask is; all JSON but the text is envelope. `websockets` gives a
ping four bytes of its own to know the pong by, so a ping and a pong weigh 6 down and 10 up, and
both sides send one of each in every period.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from labs.bench.prediction.tally import (
    ACCEPT,
    ARRAY,
    KEY_TOKEN,
    WEBSOCKETS,
    Said,
    Scene,
    Tally,
    accepted,
    batch,
    command,
    frame,
    response,
)

PING = 4  # bytes of payload
SWITCH = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Accept: {'a' * ACCEPT}",
)


@dataclass(frozen=True)
class Frames:
    """The parts of websocket."""

    scene: Scene
    around: ClassVar[int] = len('{"event":"updateMessage","data":}') + ARRAY

    def handshake(self, name: str, present: Sequence[str], offset: int) -> Tally:
        """The upgrade, then the join in it."""
        up = len('{"event":"newUserConnect","data":,"id":0}') + self.scene.entering(name)
        down = len('{"event":"ack","data":,"id":0}') + self.scene.entered(name, present, offset)
        tally = Tally(requests=1)
        head = response("101 Switching Protocols", *SWITCH, server=WEBSOCKETS)
        tally.add("up", "handshake", http_head=self.scene.head("upgrade", key=KEY_TOKEN))
        tally.add("down", "handshake", http_head=head)
        tally.add("up", "join", framing=frame(up, masked=True), envelope=up)
        return tally.add("down", "join", framing=frame(down), envelope=down)

    def send(self, said: Sequence[Said]) -> Tally:
        """Messages of one sender: a frame each, and its ack."""
        tally = Tally()
        for one in said:
            inside, text = command(one, session=False)
            up = len(f'{{"event":"sendMessage","data":,"id":{one.number}}}') + inside
            down = len(f'{{"event":"ack","data":,"id":{one.number}}}') + accepted(one.offset)
            head = frame(up + text, masked=True)
            tally.add("up", "steady", framing=head, envelope=up, text=text)
            tally.add("down", "steady", framing=frame(down), envelope=down)
        return tally

    def delivery(self, said: Sequence[Said]) -> Tally:
        """One batch to one client."""
        inside, text = batch(said)
        around = len('{"event":"updateMessage","data":}') + inside
        head = frame(around + text)
        return Tally().add("down", "steady", framing=head, envelope=around, text=text)

    def heartbeat(self) -> Tally:
        """A ping and a pong of each side."""
        up, down = frame(PING, masked=True) + PING, frame(PING) + PING
        return (
            Tally()
            .add("up", "heartbeat", framing=2 * up)
            .add("down", "heartbeat", framing=2 * down)
        )

    @property
    def period_s(self) -> float:
        """From one ping to the next, whatever is said between."""
        return self.scene.settings.heartbeat_s
