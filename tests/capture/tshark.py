"""A packet capture by tshark: each packet as it passes the wire, with what is counted of it."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.capture.veth import SERVER, WIRE

FIELDS = "tcp.stream ip.src tcp.len ip.len tcp.flags tcp.analysis.retransmission udp.dstport"
BEGUN = b"Capture started"
HEAD_BYTES = 128  # of each packet are enough for its headers
WITHIN_S = 30.0
FIN, SYN, RST = 1, 2, 4  # RFC 9293 3.1


@dataclass(frozen=True)
class Packet:
    """A TCP segment, or a marker when `marker` is not 0."""

    stream: int
    down: bool
    payload_bytes: int
    ip_bytes: int
    flags: int
    sent_again: bool
    marker: int

    @classmethod
    def read(cls, line: str) -> Packet:
        stream, source, payload, whole, flags, again, marker = line.rstrip("\n").split("|")
        return cls(
            int(stream or -1),
            source == SERVER,
            int(payload or 0),
            int(whole),
            int(flags or "0", 16),
            bool(again),
            int(marker or 0),
        )


@dataclass(frozen=True)
class Sum:
    """Segments of one direction."""

    segments: int
    payload_bytes: int
    header_bytes: int

    @classmethod
    def of(cls, packets: Iterable[Packet], *, down: bool) -> Sum:
        mine = [packet for packet in packets if packet.down == down]
        payload = sum(packet.payload_bytes for packet in mine)
        return cls(len(mine), payload, sum(packet.ip_bytes for packet in mine) - payload)


class Capture:
    """What has passed the wire."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._packets: list[Packet] = []

    async def until(self, marker: int) -> list[Packet]:
        """The segments that passed before a marker, which this waits for."""
        assert self._process.stdout
        while not (self._packets and self._packets[-1].marker == marker):
            line = await asyncio.wait_for(self._process.stdout.readline(), WITHIN_S)
            assert line, "tshark has ended"
            self._packets.append(Packet.read(line.decode()))
        return [packet for packet in self._packets if not packet.marker]


@asynccontextmanager
async def capturing(namespace: str) -> AsyncIterator[Capture]:
    """Capture what passes the wire while inside; it has begun when this is entered."""
    fields = [word for field in FIELDS.split() for word in ("-e", field)]
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", namespace, "tshark", "-i", WIRE, "-l", "-n"),
        *("-s", str(HEAD_BYTES), "-f", "tcp or udp", "-T", "fields", "-E", "separator=|"),
        *fields,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        await asyncio.wait_for(_begun(process), WITHIN_S)
        yield Capture(process)
    finally:
        if process.returncode is None:
            process.terminate()
        _, said = await process.communicate()
    assert b"dropped" not in said, said.decode()


async def _begun(process: Process) -> None:
    assert process.stderr
    said = b""
    while BEGUN not in said:
        line = await process.stderr.readline()
        assert line, f"tshark has not begun: {said.decode()}"
        said += line
