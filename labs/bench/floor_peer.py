"""The far end of the floor: the leanest programs, in a process of their own.

`python -m labs.bench.floor_peer [CORE]` prints its port as a JSON line, stays on that core, and
ends when its stdin does. Standard library and blocking sockets only. The first byte of a
connection says what it is for, and is sent back once that stands:

    E   64 bytes come and go back as they are
    W   64 bytes come in a masked WebSocket frame and go back in one without a mask
    R   it receives its share of the fan-out
    G   a JSON line asks for a fan-out to all R; a JSON line tells what was sent, and when
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from time import monotonic, monotonic_ns, thread_time
from typing import Any

HOST = "127.0.0.1"
BACKLOG = 256
PAYLOAD_BYTES = 64
HEAD = bytes((0x81, PAYLOAD_BYTES))  # final text frame, no mask (RFC 6455 section 5.2)
MASKED_HEAD = bytes((0x81, 0x80 | PAYLOAD_BYTES))
MASK_BYTES = 4
MASKED_BYTES = len(MASKED_HEAD) + MASK_BYTES + PAYLOAD_BYTES


def xor(payload: bytes, mask: bytes) -> bytes:
    """64 bytes with the mask put on, or taken off (RFC 6455 section 5.3)."""
    whole = int.from_bytes(mask * (PAYLOAD_BYTES // MASK_BYTES), "big")
    return (int.from_bytes(payload, "big") ^ whole).to_bytes(PAYLOAD_BYTES, "big")


def frame(round_: int) -> bytes:
    """What the fan-out sends in one round: a text frame that bears the round's number."""
    return HEAD + b"%08d" % round_ + b"." * (PAYLOAD_BYTES - 8)


class Peer:
    """Connections, each served by a thread that does nothing but block."""

    def __init__(self) -> None:
        self.listener = socket.create_server((HOST, 0), backlog=BACKLOG)
        self._receivers: list[socket.socket] = []

    def serve(self) -> None:
        """Take connections for as long as the process lives."""
        while True:
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        role = connection.recv(1)
        if role == b"R":
            self._receivers.append(connection)
        connection.sendall(role)
        if role == b"E":
            _echo(connection)
        elif role == b"W":
            _echo_frames(connection)
        elif role == b"G":
            self._go(connection)

    def _go(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as lines:
            wanted = json.loads(lines.readline())
            lines.write(json.dumps(self._fan_out(**wanted)).encode() + b"\n")

    def _fan_out(self, rounds_most: int, within_s: float) -> dict[str, Any]:
        """One send a delivery, round after round; the last round is finished, however late."""
        sends = [receiver.sendall for receiver in self._receivers]
        rounds, cpu_s, begun_ns = 0, thread_time(), monotonic_ns()
        ends_s = monotonic() + within_s
        while rounds < rounds_most and monotonic() < ends_s:
            data = frame(rounds)
            for send in sends:
                send(data)
            rounds += 1
        return {"rounds": rounds, "begun_ns": begun_ns, "cpu_s": thread_time() - cpu_s}


def _echo(connection: socket.socket) -> None:
    while data := connection.recv(PAYLOAD_BYTES, socket.MSG_WAITALL):
        connection.sendall(data)


def _echo_frames(connection: socket.socket) -> None:
    masked_at = len(MASKED_HEAD) + MASK_BYTES
    while data := connection.recv(MASKED_BYTES, socket.MSG_WAITALL):
        mask, payload = data[len(MASKED_HEAD) : masked_at], data[masked_at:]
        connection.sendall(HEAD + xor(payload, mask))


def main() -> None:
    """Serve until stdin ends; whatever goes wrong ends the process with a word why."""
    if core := sys.argv[1:]:
        os.sched_setaffinity(0, {int(core[0])})
    peer = Peer()
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    print(json.dumps({"port": peer.listener.getsockname()[1]}), flush=True)
    peer.serve()


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(0)  # no blocked thread is to be waited for


if __name__ == "__main__":
    main()
