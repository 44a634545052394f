"""The other end of the light clients, as fast as plain sockets go: to measure receivers with.

It is no chat. It answers what a client asks in order to join, and then sends messages that
were framed beforehand: each to every connection in turn, one `send` a delivery, as a server
does that does not coalesce. To polls it answers 204, at once.

As a process (`python -m labs.bench.light.flood VARIANT`) it prints its port as a JSON line and
then takes commands on stdin:

    {"receivers": 1000} -> {"receivers": 1000}    as soon as so many follow
    {"rounds": 50, "first": 0, "alike": true}
                        -> {"sent": 50000, "spent_s": 0.31}

`alike` false gives each receiver a message of its own in each round, of the same length.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections.abc import Callable

from websockets.frames import Frame, Opcode
from websockets.utils import accept_key, apply_mask

from labs.wire.control import allow_files, reply

HOST = "127.0.0.1"
BACKLOG = 1_024
EPOCH = "00f100d0"
NOTHING = b"HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\n\r\n"
STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nd\r\nretry: 1000\n\n\r\n"
)
ENGINE = b'0{"sid":"flood","upgrades":[],"pingInterval":60000,"pingTimeout":60000}'
JOINED = (
    b'{"session":"floodfloodfloodfloodfl","name":"flood","room":"lobby","epoch":"%b","head":0,'
    b'"since":"%b:0","present":[],"lease_s":60.0,"quiet_s":60.0}'
) % (EPOCH.encode(), EPOCH.encode())
TEXT = "#%d 안녕하세요, good morning everyone, see you at noon"


def batch(index: int, offset: int) -> bytes:
    """A batch of one message, as the chat's servers write it."""
    text = TEXT % index
    said = (
        f'[{{"offset":{offset},"kind":"talk","name":"client17","text":"{text}",'
        f'"at_ms":{time.time_ns() // 1_000_000}}}]'
    )
    return said.encode()


def streaming_frame(index: int, offset: int) -> bytes:
    """An event of an event stream, in a chunk of its own."""
    event = b"event: updateMessage\nid: %b:%d\ndata: %b\n\n" % (
        EPOCH.encode(),
        offset,
        batch(index, offset),
    )
    return b"%x\r\n%b\r\n" % (len(event), event)


def websocket_frame(index: int, offset: int) -> bytes:
    """A text frame."""
    return _text(b'{"event":"updateMessage","data":%b}' % batch(index, offset))


def socketio_frame(index: int, offset: int) -> bytes:
    """An event packet in a text frame."""
    return _text(b'42["updateMessage",%b]' % batch(index, offset))


def _text(payload: bytes) -> bytes:
    return Frame(Opcode.TEXT, payload).serialize(mask=False)


FRAMES: dict[str, Callable[[int, int], bytes]] = {
    "streaming": streaming_frame,
    "websocket": websocket_frame,
    "socketio-websocket": socketio_frame,
}
"""How a message is framed, by the name of the variant."""


class Flood:
    """A server of one variant; `following` are the connections that have joined, in order."""

    def __init__(self, variant: str) -> None:
        self.following: list[socket.socket] = []
        self._variant = variant
        self._selector = selectors.DefaultSelector()
        self._listening = socket.create_server((HOST, 0), backlog=BACKLOG)
        self._listening.setblocking(False)
        self._selector.register(self._listening, selectors.EVENT_READ, None)
        self.port: int = self._listening.getsockname()[1]

    def watch(self, other: int) -> None:
        """Let `serve` return when this file descriptor can be read."""
        self._selector.register(other, selectors.EVENT_READ, other)

    def serve(self, receivers: int | None = None) -> bool:
        """Answer until something watched can be read; or, then True, there are so many."""
        while receivers is None or len(self.following) < receivers:
            for key, _ in self._selector.select():
                if key.data is None:
                    self._accept()
                elif isinstance(key.data, int):
                    return False
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._heard(key.fileobj)
        return True

    def send(self, rounds: int, first: int, alike: bool) -> tuple[int, float]:
        """Send so many messages to everyone; answers how many sends that were, and the time."""
        frame = FRAMES[self._variant]
        spent_s = 0.0
        for index in range(first, first + rounds):
            each = (
                [frame(index, index + 1)] * len(self.following)
                if alike
                else [frame(index, index + 1 + who) for who, _ in enumerate(self.following)]
            )
            begun_s = time.perf_counter()
            for connection, data in zip(self.following, each, strict=True):
                _send(connection, data)
            spent_s += time.perf_counter() - begun_s
        return rounds * len(self.following), spent_s

    def _accept(self) -> None:
        connection, _ = self._listening.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connection, selectors.EVENT_READ, self)

    def _heard(self, connection: socket.socket) -> None:
        # Requests and frames of a joining client come whole: each is one small write.
        try:
            data = connection.recv(65_536)
        except ConnectionError:
            data = b""
        if not data:
            self._selector.unregister(connection)
            connection.close()
            if connection in self.following:
                self.following.remove(connection)
        elif data.startswith(b"GET /updateMessage") and self._variant != "streaming":
            connection.send(NOTHING)
        else:
            self._join(connection, data)

    def _join(self, connection: socket.socket, data: bytes) -> None:
        if data.startswith(b"POST /newUserConnect"):
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(JOINED) + JOINED)
        elif data.startswith(b"GET /updateMessage"):
            connection.send(STREAM)
            self.following.append(connection)
        elif data.startswith(b"GET "):
            connection.send(_switched(data) + (_text(ENGINE) if b"EIO=4" in data else b""))
        elif data[0] == 0x81:
            self._answer_frame(connection, _unmasked(data))
        else:
            connection.send(NOTHING)

    def _answer_frame(self, connection: socket.socket, payload: bytes) -> None:
        if payload.startswith(b"40"):
            connection.send(_text(b'40{"sid":"flood"}'))
        elif b"newUserConnect" in payload:
            spec = b'{"event":"ack","data":%b,"id":0}' % JOINED
            ack = b"431[%b]" % JOINED if payload.startswith(b"42") else spec
            connection.send(_text(ack))
            self.following.append(connection)


def _send(connection: socket.socket, data: bytes) -> None:
    try:
        sent = connection.send(data)
    except BlockingIOError:
        sent = 0
    if sent < len(data):  # its buffer is full, so the receivers are the slower side
        connection.setblocking(True)
        connection.sendall(data[sent:])
        connection.setblocking(False)


def _switched(request: bytes) -> bytes:
    key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_key(key.decode()).encode()
    )


def _unmasked(frame: bytes) -> bytes:
    start = {126: 4, 127: 10}.get(frame[1] & 0x7F, 2)
    return apply_mask(frame[start + 4 :], frame[start : start + 4])


def main(variant: str) -> None:
    """The flood as a process of its own, until its stdin is closed."""
    allow_files()
    flood = Flood(variant)
    flood.watch(sys.stdin.fileno())
    reply({"port": flood.port})
    while True:
        flood.serve()
        line = sys.stdin.readline()
        if not line:
            return
        command = json.loads(line)
        if "receivers" in command:
            if flood.serve(command["receivers"]):
                reply({"receivers": len(flood.following)})
        else:
            sent, spent_s = flood.send(
                command["rounds"], command["first"], command.get("alike", True)
            )
            reply({"sent": sent, "spent_s": spent_s})


if __name__ == "__main__":
    main(sys.argv[1])
