"""Engine.IO 4 packets, and the Socket.IO 5 packets in them.

Framing is what the two protocols say themselves: packet types, namespaces, ack numbers, the
array around an event's arguments and its name, and whole packets that carry nothing of ours
(open, close, ping, pong, upgrade, noop, connect). What is ours is envelope and text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from labs.wire.dissect import said
from labs.wire.dissect.pieces import Meaning

SEPARATOR = b"\x1e"
ENGINE = {
    b"0": ("handshake", "Engine.IO open"),
    b"1": ("close", "Engine.IO close"),
    b"2": ("heartbeat", "Engine.IO ping"),
    b"3": ("heartbeat", "Engine.IO pong"),
    b"5": ("handshake", "Engine.IO upgrade"),
    b"6": ("handshake", "Engine.IO noop"),
}
PROBES = (b"2probe", b"3probe")
SOCKET = re.compile(rb"4([0-6])(?:\d+-)?(/[^,]*,?)?(\d*)")
TELLING = ("join", "steady", "close", "handshake", "heartbeat")
"""Phases by precedence: an exchange with several packets has the first of these among theirs."""

_arguments = msgspec.json.Decoder(list[msgspec.Raw])


class Packets:
    """The packets of one connection, which remembers what was asked, to know the answer."""

    def __init__(self) -> None:
        self._joins: set[bytes] = set()

    def meaning(self, packet: bytes) -> Meaning:
        """What one packet is for."""
        if packet[:1] == b"4":
            return self._socket(packet)
        if packet[:1] == b"b":
            return _carried(packet, 1, "steady", "Engine.IO binary message")
        if packet[:1] not in ENGINE:
            return Meaning("steady", {"opaque": len(packet)}, "no packet")
        phase, note = ENGINE[packet[:1]]
        if packet in PROBES:
            phase, note = "handshake", f"{note} probe"
        return Meaning(phase, {"framing": len(packet)}, note)

    def _socket(self, packet: bytes) -> Meaning:
        head = SOCKET.match(packet)
        if head is None:
            return _carried(packet, 1, "steady", "Engine.IO message")
        kind, number = head[1], head[3]
        if kind in (b"0", b"1"):
            phase, note = ("handshake", "connect") if kind == b"0" else ("close", "disconnect")
            return Meaning(phase, {"framing": len(packet)}, f"Socket.IO {note}")
        if kind == b"4":
            return _carried(packet, head.end(), "steady", "Socket.IO connect error")
        try:
            values = _arguments.decode(packet[head.end() :])
            if kind in (b"2", b"5"):
                return self._event(packet, values, number)
        except (IndexError, *said.BROKEN):
            return _carried(packet, head.end(), "steady", "Socket.IO packet")
        return self._ack(packet, values, number)

    def _event(self, packet: bytes, values: list[msgspec.Raw], number: bytes) -> Meaning:
        name = msgspec.json.decode(values[0], type=str)
        if name == "newUserConnect":
            self._joins.add(number)
        phase = {"newUserConnect": "join", "disconnect": "close"}.get(name, "steady")
        asks = f", asks for ack {number.decode()}" if number else ""
        text = sum(said.of_event(name, value) for value in values[1:])
        return _with(packet, values[1:], phase, text, f"Socket.IO event {name}{asks}")

    def _ack(self, packet: bytes, values: list[msgspec.Raw], number: bytes) -> Meaning:
        joins = number in self._joins or any(said.is_welcome(value) for value in values)
        phase = "join" if joins else "steady"
        return _with(packet, values, phase, 0, f"Socket.IO ack {number.decode()}")


def payload(body: bytes) -> list[bytes]:
    """The packets of an HTTP body; each but the last keeps the separator after it."""
    parts = body.split(SEPARATOR)
    return [part + SEPARATOR for part in parts[:-1]] + list(filter(None, parts[-1:]))


def most_telling(phases: Iterable[str], otherwise: str) -> str:
    """The phase of an exchange with these packets in it."""
    return min(phases, key=TELLING.index, default=otherwise)


def _with(packet: bytes, values: list[msgspec.Raw], phase: str, text: int, note: str) -> Meaning:
    inside = sum(len(bytes(value)) for value in values)
    return Meaning(phase, {"framing": len(packet) - inside, **said.split(inside, text)}, note)


def _carried(packet: bytes, head: int, phase: str, note: str) -> Meaning:
    return Meaning(phase, {"framing": head, "envelope": len(packet) - head}, note)
