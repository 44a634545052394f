"""SPEC.md section 11: the server among its clients."""

import asyncio
from random import Random
from time import monotonic

import aiohttp
import pytest

from labs.chat.delivery import BATCH_MESSAGES
from labs.errors import ChatError
from labs.variants import VARIANTS
from tests.contract.town import Person, Town, everywhere
from tests.contract.waiting import patience, until

LONG_CHARS = 1_990
LONG_BYTES = 3 * LONG_CHARS + 200  # as one of a batch, with all that is around it
HIGH_WATER_BYTES = 65_536  # what asyncio buffers before it asks a writer to pause
PUSHED = ("streaming", "websocket_chat", "socketio_chat")


async def test_S11_1_a_page_of_another_origin_is_refused(town: Town) -> None:
    await town.open()
    async with aiohttp.ClientSession(headers={"Origin": "http://evil.example"}) as http:
        for method, path in (("GET", "/"), ("POST", "/newUserConnect"), ("GET", "/socket.io/")):
            async with http.request(method, town.server.url + path) as response:
                assert response.status == 403
                assert (await response.json())["code"] == "forbidden_origin"
        for path in ("/", "/socket.io/?EIO=4&transport=websocket"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await http.ws_connect(town.server.url + path)
            assert refusal.value.status == 403


async def test_S11_1_the_servers_own_and_an_allowed_one_are_not(town: Town) -> None:
    await town.open(allow_origins=("https://friend.example",))
    for origin in (town.server.url, "https://friend.example"):
        async with (
            aiohttp.ClientSession(headers={"Origin": origin}) as http,
            http.get(town.server.url + "/") as response,
        ):
            assert response.status == 200


def noise(random: Random) -> str:
    """A long text that can hardly be compressed."""
    return "".join(map(chr, random.choices(range(0xAC00, 0xD7A4), k=LONG_CHARS)))


async def burst(alice: Person, bob: Person, town: Town, messages: int) -> int:
    """Say much, while somebody reads along; answers the most bytes the server ever held."""
    peak_bytes, random = 0, Random(1)
    for start in range(0, messages, 50):
        sent = [alice.say(f"{number} {noise(random)}") for number in range(start, start + 50)]
        last = max(await asyncio.gather(*sent))
        await bob.at(last)
        peak_bytes = max(peak_bytes, town.server.buffered_bytes())
    return peak_bytes


async def test_S11_2_a_client_that_does_not_read_disturbs_nobody(town: Town) -> None:
    """The others get everything at once, the server's memory is bounded, nothing is lost."""
    await town.open(timeout_s=30.0, stall_s=30.0)
    line = await town.line(narrow=True)
    alice, bob = await town.person("alice"), await town.person("bob")
    slow = await town.person("slow", line)
    session = town.server.session(slow.joined)
    await slow.notices("join", "slow")
    line.hold()
    town.server.narrow(line)
    peak_bytes = await burst(alice, bob, town, 250)
    assert len(bob.texts) == 250
    assert len(slow.texts) == 0
    assert session.cursor is None or session.cursor.offset < bob.seen[-1].offset
    assert peak_bytes <= HIGH_WATER_BYTES + BATCH_MESSAGES * LONG_BYTES < 250 * LONG_BYTES
    line.release()
    await slow.at(bob.seen[-1].offset)
    assert slow.texts == bob.texts
    assert slow.count("join", "slow") == 1


async def test_S11_2_it_gets_a_gap_if_the_log_has_moved_on(town: Town) -> None:
    await town.open(timeout_s=30.0, stall_s=30.0, retention=80)
    line = await town.line(narrow=True)
    alice, bob = await town.person("alice"), await town.person("bob")
    slow = await town.person("slow", line)
    await slow.notices("join", "slow")
    line.hold()
    town.server.narrow(line)
    await burst(alice, bob, town, 250)
    line.release()
    await slow.at(bob.seen[-1].offset)
    assert "gap" in [one.kind for one in slow.seen]
    assert slow.texts[-80:] == bob.texts[-80:]
    assert "gap" not in [one.kind for one in bob.seen]


async def test_S11_2_it_is_told_after_a_while(town: Town) -> None:
    """Once it reads again it learns why, comes back, and has missed nothing."""
    await town.open(timeout_s=30.0, stall_s=0.2, drain_s=20.0)
    line = await town.line(narrow=True)
    alice, bob = await town.person("alice"), await town.person("bob")
    slow = await town.person("slow", line)
    session = town.server.session(slow.joined)
    await slow.notices("join", "slow")
    line.hold()
    town.server.narrow(line)
    await burst(alice, bob, town, 150)
    # The server has given up waiting once nobody waits for the connection to drain.
    await until(lambda: not session.cursor or session.cursor.draining is None)
    line.release()
    await slow.at(bob.seen[-1].offset)
    assert slow.texts == bob.texts
    # Whoever does not poll takes up nothing, and has no connection to be told on.
    assert (b"slow_consumer" in line.down) == (town.variant.package in PUSHED)


async def test_S11_3_whoever_asks_a_closing_server_is_told(town: Town) -> None:
    await town.open(drain_s=5.0)
    raws = [await town.raw() for _ in range(3)]
    await raws[0].join("first")
    await raws[1].ask("newUserConnect", {"name": "second"})
    town.server.chat.close()
    assert await raws[0].told() == "shutting_down"
    with pytest.raises(ChatError) as refusal:
        await raws[2].ask("newUserConnect", {"name": "third"})
    assert refusal.value.code == "shutting_down"


async def test_S11_3_what_there_is_is_handed_out_before_the_end(town: Town) -> None:
    await town.open(drain_s=5.0)
    alice = await town.person("alice")
    listener = await town.raw()
    joined = await listener.join("listener")
    session = town.server.chat.session(joined["session"])
    await until(lambda: session.cursor is not None or town.variant.name == "polling")
    await alice.say("last words")
    await town.server.stop()
    code = await listener.told()
    assert listener.seen[-1]["text"] == "last words"
    # A poll that is answered has no connection left to be told on: the next one finds nobody.
    assert code == "shutting_down" or town.variant.name in ("polling", "longpolling")


@pytest.mark.usefixtures("quiet")
async def test_S11_3_it_is_gone_within_drain_s_though_someone_does_not_read() -> None:
    """All of them are made ready first, so that only the stopping is timed."""
    drain_s, ready = 2.0, asyncio.Barrier(len(VARIANTS))

    async def scenario(town: Town) -> None:
        await town.open(timeout_s=30.0, stall_s=30.0, drain_s=drain_s)
        line = await town.line(narrow=True)
        alice, bob = await town.person("alice"), await town.person("bob")
        slow = await town.person("slow", line)
        await slow.notices("join", "slow")
        line.hold()
        town.server.narrow(line)
        await burst(alice, bob, town, 150)
        await asyncio.sleep(town.settings.heartbeat_s)  # a ping must be stuck behind the rest
        await ready.wait()
        began_s = monotonic()
        async with patience():
            await town.server.stop()
        assert monotonic() - began_s < 1.5 * drain_s
        assert town.server.connections() == []
        line.release()

    await everywhere(scenario)


async def test_S11_3_clients_come_back_to_the_next_server(town: Town) -> None:
    """They resume by themselves, those that talk while it is away too."""
    await town.open()
    line = await town.line()
    people = [await town.person(f"p{number}", line) for number in range(4)]
    await people[0].say("before")
    for person in people:
        await person.hears("before")
    await town.server.stop()
    saying = asyncio.create_task(people[1].say("while it is away"))
    await town.server.start()
    line.target = town.server.url
    await saying
    await people[0].say("after")
    for person in people:
        await person.hears("while it is away", "after")
        assert person.error is None
        assert person.texts == ["before", "while it is away", "after"]
