"""SPEC.md section 10, from S10.7 on: a dead peer is noticed, and a client comes back gently."""

import random
from itertools import pairwise

import pytest

from tests.contract.town import Town, everywhere
from tests.contract.waiting import until


@pytest.mark.usefixtures("quiet")
async def test_S10_7_the_client_notices_a_dead_server() -> None:
    """Its connections are dead, but open; it makes new ones and misses nothing."""

    async def scenario(town: Town) -> None:
        await town.open(hold_s=0.5, heartbeat_s=0.5)
        line = await town.line()
        alice, bob = await town.person("alice"), await town.person("bob", line, timeout_s=2.0)
        await alice.say("before")
        await bob.hears("before")
        line.freeze()
        await alice.say("meanwhile")
        await bob.hears("meanwhile")
        assert bob.texts == ["before", "meanwhile"]
        assert (alice.count("join", "bob"), alice.count("leave", "bob")) == (1, 0)

    await everywhere(scenario)


@pytest.mark.usefixtures("quiet")
async def test_S10_7_the_server_notices_a_dead_client() -> None:
    """Not even its kernel answers any more. First that is noticed, then the lease runs."""

    async def scenario(town: Town) -> None:
        await town.open(clock=False, lease_s=0.3, hold_s=0.3, heartbeat_s=0.3, timeout_s=0.5)
        line = await town.line()
        alice, bob = await town.person("alice"), await town.person("bob", line)
        await alice.say("before")
        await bob.hears("before")
        line.die()
        await alice.notices("leave", "bob")

    await everywhere(scenario)


async def test_S10_8_clients_come_back_but_never_at_once(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two attempts a client has waited, for a time of its own choosing."""
    await town.open()
    line = await town.line()
    bob = await town.person("bob", line)
    attempts: list[int] = []

    def uniform(_: float, longest_s: float) -> float:
        attempts.append(line.calls)
        return longest_s

    monkeypatch.setattr(random, "uniform", uniform)
    line.refuse()
    await until(lambda: len(attempts) >= 5)
    line.refusing = False
    await bob.say("back")
    await bob.hears("back")
    # An HTTP client may dial twice, since it tries a kept connection first.
    assert all(after - before <= 2 for before, after in pairwise(attempts))
