"""A crowd of clients: a few readable ones of the variant as probes, the others light."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from time import monotonic_ns
from typing import Protocol

from labs.bench import heads
from labs.bench.light import Light
from labs.bench.record import LossLedger
from labs.bench.workload import Workload
from labs.chat import Joined
from labs.errors import ChatError, LabError
from labs.inbox import Backoff, new_key
from labs.settings import Settings
from labs.variants import Client, Variant
from labs.wire.control import together

SETTLE_S = 0.25  # after the last join, for polls and upgrades on their way
LOOK_S = 0.02  # how often the clients' states are looked at
GROUP = 50  # so many join at once


class Member(Protocol):
    """What a crowd asks of a client, light or readable."""

    @property
    def state(self) -> str:
        """As `labs.variants.Client` has it."""

    @property
    def position_offset(self) -> int:
        """The highest offset seen."""

    async def connect(self, name: str) -> Joined:
        """Join."""

    def send(self, text: str, key: str | None = None) -> asyncio.Future[int]:
        """Say something; the offset comes later."""

    async def close(self) -> None:
        """Leave."""


class Probe:
    """A readable client, whose messages go into the loss ledger."""

    def __init__(self, number: int, client: Client, ledger: LossLedger) -> None:
        self.position_offset = 0
        self._number, self._client, self._ledger = number, client, ledger
        self._receiving: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """As the client says; raises what ended it for good."""
        if self._receiving and self._receiving.done():
            self._receiving.result()
        return self._client.state

    async def connect(self, name: str) -> Joined:
        """Join and receive."""
        joined = await self._client.connect(name)
        self._receiving = asyncio.create_task(self._receive())
        return joined

    def send(self, text: str, key: str | None = None) -> asyncio.Future[int]:
        """Say something."""
        return asyncio.ensure_future(self._client.send(text, key))

    async def close(self) -> None:
        """Leave."""
        if self._receiving:
            self._receiving.cancel()
        await self._client.close()

    async def _receive(self) -> None:
        async for message in self._client.messages():
            at_ns = monotonic_ns()
            self.position_offset = message.offset
            if message.kind == "talk":
                self._ledger.heard(self._number, message.text, message.offset, at_ns)


def abreast(clients: int, in_order: bool) -> int:
    """How many join at once: a small crowd that must be in order one by one."""
    return 1 if in_order and clients <= GROUP else GROUP


class Crowd:
    """The clients of one generator, by their numbers.

    `kind` is the light client, if there is one; none of them reads what is compressed.
    `back_ns`: from the cut until back.
    """

    def __init__(
        self,
        variant: Variant,
        kind: type[Light] | None,
        url: str,
        workload: Workload,
        phases: Sequence[float],
        ledger: LossLedger,
        numbers: Sequence[int],
    ) -> None:
        self.back_ns: list[int] = []
        self._ledger, self._workload = ledger, workload
        self._heads: dict[int, int] = {}  # of each room's log when the last one had joined
        self._watching: asyncio.Task[None] | None = None
        self.members: dict[int, Member] = {}
        self._lights: dict[int, Light] = {}
        self._whole = {number: asyncio.Event() for number in numbers}
        settings = variant.settings(Settings(**workload.settings))
        for number in numbers:
            room = settings.room if workload.rooms == 1 else f"room{number % workload.rooms}"
            own = settings.but(room=room)
            if kind is None or settings.compress or number < workload.probes:
                self.members[number] = Probe(number, variant.client(url, own), ledger)
                continue
            self.members[number] = self._lights[number] = kind(
                number,
                url,
                own,
                heads.find(workload.headers),
                ledger,
                phase=phases[number],
                keep_alive=workload.keep_alive,
            )

    async def join(self, in_order: bool, see_all: bool) -> None:
        """Everyone comes in; with `see_all`, until everyone has seen the last one come."""
        numbers = list(self.members)
        at_once = abreast(len(numbers), in_order)
        for first in range(0, len(numbers), at_once):
            await together(*map(self._join, numbers[first : first + at_once]))
        # What one message more or less costs the hot path is dearer than looking now and then.
        while see_all and not self._seen_all():
            if lost := next(self.broken(), None):
                raise LabError(lost)
            await asyncio.sleep(LOOK_S)
        await asyncio.sleep(SETTLE_S)
        self._watching = asyncio.create_task(self._watch())

    async def send(self, number: int, text: str) -> int:
        """Say something through a client, after a cut again with the same key; the offset."""
        key, backoff = new_key(), Backoff()
        while True:
            await self._whole[number].wait()
            try:
                return await self.members[number].send(text, key)
            except (ChatError, ConnectionError) as error:
                await backoff.after(error)

    async def cut(self) -> None:
        """Cut off every light client at once, and let each come back at once."""
        at_ns = monotonic_ns()
        for number, client in self._lights.items():
            self._whole[number].clear()
            client.drop()
            self._ledger.broke(number, at_ns)
        await together(*(self._return(number, at_ns) for number in self._lights))

    async def leave(self) -> None:
        """Everyone goes."""
        if self._watching:
            self._watching.cancel()
        await asyncio.gather(*(member.close() for member in self.members.values()))

    def broken(self) -> Iterator[str]:
        """Which clients have no connection, and why; raises what ended a readable one for good."""
        if self._watching and self._watching.done():
            self._watching.result()
        for number, member in self.members.items():
            if member.state in ("closed", "reconnecting"):
                error = self._lights[number].error if number in self._lights else None
                yield f"client{number} has lost its connection" + (f": {error}" if error else "")

    @property
    def missed_polls(self) -> int:
        """How often a light poller skipped a moment: its last poll was open, or it was late."""
        return sum(client.missed for client in self._lights.values())

    async def _join(self, number: int) -> None:
        joined = await self.members[number].connect(f"client{number}")
        room = number % self._workload.rooms
        self._heads[room] = max(self._heads.get(room, 0), joined.head)
        self._whole[number].set()

    async def _return(self, number: int, cut_ns: int) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._lights[number].resume()
                break
            except (ChatError, ConnectionError) as error:
                await backoff.after(error)
        at_ns = monotonic_ns()
        self._ledger.back(number, at_ns)
        self.back_ns.append(at_ns - cut_ns)
        self._whole[number].set()

    def _seen_all(self) -> bool:
        return all(
            member.position_offset >= self._heads[number % self._workload.rooms]
            for number, member in self.members.items()
        )

    async def _watch(self) -> None:
        # Light clients tell the ledger by themselves when a connection ends.
        probes = [pair for pair in self.members.items() if pair[0] not in self._lights]
        while True:
            at_ns = monotonic_ns()
            for number, probe in probes:
                if probe.state == "open":
                    self._ledger.back(number, at_ns)
                else:
                    self._ledger.broke(number, at_ns)
            await asyncio.sleep(LOOK_S)
