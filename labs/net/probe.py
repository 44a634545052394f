"""Measures a network through the very path that the programs take.

Two processes: `python -m labs.net.probe HOST` serves the exercises below on a TCP and a UDP port
of the system's choice, replies `{"tcp": PORT, "udp": PORT}` and ends with its stdin; `python -m
labs.net.probe HOST TCP UDP` reads a `Task` as one JSON line, does the exercises against it, and
replies a `Found`. Each exercise is a TCP connection of its own, whose first line says which:

    echo    what comes is sent back
    tell    datagrams (or bytes, without UDP) come up, once the server is ready; when the client
            says that these were all, the server says what it has received
    send    the server sends as much down, and says on the connection when it has

That last word comes behind the last datagram, in the one queue of the network, which keeps the
order; so nobody need guess how long to wait for a datagram that may be lost.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from labs.wire.control import reply

PINGS = 30
PING_GAP_S = 0.02
PING = struct.Struct("!QQ")
PATIENCE_S = 20.0  # for an answer; TCP repeats a lost handshake after 1, 2, 4 s
LINE_BYTES = 4_096
RECEIVE_BYTES = 65_536
CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")


class Volley(msgspec.Struct, frozen=True):
    """Something to send: so many datagrams (or pieces of a stream) of a size, with a gap."""

    number: int
    size: int
    gap_s: float = 0.0


class Task(msgspec.Struct, frozen=True):
    """The exercises to do. Without a UDP port the loss is not asked for."""

    loss: Volley
    up: Volley
    down: Volley


class Received(msgspec.Struct, frozen=True):
    """What came of a volley: how many, their bytes, and how long from the first to the last."""

    number: int
    bytes: int
    first_bytes: int
    took_s: float


class Found(msgspec.Struct, frozen=True):
    """What the client has measured."""

    rtt_s: list[float]
    connect_s: list[float]
    up: Received
    down: Received
    loss_up: Received | None
    loss_down: Received | None
    congestion_control: str


class Request(msgspec.Struct, frozen=True):
    """The first line of an exercise. `udp` is the client's port, 0 for bytes on the connection."""

    do: Literal["echo", "tell", "send"]
    udp: int = 0
    volley: Volley | None = None


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


# What both sides do


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


def _datagrams(host: str = "") -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((host, 0))
    return udp


def _prepared(tcp: socket.socket) -> socket.socket:
    """A connection that sends at once, and whose end leaves the kernel nothing to repeat."""
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return tcp


# The server


def serve(host: str) -> None:
    """Serve exercises until stdin ends."""
    listener = socket.create_server((host, 0))
    udp = _datagrams(host)
    threading.Thread(target=_accept, args=(listener, udp), daemon=True).start()
    reply({"tcp": listener.getsockname()[1], "udp": udp.getsockname()[1]})
    sys.stdin.read()


def _accept(listener: socket.socket, udp: socket.socket) -> None:
    while True:
        tcp, _ = listener.accept()
        threading.Thread(target=_exercise, args=(_prepared(tcp), udp), daemon=True).start()


def _exercise(tcp: socket.socket, udp: socket.socket) -> None:
    # That the client has gone is how each ends.
    with tcp, suppress(ConnectionError, msgspec.MsgspecError):
        _do(tcp, udp)


def _do(tcp: socket.socket, udp: socket.socket) -> None:
    request = msgspec.json.decode(read_line(tcp), type=Request)
    if request.do == "echo":
        while data := tcp.recv(RECEIVE_BYTES):
            tcp.sendall(data)
        return
    volley = request.volley or Volley(0, 0)
    if request.do == "tell":
        size = volley.number * volley.size
        tcp.sendall(b".")  # ready: a datagram before this could find a full socket
        received = gather(tcp, udp) if request.udp else gather_stream(tcp, size)
        tcp.sendall(msgspec.json.encode(received) + b"\n")
    else:
        fire(volley, tcp, udp if request.udp else None, request.udp)
        tcp.sendall(b".")
    tcp.recv(1)


# The client


class Client:
    """Does the exercises; notes how long each connection took to open."""

    def __init__(self, host: str, tcp: int, udp: int) -> None:
        self._host, self._tcp, self._udp = host, tcp, udp
        self.connect_s: list[float] = []

    def measure(self, task: Task) -> Found:
        """Do all exercises, one after the other."""
        rtt_s = self.ping()
        return Found(
            rtt_s=rtt_s,
            loss_up=self.send(task.loss) if self._udp else None,
            loss_down=self.receive(task.loss) if self._udp else None,
            up=self.send(task.up),
            down=self.receive(task.down),
            connect_s=self.connect_s,
            congestion_control=CONGESTION.read_text().strip() if CONGESTION.exists() else "",
        )

    def ping(self) -> list[float]:
        """The round trips of small messages, sent at their moments whatever comes back."""
        rtt_s, data = list[float](), b""
        with self._open(Request("echo")) as tcp:
            begun_s, sent = time.monotonic(), 0
            while len(rtt_s) < PINGS:
                next_s = begun_s + sent * PING_GAP_S - time.monotonic()
                if sent < PINGS and next_s <= 0:
                    tcp.sendall(PING.pack(sent, time.monotonic_ns()))
                    sent += 1
                    continue
                wait_s = next_s if sent < PINGS else PATIENCE_S
                if select.select([tcp], [], [], wait_s)[0] or sent == PINGS:
                    data += read(tcp, RECEIVE_BYTES)
                    now_ns = time.monotonic_ns()
                    while len(data) >= PING.size:
                        rtt_s.append((now_ns - PING.unpack(data[: PING.size])[1]) / 1e9)
                        data = data[PING.size :]
        return rtt_s

    def send(self, volley: Volley) -> Received:
        """Send a volley up; answers what the server has received."""
        with _datagrams() as udp, self._open(Request("tell", self._udp, volley)) as tcp:
            read(tcp, 1)
            fire(volley, tcp, udp if self._udp else None, self._udp)
            if self._udp:
                tcp.sendall(b".")
            return msgspec.json.decode(read_line(tcp), type=Received)

    def receive(self, volley: Volley) -> Received:
        """Let the server send a volley down; answers what has come."""
        with _datagrams() as udp:
            port = udp.getsockname()[1] if self._udp else 0
            with self._open(Request("send", port, volley)) as tcp:
                if self._udp:
                    return gather(tcp, udp)
                return gather_stream(tcp, volley.number * volley.size)

    def _open(self, request: Request) -> socket.socket:
        begun_s = time.monotonic()
        tcp = socket.create_connection((self._host, self._tcp), PATIENCE_S)
        self.connect_s.append(time.monotonic() - begun_s)
        _prepared(tcp)
        tcp.sendall(msgspec.json.encode(request) + b"\n")
        return tcp


def main(host: str, *ports: str) -> None:
    """The server with a host alone, the client with ports too."""
    if not ports:
        serve(host)
        return
    task = msgspec.json.decode(sys.stdin.readline(), type=Task)
    client = Client(host, *(int(port) for port in ports))
    try:
        reply(client.measure(task))
    except OSError as error:
        reply({"error": f"the network cannot be measured: {error}"})


if __name__ == "__main__":
    main(*sys.argv[1:])
