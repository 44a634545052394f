"""The two ends of the floor, each by itself: what they send, and that they check what they get."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from labs.bench import floor_peer, floor_probe
from labs.bench.floor_probe import FRAME_BYTES, Receiver, WrongBytesError

# The far end, spoken to by hand.


@contextmanager
def far_end() -> Iterator[int]:
    """The far end as a process; yields its port, and sees it end with its stdin."""
    command = [sys.executable, "-m", "labs.bench.floor_peer"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield json.loads(process.stdout.readline())["port"]
        finally:
            process.stdin.close()
            assert process.wait() == 0


@contextmanager
def dialled(port: int, role: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(role)
        assert connection.recv(1) == role
        yield connection


def take(connection: socket.socket, size: int) -> bytes:
    return connection.recv(size, socket.MSG_WAITALL)


def test_the_far_end_sends_back_what_it_gets() -> None:
    with far_end() as port, dialled(port, b"E") as connection:
        for value in range(5):
            payload = bytes([value]) * floor_peer.PAYLOAD_BYTES
            connection.sendall(payload)
            assert take(connection, len(payload)) == payload


def test_the_far_end_speaks_websocket_frames() -> None:
    payload = "한글과 English".encode().ljust(floor_peer.PAYLOAD_BYTES, b".")
    with far_end() as port, dialled(port, b"W") as connection:
        for _ in range(5):  # each with another mask
            connection.sendall(Frame(Opcode.TEXT, payload).serialize(mask=True))
            assert parsed(take(connection, FRAME_BYTES)) == Frame(Opcode.TEXT, payload)


def parsed(data: bytes, mask: bool = False) -> Frame:
    """The one frame that these bytes are, by the parser of `websockets`."""
    reader = StreamReader()
    reader.feed_data(data)
    parsing = Frame.parse(reader.read_exact, mask=mask)
    with pytest.raises(StopIteration) as ended:
        next(parsing)
    assert not reader.buffer
    found: Frame = ended.value.value
    return found


def test_the_far_end_fans_out_every_round_to_everyone() -> None:
    with (
        far_end() as port,
        dialled(port, b"R") as one,
        dialled(port, b"R") as other,
        dialled(port, b"G") as control,
    ):
        control.sendall(b'{"rounds_most": 7, "within_s": 60.0}\n')
        with control.makefile("rb") as lines:
            assert json.loads(lines.readline())["rounds"] == 7
        wanted = b"".join(map(floor_peer.frame, range(7)))
        assert [take(each, len(wanted)) for each in (one, other)] == [wanted, wanted]


# The receiver of the fan-out, fed by hand.


def received(shares: list[bytes], rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each connection its share, say that so many rounds were sent, receive and check."""
    monkeypatch.setattr(floor_probe, "CONNECTIONS", len(shares))
    pairs = [socket.socketpair() for _ in (*shares, None)]
    try:
        for (far, _), share in zip(pairs, shares, strict=False):
            far.sendall(share)
            far.shutdown(socket.SHUT_WR)
        told: dict[str, Any] = {"rounds": rounds, "begun_ns": 1, "cpu_s": 0.5}
        pairs[-1][0].sendall(json.dumps(told).encode() + b"\n")
        receiver = Receiver([near for _, near in pairs[:-1]], pairs[-1][1])
        assert receiver.receive().rounds == rounds
        receiver.check(rounds)
    finally:
        for pair in pairs:
            for end in pair:
                end.close()


def frames(*rounds: int) -> bytes:
    return b"".join(map(floor_peer.frame, rounds))


def test_a_whole_fan_out_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    received([frames(0, 1, 2)] * 3, 3, monkeypatch)


@pytest.mark.parametrize(
    "shares",
    [
        pytest.param([frames(0, 1, 1), frames(0)], id="one has what another lacks"),
        pytest.param([frames(0, 1), frames(1, 0)], id="out of order"),
        pytest.param([frames(0, 1), frames(0, 2)], id="another frame"),
        pytest.param([frames(0, 1), frames(0)], id="lost"),
    ],
)
def test_a_wrong_fan_out_is_found(shares: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WrongBytesError):
        received(shares, 2, monkeypatch)


# The round trips in turn, fed by hand.


class Written:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.data: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.data.append(data)

    def is_closing(self) -> bool:
        return False


@contextmanager
def in_turn(answer: bytes, share_s: float) -> Iterator[tuple[floor_probe.Alternating, Written]]:
    """Round trips that have begun; the blocking ones are answered so, in advance."""
    (far, near), (far_tapped, tapped) = socket.socketpair(), socket.socketpair()
    with far, near, far_tapped, tapped:
        for each in (far, far_tapped):
            each.sendall(answer)
        written = Written()
        pairs = floor_probe.Alternating(near, tapped, cast(asyncio.Transport, written), share_s)
        pairs.begin()
        yield pairs, written


ANSWER = floor_peer.HEAD + floor_probe.PAYLOAD


async def test_an_answer_in_pieces_is_one_round_trip() -> None:
    with in_turn(floor_probe.PAYLOAD, share_s=0.0) as (pairs, written):
        for value in ANSWER[:-1]:
            pairs.websocket.data_received(bytes([value]))
            assert not pairs.done.done()
        pairs.websocket.data_received(ANSWER[-1:])
        await pairs.done
        assert len(pairs.blocking_ns) == len(pairs.tapped_ns) == len(pairs.websocket_ns) == 1
        assert parsed(written.data[0], mask=True) == Frame(Opcode.TEXT, floor_probe.PAYLOAD)
        assert len(written.data) == 1


async def test_a_round_trip_follows_another() -> None:
    with in_turn(floor_probe.PAYLOAD * 2, share_s=3_600.0) as (pairs, written):
        pairs.websocket.data_received(ANSWER)
        assert not pairs.done.done()
        assert (len(pairs.blocking_ns), len(pairs.tapped_ns)) == (2, 2)
        assert (len(pairs.websocket_ns), len(written.data)) == (1, 2)


async def test_bytes_that_come_back_changed_are_found() -> None:
    changed = floor_probe.PAYLOAD[::-1]
    with in_turn(changed, share_s=0.0) as (pairs, _), pytest.raises(WrongBytesError):
        await pairs.done


async def test_a_frame_that_comes_back_changed_is_found() -> None:
    with in_turn(floor_probe.PAYLOAD, share_s=0.0) as (pairs, _):
        pairs.websocket.data_received(ANSWER[:-1] + b"!")
        with pytest.raises(WrongBytesError):
            await pairs.done


async def test_a_far_end_that_goes_is_noticed() -> None:
    with in_turn(floor_probe.PAYLOAD, share_s=0.0) as (pairs, _):
        pairs.websocket.connection_lost(None)
        with pytest.raises(ConnectionError):
            await pairs.done
