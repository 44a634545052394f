"""The floor: its figures hold together, what arrives is checked, and nothing is left running."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import psutil
import pytest
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from labs.bench import floor, floor_peer, floor_probe
from labs.bench.floor import Floor, Lateness, RoundTrips
from labs.bench.floor_probe import CONNECTIONS, FRAME_BYTES, Receiver, WrongBytesError
from labs.bench.floor_rows import describe
from labs.errors import LabError
from tests.need import need

SHARE_S = 0.02  # the figures are of no account here, only that they hold together


def ours() -> list[int]:
    """Our children that belong to a floor."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if any("labs.bench.floor" in word for word in child.cmdline()):
                found.append(child.pid)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture(scope="module")
def measured() -> Floor:
    found = asyncio.run(floor.measure(share_s=SHARE_S))
    assert ours() == []
    return found


def test_measures_every_loop_there_is(measured: Floor) -> None:
    assert tuple(each.loop for each in measured.loops) == floor.loops()
    assert measured.on("asyncio") is measured.loops[0]


def test_percentiles_are_in_order(measured: Floor) -> None:
    trips = [measured.ping]
    for each in measured.loops:
        trips += [each.blocking, each.websocket]
        assert 0 <= each.timer.p50_us <= each.timer.p99_us <= each.timer.max_us
        assert each.timer.n >= 1
    for found in trips:
        assert 0 < found.min_us <= found.p50_us <= found.p99_us


def test_the_two_kinds_of_round_trip_alternate(measured: Floor) -> None:
    for each in measured.loops:
        assert each.blocking.n == each.websocket.n >= 1
    assert measured.ping.n == sum(each.blocking.n for each in measured.loops)


def test_the_ratio_is_of_the_medians(measured: Floor) -> None:
    for each in measured.loops:
        assert each.ratio * each.blocking.p50_us == pytest.approx(each.websocket.p50_us)


def test_the_fan_out_is_whole_rounds(measured: Floor) -> None:
    found = measured.fanout
    assert (found.connections, found.frame_bytes) == (CONNECTIONS, FRAME_BYTES)
    assert found.deliveries >= CONNECTIONS
    assert found.deliveries % CONNECTIONS == 0
    assert found.per_s * found.seconds == pytest.approx(found.deliveries)
    assert 0 < found.sender_cpu < 2  # of a core; each end is one thread
    assert 0 < found.receiver_cpu < 2


def test_the_clock_moves(measured: Floor) -> None:
    assert measured.clock.step_ns >= 1
    assert measured.clock.cost_ns > 0


def test_goes_into_a_result_and_back(measured: Floor) -> None:
    data = msgspec.json.encode(measured)
    assert msgspec.json.decode(data, type=Floor) == measured
    assert len(data) < 2_000


def test_percentiles_are_by_nearest_rank() -> None:
    found = RoundTrips.of([number * 1_000 for number in range(200, 0, -1)])
    assert (found.n, found.min_us, found.p50_us, found.p99_us) == (200, 1.0, 100.0, 198.0)
    late = Lateness.of([3_000])
    assert (late.n, late.p50_us, late.p99_us, late.max_us) == (1, 3.0, 3.0, 3.0)


def test_every_row_says_what_it_rests_on(measured: Floor) -> None:
    rows = list(describe(measured))
    assert len(rows) == 3 + 2 * len(measured.loops)
    for row in rows:
        assert "n = " in row.note
        assert "n = " in row.note_ko
        assert row.label != row.label_ko
        assert row.advice.endswith(".")
    assert f"n = {measured.fanout.deliveries:,} deliveries" in rows[1 + len(measured.loops)].note


def slowed(found: Floor) -> Floor:
    """The same floor, on a machine a thousand times slower."""
    given = msgspec.to_builtins(found)
    for each in given["loops"]:
        each["websocket"]["p50_us"] *= 1_000
        each["timer"]["p99_us"] = each["timer"]["max_us"] = 50_000.0
    given["ping"]["p50_us"] = 100_000.0
    given["fanout"]["seconds"] *= 1_000
    given["clock"]["step_ns"] = 1_000_000
    return msgspec.convert(given, Floor)


def test_what_falls_short_is_not_met(measured: Floor) -> None:
    assert not any(row.met for row in describe(slowed(measured)))


async def test_a_loop_that_does_not_exist_is_an_error_and_leaves_nothing() -> None:
    with pytest.raises(LabError, match="nosuchloop"):
        await floor.measure(on=["nosuchloop"], share_s=SHARE_S)
    assert ours() == []


async def test_given_up_half_way_it_leaves_nothing() -> None:
    measuring = asyncio.create_task(floor.measure(share_s=5.0))
    while len(ours()) < 2:
        assert not measuring.done()
        await asyncio.sleep(0.01)
    measuring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await measuring
    assert ours() == []


def test_a_core_is_held_no_longer_than_needed() -> None:
    need(hasattr(os, "sched_getaffinity"), "Linux is needed to hold a process on one core.")
    before = os.sched_getaffinity(0)
    with floor_probe._pinned(max(before)):
        assert os.sched_getaffinity(0) == {max(before)}
    assert os.sched_getaffinity(0) == before
    with floor_probe._pinned(None):
        assert os.sched_getaffinity(0) == before


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


def test_what_the_probe_sends_is_a_websocket_frame() -> None:
    mask = b"\x01\x80\xfe\x37"
    data = floor_peer.MASKED_HEAD + mask + floor_peer.xor(floor_probe.PAYLOAD, mask)
    assert parsed(data, mask=True) == Frame(Opcode.TEXT, floor_probe.PAYLOAD)
    assert parsed(floor_probe.ANSWER) == Frame(Opcode.TEXT, floor_probe.PAYLOAD)


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


@contextmanager
def in_turn(answer: bytes, share_s: float) -> Iterator[tuple[floor_probe.Alternating, Written]]:
    """Round trips that have begun; the blocking ones are answered so, in advance."""
    far, near = socket.socketpair()
    with far, near:
        far.sendall(answer)
        written, pairs = Written(), floor_probe.Alternating(near, share_s)
        pairs.connection_made(written)  # type: ignore[arg-type]
        pairs.begin()
        yield pairs, written


async def test_an_answer_in_pieces_is_one_round_trip() -> None:
    with in_turn(floor_probe.PAYLOAD, share_s=0.0) as (pairs, written):
        for value in floor_probe.ANSWER[:-1]:
            pairs.data_received(bytes([value]))
            assert not pairs.done.done()
        pairs.data_received(floor_probe.ANSWER[-1:])
        await pairs.done
        assert len(pairs.blocking_ns) == len(pairs.websocket_ns) == len(written.data) == 1


async def test_a_round_trip_follows_another() -> None:
    with in_turn(floor_probe.PAYLOAD * 2, share_s=3_600.0) as (pairs, written):
        pairs.data_received(floor_probe.ANSWER)
        assert not pairs.done.done()
        assert (len(pairs.blocking_ns), len(pairs.websocket_ns), len(written.data)) == (2, 1, 2)


async def test_bytes_that_come_back_changed_are_found() -> None:
    changed = floor_probe.PAYLOAD[::-1]
    with in_turn(changed, share_s=0.0) as (pairs, _), pytest.raises(WrongBytesError):
        await pairs.done


async def test_a_frame_that_comes_back_changed_is_found() -> None:
    with in_turn(floor_probe.PAYLOAD, share_s=0.0) as (pairs, _):
        pairs.data_received(floor_probe.ANSWER[:-1] + b"!")
        with pytest.raises(WrongBytesError):
            await pairs.done


async def test_a_far_end_that_goes_is_noticed() -> None:
    with in_turn(floor_probe.PAYLOAD, share_s=0.0) as (pairs, _):
        pairs.connection_lost(None)
        with pytest.raises(WrongBytesError, match="closed"):
            await pairs.done
