"""The near end of the floor: `python -m labs.bench.floor_probe`.

Reads one `Job` as a JSON line from stdin, measures, prints a `Floor`, and ends.
"""

from __future__ import annotations

import asyncio
import gc
import os
import select
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from time import monotonic, monotonic_ns, thread_time
from types import SimpleNamespace
from typing import cast

import msgspec
from websockets.utils import accept_key

from labs.bench import floor_peer as peer
from labs.bench.floor import Clock, FanOut, Floor, Job, Lateness, RoundTrips
from labs.bench.light.client import Known, Sink
from labs.bench.light.frames import Socket, new_key
from labs.bench.player import Player
from labs.bench.schedule import Tick
from labs.errors import LabError
from labs.loops import name as loop_name
from labs.loops import runner
from labs.wire.control import reply

CONNECTIONS = 100
ROUNDS_MOST = 2_000
PAIRS_MOST = 1_000
WAKES = 100
WAKE_NS = 2_000_000  # from one wake to the next: long enough for the loop to sleep in between
READINGS = 10_000
READ_BYTES = 16_384

PAYLOAD = bytes(range(peer.PAYLOAD_BYTES))
ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: %s\r\n\r\n"
FRAME_BYTES = len(peer.frame(0))


class WrongBytesError(LabError):
    """What arrived is not what was sent."""


class Alternating:
    """Round trips in turn: over a blocking socket, one through the tap, a light client's WebSocket.

    `websocket` is the generator's own; its opening handshake is given to it, since the far end
    knows what it is. Making the frame and reading the answer are in the time taken.
    """

    number = position_offset = 0
    sink = cast(Sink, SimpleNamespace(arrived=None))  # no chat, and nobody to report it to

    def __init__(
        self,
        blocking: socket.socket,
        tapped: socket.socket,
        transport: asyncio.Transport,
        share_s: float,
    ) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.blocking_ns: list[int] = []
        self.tapped_ns: list[int] = []
        self.websocket_ns: list[int] = []
        key = new_key()
        self.websocket = Socket(self, transport, key, Known())
        self.websocket.data_received(ACCEPTED % accept_key(key).encode())
        self._blocking = [(blocking, self.blocking_ns), (tapped, self.tapped_ns)]
        self._ends_s = monotonic() + share_s

    def begin(self) -> None:
        """Make the next round trips over the blocking sockets, and begin the other."""
        for blocking, taken_ns in self._blocking:
            sent_ns = monotonic_ns()
            blocking.sendall(PAYLOAD)
            answer = blocking.recv(peer.PAYLOAD_BYTES, socket.MSG_WAITALL)
            taken_ns.append(monotonic_ns() - sent_ns)
            if answer != PAYLOAD:
                self._end(WrongBytesError("64 bytes came back changed"))
                return
        self._sent_ns = monotonic_ns()
        self.websocket.send(PAYLOAD)

    def upgraded(self) -> None:
        """The handshake is over."""

    def text(self, payload: bytes, at_ns: int) -> None:
        """The answer, read: that is a little later than `at_ns`, when it came."""
        self.websocket_ns.append(monotonic_ns() - self._sent_ns)
        if payload != PAYLOAD:
            self._end(WrongBytesError("a WebSocket frame came back changed"))
        elif len(self.websocket_ns) < PAIRS_MOST and monotonic() < self._ends_s:
            self.begin()
        else:
            self._end()

    def socket_ended(self, socket: Socket, error: Exception, at_ns: int) -> None:
        """The far end has gone, unless all is done."""
        self._end(error)

    def _end(self, error: Exception | None = None) -> None:
        if self.done.done():
            return
        if error:
            self.done.set_exception(error)
        else:
            self.done.set_result(None)


def probe(job: Job) -> Floor:
    """Measure everything, one thing after the other."""
    gc.disable()
    clock = read_clock()
    with runner() as loop:
        with _pinned(job.core):
            pairs = loop.run(alternate(job))
        late_ns = loop.run(wake(job.share_s))
    with _pinned(job.core):
        fanout = fan_out(job)
    return Floor(
        loop=loop_name(),
        pinned=job.core is not None,
        ping=RoundTrips.of(pairs.blocking_ns),
        websocket=RoundTrips.of(pairs.websocket_ns),
        timer=Lateness.of(late_ns),
        fanout=fanout,
        clock=clock,
        tap=RoundTrips.of(pairs.tapped_ns),
    )


async def alternate(job: Job) -> Alternating:
    """The three kinds of round trips, in turn, on the running loop."""
    loop = asyncio.get_running_loop()
    with _dial(job.port, b"E") as blocking, _dial(job.tap_port, b"E") as tapped:
        framed = _dial(job.port, b"W")
        framed.setblocking(False)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=framed)
        try:
            pairs = Alternating(blocking, tapped, transport, job.share_s)
            transport.set_protocol(pairs.websocket)
            pairs.begin()
            await pairs.done
        finally:
            transport.close()
    return pairs


async def wake(share_s: float) -> list[int]:
    """How late the generator's clockwork wakes, in nanoseconds, one wake after the other."""
    late_ns: list[int] = []
    clockwork = Player({}, 0, _say_nothing)
    ends_s, moment_ns = monotonic() + share_s, monotonic_ns()
    while not late_ns or (len(late_ns) < WAKES and monotonic() < ends_s):
        moment_ns += WAKE_NS
        await clockwork.until(moment_ns)
        late_ns.append(monotonic_ns() - moment_ns)
    return late_ns


async def _say_nothing(_index: int, _tick: Tick) -> None:
    """A clockwork that sends nothing is asked only for the time."""


def fan_out(job: Job) -> FanOut:
    """Have the far end send to all connections, count what comes, and check every frame."""
    with ExitStack() as opened:
        sockets = [opened.enter_context(_dial(job.port, b"R")) for _ in range(CONNECTIONS)]
        control = opened.enter_context(_dial(job.port, b"G"))
        receiver, spent_s = Receiver(sockets, control), thread_time()
        control.sendall(b'{"rounds_most": %d, "within_s": %f}\n' % (ROUNDS_MOST, job.share_s))
        sent = receiver.receive()
        spent_s = thread_time() - spent_s
        receiver.check(sent.rounds)
    seconds = (receiver.last_ns - sent.begun_ns) / 1e9
    return FanOut(
        connections=CONNECTIONS,
        frame_bytes=FRAME_BYTES,
        deliveries=sent.rounds * CONNECTIONS,
        seconds=seconds,
        sender_cpu=sent.cpu_s / seconds,
        receiver_cpu=spent_s / seconds,
    )


class Sent(msgspec.Struct, frozen=True):
    """What the sender of the fan-out says."""

    rounds: int
    begun_ns: int
    cpu_s: float


class Receiver:
    """Reads what comes on many connections, and keeps it; `last_ns` is when the last came."""

    def __init__(self, sockets: list[socket.socket], control: socket.socket) -> None:
        self.last_ns = 0
        self._control = control
        self._reads = {each.fileno(): each.recv for each in sockets}
        self._received = {each.fileno(): bytearray() for each in sockets}

    def receive(self) -> Sent:
        """Until everything is there that the sender says it sent."""
        poller, sent = select.poll(), None
        for number in (*self._reads, self._control.fileno()):
            poller.register(number, select.POLLIN)
        bytes_left = 0
        while sent is None or bytes_left:
            for number, _ in poller.poll():
                if number == self._control.fileno():
                    sent = msgspec.json.decode(self._told(), type=Sent)
                    bytes_left += sent.rounds * CONNECTIONS * FRAME_BYTES
                    poller.unregister(number)
                else:
                    bytes_left -= self._read(number)
            self.last_ns = monotonic_ns()
        return sent

    def check(self, rounds: int) -> None:
        """Raises `WrongBytesError` unless each connection got each round's frame, in order."""
        wanted = b"".join(peer.frame(number) for number in range(rounds))
        if any(received != wanted for received in self._received.values()):
            raise WrongBytesError("the fan-out did not bring every frame to every connection")

    def _read(self, number: int) -> int:
        data = self._reads[number](READ_BYTES)
        if not data:
            raise WrongBytesError("the far end closed a connection of the fan-out")
        self._received[number] += data
        return len(data)

    def _told(self) -> bytes:
        with self._control.makefile("rb") as lines:
            return lines.readline()


def read_clock() -> Clock:
    """What the monotonic clock can tell apart, and what asking it costs."""
    begun_ns = monotonic_ns()
    readings = [monotonic_ns() for _ in range(READINGS)]
    cost_ns = (monotonic_ns() - begun_ns) / READINGS
    steps = (later - earlier for earlier, later in pairwise(readings))
    return Clock(READINGS, min(step for step in steps if step), cost_ns)


def _dial(port: int, role: bytes) -> socket.socket:
    """A connection to the far end that stands, for one use."""
    connection = socket.create_connection((peer.HOST, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(role)
    if connection.recv(1) != role:
        raise WrongBytesError("the far end does not answer")
    return connection


@contextmanager
def _pinned(core: int | None) -> Iterator[None]:
    """Stay on one core meanwhile, where there is a choice."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def main() -> None:
    """One job, then the end."""
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    try:
        reply(probe(job))
    except (LabError, OSError) as error:
        reply({"error": str(error)})


if __name__ == "__main__":
    main()
