"""Volleys: datagrams, or pieces of a stream, fired by one side and gathered by the other."""

from __future__ import annotations

import select
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

PATIENCE_S = 20.0  # for an answer; TCP repeats a lost handshake after 1, 2, 4 s
LINE_BYTES = 4_096
RECEIVE_BYTES = 65_536
BUFFER_BYTES = 1 << 20  # asked for; the system may grant less


class Volley(msgspec.Struct, frozen=True):
    """Something to send: so many datagrams (or pieces of a stream) of a size, with a gap."""

    number: int
    size: int
    gap_s: float = 0.0


class Received(msgspec.Struct, frozen=True):
    """What came of a volley: how many, their bytes, and how long from the first to the last."""

    number: int
    bytes: int
    first_bytes: int
    took_s: float


@dataclass
class Meter:
    """Notes what comes, and when."""

    number: int = 0
    bytes: int = 0
    first_bytes: int = 0
    _first_s: float = 0.0
    _last_s: float = field(default_factory=time.monotonic)

    def note(self, size: int) -> None:
        """So many bytes have come at once."""
        self._last_s = time.monotonic()
        if not self.number:
            self._first_s, self.first_bytes = self._last_s, size
        self.number += 1
        self.bytes += size

    @property
    def received(self) -> Received:
        """The sum of it."""
        took_s = self._last_s - self._first_s if self.number else 0.0
        return Received(self.number, self.bytes, self.first_bytes, took_s)


def fire(volley: Volley, tcp: socket.socket, udp: socket.socket | None, port: int) -> None:
    """Send a volley to the peer of `tcp`, each part at its moment or as soon as it goes."""
    begun_s, payload = time.monotonic(), b"\0" * volley.size
    for number in range(volley.number):
        ahead_s = begun_s + number * volley.gap_s - time.monotonic()
        if ahead_s > 0:
            time.sleep(ahead_s)
        if udp:
            udp.sendto(payload, (tcp.getpeername()[0], port))
        else:
            tcp.sendall(payload)


def gather(tcp: socket.socket, udp: socket.socket) -> Received:
    """Note datagrams until the peer says on the connection that there are no more."""
    meter = Meter()
    while True:
        ready, _, _ = select.select([udp, tcp], [], [], PATIENCE_S)
        if udp in ready:
            with suppress(BlockingIOError):
                while True:
                    meter.note(len(udp.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)))
        elif ready:
            read(tcp, 1)
            return meter.received
        else:
            raise ConnectionError(f"nothing came for {PATIENCE_S:g} s")


def gather_stream(tcp: socket.socket, size: int) -> Received:
    """Note the bytes of a stream until so many have come."""
    meter = Meter()
    while meter.bytes < size:
        meter.note(len(read(tcp, RECEIVE_BYTES)))
    return meter.received


def read(tcp: socket.socket, most: int) -> bytes:
    """Some bytes; raises `ConnectionError` if there will be none."""
    data = tcp.recv(most)
    if not data:
        raise ConnectionError("the other side of the measurement has gone")
    return data


def read_line(tcp: socket.socket) -> bytes:
    """One line, byte for byte: what comes behind it is not ours."""
    line = b""
    while not line.endswith(b"\n") and len(line) < LINE_BYTES:
        line += read(tcp, 1)
    return line


def datagrams(host: str = "") -> socket.socket:
    """A UDP socket at this address, on a port of the system's choice."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # A volley that waits for a busy reader must not be lost here: that is the network's to do.
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    udp.bind((host, 0))
    return udp


def prepared(tcp: socket.socket) -> socket.socket:
    """A connection that sends at once, and whose end leaves the kernel nothing to repeat."""
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return tcp
