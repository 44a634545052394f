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
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from labs.net.volley import (
    PATIENCE_S,
    RECEIVE_BYTES,
    Received,
    Volley,
    datagrams,
    fire,
    gather,
    gather_stream,
    prepared,
    read,
    read_line,
)
from labs.wire.control import reply

PINGS = 30
PING_GAP_S = 0.02
PING = struct.Struct("!Q")  # when it was sent
CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")


class Task(msgspec.Struct, frozen=True):
    """The exercises to do. Without a UDP port the loss is not asked for."""

    loss: Volley
    up: Volley
    down: Volley


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


# The server


def serve(host: str) -> None:
    """Serve exercises until stdin ends."""
    listener = socket.create_server((host, 0))
    udp = datagrams(host)
    threading.Thread(target=_accept, args=(listener, udp), daemon=True).start()
    reply({"tcp": listener.getsockname()[1], "udp": udp.getsockname()[1]})
    sys.stdin.read()


def _accept(listener: socket.socket, udp: socket.socket) -> None:
    while True:
        tcp, _ = listener.accept()
        threading.Thread(target=_exercise, args=(prepared(tcp), udp), daemon=True).start()


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


class _Echoes:
    """The pings that come back on a connection, and how long each took."""

    def __init__(self, tcp: socket.socket) -> None:
        self.rtt_s: list[float] = []
        self._tcp = tcp
        self._data = b""

    def read_until(self, moment_s: float) -> None:
        """Read what comes until a moment of the monotonic clock."""
        while (left_s := moment_s - time.monotonic()) > 0:
            if select.select([self._tcp], [], [], left_s)[0]:
                self.read()

    def read(self) -> None:
        """Read once; waits for something to read."""
        self._data += read(self._tcp, RECEIVE_BYTES)
        now_ns, whole = time.monotonic_ns(), len(self._data) // PING.size * PING.size
        self.rtt_s += [(now_ns - sent) / 1e9 for (sent,) in PING.iter_unpack(self._data[:whole])]
        self._data = self._data[whole:]


class Client:
    """Does the exercises; notes how long each connection took to open."""

    def __init__(self, host: str, tcp: int, udp: int) -> None:
        self._host, self._tcp, self._udp = host, tcp, udp
        self.connect_s: list[float] = []

    def measure(self, task: Task) -> Found:
        """Do all exercises, those of the loss in both directions at once."""
        rtt_s = self.ping()
        loss_up, loss_down = self.lose(task.loss) if self._udp else (None, None)
        return Found(
            rtt_s=rtt_s,
            loss_up=loss_up,
            loss_down=loss_down,
            up=self.send(task.up),
            down=self.receive(task.down),
            connect_s=self.connect_s,
            congestion_control=CONGESTION.read_text().strip() if CONGESTION.exists() else "",
        )

    def ping(self) -> list[float]:
        """The round trips of small messages, sent at their moments whatever comes back."""
        with self._open(Request("echo")) as tcp:
            echoes, begun_s = _Echoes(tcp), time.monotonic()
            for number in range(PINGS):
                echoes.read_until(begun_s + number * PING_GAP_S)
                tcp.sendall(PING.pack(time.monotonic_ns()))
            while len(echoes.rtt_s) < PINGS:
                echoes.read()
        return echoes.rtt_s

    def lose(self, volley: Volley) -> tuple[Received, Received]:
        """What comes of a volley up, and of one down; neither is in the other's way."""
        with ThreadPoolExecutor() as pool:
            up, down = pool.submit(self.send, volley), pool.submit(self.receive, volley)
        return up.result(), down.result()

    def send(self, volley: Volley) -> Received:
        """Send a volley up; answers what the server has received."""
        with datagrams() as udp, self._open(Request("tell", self._udp, volley)) as tcp:
            read(tcp, 1)
            fire(volley, tcp, udp if self._udp else None, self._udp)
            if self._udp:
                tcp.sendall(b".")
            return msgspec.json.decode(read_line(tcp), type=Received)

    def receive(self, volley: Volley) -> Received:
        """Let the server send a volley down; answers what has come."""
        with datagrams() as udp:
            port = udp.getsockname()[1] if self._udp else 0
            with self._open(Request("send", port, volley)) as tcp:
                if self._udp:
                    return gather(tcp, udp)
                return gather_stream(tcp, volley.number * volley.size)

    def _open(self, request: Request) -> socket.socket:
        begun_s = time.monotonic()
        tcp = socket.create_connection((self._host, self._tcp), PATIENCE_S)
        self.connect_s.append(time.monotonic() - begun_s)
        prepared(tcp)
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
