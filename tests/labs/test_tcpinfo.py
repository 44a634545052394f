"""TCP_INFO is read field by field, and what the kernel does not say is estimated."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator

import pytest

from labs.wire.recording import Event
from labs.wire.tcpinfo import (
    OFFSETS,
    SACK,
    TIMESTAMPS,
    WSCALE,
    TcpInfo,
    estimate,
    header_bytes,
    parse,
    read,
    segments,
)
from labs.wire.traffic import Segments
from tests.need import need

HOST = "127.0.0.1"
LINUX = "run on Linux: other kernels have no TCP_INFO"
FULL = 216  # bytes of the struct up to the last field that is read


def answer(values: dict[str, int], size: int = FULL) -> bytes:
    """A kernel's struct with these values in it."""
    made = bytearray(b"\xff" * size)
    for name, value in values.items():
        kind, at = OFFSETS[name]
        struct.pack_into(f"={kind}", made, at, value)
    return bytes(made)


def test_each_field_is_read_at_its_own_place() -> None:
    values = {name: 11 + number for number, name in enumerate(OFFSETS)}
    assert parse(answer(values)) == TcpInfo(**values)


@pytest.mark.parametrize("size", [FULL + 1, 280, 1_024])
def test_a_longer_struct_of_a_newer_kernel_is_read_as_well(size: int) -> None:
    values = dict.fromkeys(OFFSETS, 7)
    assert parse(answer(values, size)) == TcpInfo(**values)


@pytest.mark.parametrize("size", [0, 5, 104, 160, FULL - 1])
def test_a_shorter_struct_of_an_older_kernel_is_none(size: int) -> None:
    assert parse(b"\x01" * size) is None


def test_a_socket_that_is_no_tcp_has_none() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        assert read(datagrams) is None


def test_another_platform_has_none(
    monkeypatch: pytest.MonkeyPatch, pair: tuple[socket.socket, socket.socket]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert read(pair[0]) is None


def test_a_closed_socket_has_none(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].close()
    assert read(pair[0]) is None


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two sides of a TCP connection on loopback: who connected, who accepted."""
    with (
        socket.create_server((HOST, 0)) as listening,
        socket.create_connection(listening.getsockname()) as connected,
    ):
        accepted, _ = listening.accept()
        with accepted:
            yield connected, accepted


def found(sock: socket.socket) -> TcpInfo:
    info = read(sock)
    assert info
    return info


def test_the_side_that_accepts_counts_payload_alone_until_the_end(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    need(sys.platform == "linux", LINUX)
    connected, accepted = pair
    connected.sendall(b"u" * 100)
    assert len(accepted.recv(1_000)) == 100
    accepted.sendall(b"d" * 50)
    assert len(connected.recv(1_000)) == 50
    connected.sendall(b"!")  # its acknowledgement comes with it
    accepted.recv(1)
    assert (found(accepted).bytes_received, found(accepted).bytes_acked) == (101, 50)
    assert (found(accepted).data_segs_in, found(accepted).data_segs_out) == (2, 1)
    assert (found(accepted).bytes_sent, found(accepted).bytes_retrans) == (50, 0)


def test_a_syn_and_a_fin_count_as_a_byte_each(pair: tuple[socket.socket, socket.socket]) -> None:
    need(sys.platform == "linux", LINUX)
    connected, accepted = pair
    assert (found(connected).bytes_acked, found(accepted).bytes_acked) == (1, 0)
    connected.shutdown(socket.SHUT_WR)
    assert accepted.recv(1) == b""
    assert found(accepted).bytes_received == 1


@pytest.mark.parametrize(
    ("options", "family", "each", "syn"),
    [
        (TIMESTAMPS | SACK | WSCALE, socket.AF_INET, 52, 60),
        (TIMESTAMPS | SACK | WSCALE, socket.AF_INET6, 72, 80),
        (TIMESTAMPS, socket.AF_INET, 52, 56),
        (SACK | WSCALE, socket.AF_INET, 40, 52),
        (0, socket.AF_INET, 40, 44),
    ],
)
def test_headers_by_the_options_negotiated(options: int, family: int, each: int, syn: int) -> None:
    assert header_bytes(options, family) == each
    assert header_bytes(options, family, syn=True) == syn


def test_segments_are_those_of_the_side_that_accepted() -> None:
    values = {**dict.fromkeys(OFFSETS, 0), "options": 7, "segs_in": 4, "segs_out": 2}
    counted = segments(TcpInfo(**values), socket.AF_INET)
    assert counted == Segments(4, 3, 3 * 52 + 60, 2 * 52 + 60, estimated=False)


def test_an_estimate_rests_on_full_segments_and_delayed_acknowledgements() -> None:
    events = [
        Event(1, 0, "opened"),
        Event(2, 0, "up", b"x" * 1_449),  # two segments
        Event(3, 0, "down", b"x" * 1_448),  # one
        Event(4, 0, "down", b"x"),  # another, however small
        Event(5, 0, "down", b"x"),
        Event(6, 0, "down", b"x"),
        Event(7, 0, "up_end"),
        Event(8, 0, "down_end"),
    ]
    up, down = 2 + 2 + 1 + 2, 1 + 4 + 1 + 1
    assert estimate(events) == Segments(up, down, up * 52 + 8, down * 52 + 8, estimated=True)
