"""What a chat over Socket.IO weighs (Socket.IO protocol 5, Engine.IO protocol 4).

The packets, those of the chat in Engine.IO's type 4:

    handshake   0{"sid":…,"upgrades":[…],"pingTimeout":…,"pingInterval":…,"maxPayload":…}
                2probe 3probe 5 6           an upgrade: probe, its answer, the change, a noop
                40{} 40{"sid":…}            Socket.IO's connect
    join        421["newUserConnect",{…}]   431[{…}]
    steady      42n["sendMessage",{…}]      43n[{"offset":…}]    42["updateMessage",[…]]
    heartbeat   2 down, 3 up

The library numbers what asks for an ack from 1, the join, so a client's nth message has n + 1.
Types, numbers, the event's name and the array around its arguments are framing.

Over a WebSocket each packet is a text frame. Over HTTP the client posts its packets and always
holds a poll; several packets of one body stand apart by a byte, which is framing, as is the `ok`
that answers a POST. An exchange has one phase: that of its most telling packet.

A sender's ack stands in the queue before the batch is made (`socketio_chat.server.Pipe.full`), and
a queue that is not empty takes no batch. So over HTTP a sender needs two polls for its message,
everyone else one; and the answer that brings the join's ack brings the join too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from labs.bench.prediction.tally import (
    ACCEPT,
    ARRAY,
    KEY_TOKEN,
    SID,
    SID_TOKEN,
    Said,
    Scene,
    Tally,
    accepted,
    batch,
    command,
    frame,
    join,
    quoted,
    response,
)

TEXT = "Content-Type: text/plain; charset=UTF-8"
DONE = len("OK")
SWITCH = (
    "Upgrade: websocket",
    "Connection: upgrade",
    f"Sec-WebSocket-Accept: {'a' * ACCEPT}",
)
CONNECT = len("40{}")
CONNECTED = len('40{"sid":""}') + SID
PROBE = len("2probe")
BYTE = 1  # a packet that is its type, and what stands between two of a body
JOIN = len('421["newUserConnect",]')
JOINED = len("431[]")
UPDATE = len('42["updateMessage",]')


def sent(said: Said) -> tuple[int, int, int]:
    """Framing, envelope and text of the packet that says something."""
    around, text = command(said, session=False)
    return len(f'42{said.number + 1}["sendMessage",]'), around, text


def acked(said: Said) -> tuple[int, int]:
    """Framing and envelope of the packet that answers it."""
    return len(f"43{said.number + 1}[]"), accepted(said.offset)


def opening(scene: Scene, upgrades: Sequence[str]) -> int:
    """The packet that opens an Engine.IO session."""
    settings = scene.settings
    return BYTE + quoted(
        {
            "sid": SID_TOKEN,
            "upgrades": list(upgrades),
            # A ping unanswered is looked for once every half of timeout_s; in milliseconds.
            "pingTimeout": int(settings.timeout_s / 2 * 1_000),
            "pingInterval": int(_period_s(scene) * 1_000),
            "maxPayload": settings.hard_bytes,
        }
    )


def _period_s(scene: Scene) -> float:
    """Engine.IO pings in whole seconds, whatever is said between."""
    return max(1, round(scene.settings.heartbeat_s))


@dataclass(frozen=True)
class PacketsInFrames:
    """The parts of socketio over a WebSocket, which it opens at once or upgrades to."""

    scene: Scene
    around: ClassVar[int] = ARRAY

    def handshake(self, name: str, present: Sequence[str], offset: int) -> Tally:
        """Engine.IO's opening, Socket.IO's connect, the join."""
        polls_first = self.scene.settings.transports[0] == "polling"
        tally = self._upgraded() if polls_first else self._opened()
        for direction, size in (("up", CONNECT), ("down", CONNECTED)):
            self._packet(tally, direction, "handshake", size)
        up, down = self.scene.entering(name), self.scene.entered(name, present, offset)
        self._packet(tally, "up", "join", JOIN, envelope=up)
        return self._packet(tally, "down", "join", JOINED, envelope=down)

    def send(self, said: Sequence[Said]) -> Tally:
        """Messages of one sender: a packet each, and its ack."""
        tally = Tally()
        for one in said:
            framing, around, text = sent(one)
            self._packet(tally, "up", "steady", framing, envelope=around, text=text)
            framing, around = acked(one)
            self._packet(tally, "down", "steady", framing, envelope=around)
        return tally

    def delivery(self, said: Sequence[Said]) -> Tally:
        """One batch to one client."""
        around, text = batch(said)
        return self._packet(Tally(), "down", "steady", UPDATE, envelope=around, text=text)

    def heartbeat(self) -> Tally:
        """The server's ping, the client's pong."""
        tally = self._packet(Tally(), "down", "heartbeat", BYTE)
        return self._packet(tally, "up", "heartbeat", BYTE)

    @property
    def period_s(self) -> float:
        """From one ping to the next."""
        return _period_s(self.scene)

    def _upgraded(self) -> Tally:
        tally = opened_by_poll(self.scene, ["websocket"])
        self._switch(tally, {"sid": SID_TOKEN})
        for direction, size in (("up", PROBE), ("down", PROBE), ("up", BYTE), ("down", BYTE)):
            self._packet(tally, direction, "handshake", size)
        return tally

    def _opened(self) -> Tally:
        tally = Tally()
        self._switch(tally, {})
        return self._packet(tally, "down", "handshake", opening(self.scene, []))

    def _switch(self, tally: Tally, session: dict[str, str]) -> None:
        query = {**session, "path": self.scene.settings.path.rstrip("/")}
        head = self.scene.head("engine_upgrade", query=query, key=KEY_TOKEN)
        tally.requests += 1
        tally.add("up", "handshake", http_head=head)
        switched = response("101 Switching Protocols", *SWITCH)
        tally.add("down", "handshake", http_head=switched)

    def _packet(
        self, tally: Tally, direction: str, phase: str, framing: int, **inside: int
    ) -> Tally:
        head = frame(framing + sum(inside.values()), masked=direction == "up")
        return tally.add(direction, phase, framing=head + framing, **inside)


def opened_by_poll(scene: Scene, upgrades: Sequence[str]) -> Tally:
    """The first poll, which has no `sid` yet and is answered with one."""
    head = scene.head("engine_get", query={"path": scene.settings.path.rstrip("/")})
    down = opening(scene, upgrades)
    tally = Tally(requests=1).add("up", "handshake", http_head=head)
    return tally.add(
        "down", "handshake", http_head=response("200 OK", TEXT, length=down), framing=down
    )


@dataclass(frozen=True)
class PacketsInBodies:
    """The parts of socketio over HTTP alone."""

    scene: Scene
    around: ClassVar[int] = ARRAY

    def handshake(self, name: str, present: Sequence[str], offset: int) -> Tally:
        """Engine.IO's opening, Socket.IO's connect, the join, and the poll that answers each."""
        tally = opened_by_poll(self.scene, []).take(self._post("handshake", CONNECT))
        tally.take(self.ask(0, "handshake")).take(self._bring("handshake", CONNECTED))
        tally.take(self._post("join", JOIN, envelope=self.scene.entering(name)))
        announced = join(name, offset)
        down = self.scene.entered(name, present, offset) + announced
        framing = JOINED + BYTE + UPDATE
        return tally.take(self.ask(0, "join")).take(self._bring("join", framing, envelope=down))

    def send(self, said: Sequence[Said]) -> Tally:
        """Messages of one sender at one instant: they share a POST. Their acks come by poll."""
        sizes = [sent(one) for one in said]
        framing, around, text = map(sum, zip(*sizes, strict=True))
        return self._post("steady", framing + BYTE * (len(said) - 1), envelope=around, text=text)

    def answers(self, said: Sequence[Said], own: Sequence[Said]) -> list[Tally]:
        """What is handed out at one moment, to the sender of `own` acks and then the batch."""
        around, text = batch(said)
        handed = [self._bring("steady", UPDATE, envelope=around, text=text)]
        if own:
            sizes = [acked(one) for one in own]
            framing, around = map(sum, zip(*sizes, strict=True))
            acks = self._bring("steady", framing + BYTE * (len(own) - 1), envelope=around)
            handed.insert(0, acks)
        return handed

    def ask(self, since: int, phase: str) -> Tally:
        """The request of a poll; where the client stands, only the server knows."""
        query = {"path": self.scene.settings.path.rstrip("/"), "sid": SID_TOKEN}
        head = self.scene.head("engine_get", query=query)
        return Tally(requests=1).add("up", phase, http_head=head)

    def idle(self) -> Tally:
        """A ping."""
        return self._bring("heartbeat", BYTE)

    def idle_after(self) -> Tally:
        """Its pong."""
        return self._post("heartbeat", BYTE)

    @property
    def period_s(self) -> float:
        """From one ping to the next."""
        return _period_s(self.scene)

    renewed = False
    """Whether every answer begins the period anew."""

    def _post(self, phase: str, framing: int, **inside: int) -> Tally:
        query = {"path": self.scene.settings.path.rstrip("/"), "sid": SID_TOKEN}
        size = framing + sum(inside.values())
        head = self.scene.head("engine_post", length=size, query=query)
        tally = Tally(requests=1).add("up", phase, http_head=head, framing=framing, **inside)
        done = response("200 OK", "Content-Type: text/plain", length=DONE)
        return tally.add("down", phase, http_head=done, framing=DONE)

    def _bring(self, phase: str, framing: int, **inside: int) -> Tally:
        head = response("200 OK", TEXT, length=framing + sum(inside.values()))
        return Tally().add("down", phase, http_head=head, framing=framing, **inside)
