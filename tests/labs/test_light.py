"""The light clients on real servers: they hear everything, come back, and say what went wrong."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from labs.bench import heads
from labs.bench.light import light
from labs.bench.light.client import Base
from labs.bench.light.commands import Commands
from labs.bench.light.polling import Polling
from labs.errors import ChatError
from labs.loops import runner
from labs.variants import Variant, load
from labs.wire.control import Child
from labs.wire.relay import relaying
from labs.wire.tap import Tap
from tests.contract.waiting import patience, until
from tests.labs.lights import EVERY, QUICK, Notes, made, serving

HTTP = ("polling", "longpolling", "streaming")
PINGED = ("websocket", "socketio", "socketio-websocket", "socketio-polling")


@pytest.fixture(params=EVERY)
def variant(request: pytest.FixtureRequest) -> Variant:
    return load(request.param)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that happens to a light client is an error of its event loop."""
    yield
    for record in caplog.get_records("call"):
        assert record.levelno < logging.ERROR or record.name != "asyncio", record.getMessage()


def test_each_of_the_five_has_one() -> None:
    assert {load(name).package for name in EVERY} == {
        "polling",
        "longpolling",
        "streaming",
        "websocket_chat",
        "socketio_chat",
    }


async def test_two_light_clients_and_a_readable_one_hear_the_same(variant: Variant) -> None:
    notes = Notes()
    async with serving(variant) as (url, settings):
        ann, bob = (made(variant, url, settings, notes, number) for number in (0, 1))
        carol = variant.client(url, settings)
        joined = await ann.connect("ann")
        assert joined.name == "ann"
        await bob.connect("bob")
        await carol.connect("carol")
        assert [ann.state, bob.state] == ["open", "open"]
        offsets = [
            await ann.send("#0 안녕하세요, 여러분"),
            await bob.send('#1 {"offset":9,"kind":"talk"} "\\'),
            await carol.send("#2 " + "가나다 " * 400),
            await bob.send("no number, \\u0023 9"),
            await ann.send("#3\n#4\t#5"),
        ]
        await notes.hears(0, 0, 1, 2, 3)
        await notes.hears(1, 0, 1, 2, 3)
        heard = []
        async for message in carol.messages():
            if message.kind == "talk":
                heard.append(message.offset)
            if message.offset == offsets[-1]:
                break
        assert heard == offsets
        expected = [*enumerate(offsets[:3]), (3, offsets[4])]
        assert notes.of(0) == notes.of(1) == expected
        assert sorted(notes.foreigners) == [0, 1]
        assert ann.position_offset == bob.position_offset == offsets[-1]
        for client in (ann, bob, carol):
            await client.close()
        assert [ann.state, bob.state] == ["closed", "closed"]
        assert notes.broken == []


async def test_who_closes_has_left(variant: Variant) -> None:
    notes = Notes()
    async with serving(variant) as (url, settings):
        ann, bob = (made(variant, url, settings, notes, number) for number in (0, 1))
        await ann.connect("ann")
        await bob.connect("bob")
        await bob.close()
        # join, join, leave: the lease of thirty seconds has nothing to do with it.
        await until(lambda: ann.position_offset == 3)
        await ann.close()


async def test_dropped_and_back_it_misses_nothing_and_repeats_nothing(variant: Variant) -> None:
    notes = Notes()
    async with serving(variant) as (url, settings):
        ann, bob = (made(variant, url, settings, notes, number) for number in (0, 1))
        joined = await ann.connect("ann")
        await bob.connect("bob")
        await ann.send("#0 before")
        await notes.hears(0, 0)
        ann.drop()
        assert ann.state == "reconnecting"
        for index in (1, 2, 3):
            await bob.send(f"#{index} 그동안")
        again = await ann.resume()
        assert (again.session, again.name) == (joined.session, "ann")
        assert ann.state == "open"
        await ann.send("#4 after")
        await notes.hears(0, 0, 1, 2, 3, 4)
        await notes.hears(1, 4)
        assert notes.of(0) == notes.of(1)
        assert [index for index, _ in notes.of(0)] == [0, 1, 2, 3, 4]
        offsets = [offset for _, offset in notes.of(0)]
        # The return was announced to nobody: no join stands between.
        assert offsets == list(range(offsets[0], offsets[0] + 5))
        assert notes.broken == []
        await ann.close()
        await bob.close()


async def test_a_cut_is_told_and_resume_mends_it(variant: Variant) -> None:
    notes = Notes()
    async with serving(variant, interval_s=0.001) as (url, settings):
        port = int(url.rpartition(":")[2])
        async with relaying("127.0.0.1", port, Tap()) as relay:
            ann = made(variant, f"http://127.0.0.1:{relay.port}", settings, notes)
            bob = made(variant, url, settings, notes, 1)
            await ann.connect("ann")
            await bob.connect("bob")
            while not notes.broken:  # a poller may be between two polls
                relay.cut()
                await asyncio.sleep(0)
            assert notes.broken == [0]
            assert ann.state == "reconnecting"
            assert isinstance(ann.error, OSError)
            await bob.send("#0")
            await ann.resume()
            assert ann.error is None
            await bob.send("#1")
            await notes.hears(0, 0, 1)
            assert [index for index, _ in notes.of(0)] == [0, 1]
            await ann.close()
            await bob.close()


async def test_the_same_key_again_is_the_same_message(variant: Variant) -> None:
    notes = Notes()
    async with serving(variant) as (url, settings):
        ann = made(variant, url, settings, notes)
        await ann.connect("ann")
        first = await ann.send("#0", "a key")
        assert await ann.send("#0", "a key") == first
        assert await ann.send("#1") == first + 1
        await notes.hears(0, 1)
        assert notes.of(0) == [(0, first), (1, first + 1)]
        await ann.close()


async def test_many_sends_at_once_are_all_answered(variant: Variant) -> None:
    notes = Notes()
    async with serving(variant) as (url, settings):
        ann = made(variant, url, settings, notes)
        await ann.connect("ann")
        offsets = await asyncio.gather(*(ann.send(f"#{index}") for index in range(40)))
        assert len({*offsets}) == 40
        await notes.hears(0, *range(40))
        assert sorted(notes.of(0)) == sorted(enumerate(offsets))
        await ann.close()


async def test_errors_come_to_whoever_caused_them(variant: Variant) -> None:
    notes = Notes()
    async with serving(variant) as (url, settings):
        ann = made(variant, url, settings, notes)
        await ann.connect("ann")
        for text, code in (("", "bad_text"), ("x" * 40_000, "too_large")):
            with pytest.raises(ChatError) as told:
                await ann.send(text)
            assert told.value.code == code
        other = made(variant, url, settings, notes, 1)
        with pytest.raises(ChatError) as taken:
            await other.connect("ann")
        assert taken.value.code == "name_taken"
        assert other.state == "closed"
        assert await ann.send("#0 still here") == 2
        assert ann.state == "open"
        assert notes.broken == []
        await ann.close()


@pytest.mark.parametrize("name", HTTP)
async def test_a_wrong_token_is_an_unknown_session(name: str) -> None:
    notes, variant = Notes(), load(name)
    async with serving(variant) as (url, settings):
        ann = made(variant, url, settings, notes)
        joined = await ann.connect("ann")
        joined.session = "guessed"  # the client keeps the very same object
        with pytest.raises(ChatError) as told:
            await ann.send("#0")
        assert told.value.code == "unknown_session"
        ann.drop()


@pytest.mark.parametrize("name", HTTP)
async def test_forgotten_it_joins_again_under_its_token(name: str) -> None:
    """S5.4, as the readable client does."""
    notes, variant = Notes(), load(name)
    async with serving(variant) as (url, settings):
        ann = made(variant, url, settings, notes)
        joined = await ann.connect("ann")
        ann.drop()
        leaving = made(variant, url, settings, notes, 1)
        await leaving.connect("bob")
        assert isinstance(leaving, Commands)
        assert leaving._joined
        leaving._joined.session = joined.session
        await leaving.close()
        assert (await ann.resume()).session == joined.session
        await until(lambda: ann.position_offset == 4)  # ann, bob, ann's leave, ann again
        assert ann.state == "open"
        await ann.close()


async def test_a_server_that_stops_is_noticed(variant: Variant) -> None:
    notes = Notes()
    async with serving(variant) as (url, settings):
        ann = made(variant, url, settings, notes)
        await ann.connect("ann")
        assert await ann.send("#0") == 2
    await notes.breaks(0)
    assert notes.broken == [0]
    assert ann.state == "reconnecting"
    assert ann.error is not None
    for _ in range(2):
        with pytest.raises(ConnectionError, match="no chat answers"):
            await ann.resume()
        assert ann.state == "reconnecting"
    await ann.close()
    assert ann.state == "closed"


async def test_a_server_that_no_longer_answers_is_not_back(variant: Variant) -> None:
    """That somebody takes connections proves nothing."""
    notes = Notes()
    async with serving(variant) as (url, settings):
        ann = made(variant, url, settings, notes)
        await ann.connect("ann")
        ann.drop()
    with socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))) as silent:
        assert isinstance(ann, Base)
        ann.settings = settings.but(timeout_s=0.05)
        silent.setblocking(False)
        loop = asyncio.get_running_loop()
        async with patience():
            with pytest.raises(ConnectionError, match=r"nothing came within 0\.05 s"):
                await ann.resume()
            assert ann.state == "reconnecting"
            # Nothing of it goes on: the connection ends, with all that was on its way.
            connection, _ = await loop.sock_accept(silent)
            with connection, suppress(ConnectionResetError):
                while await loop.sock_recv(connection, 65_536):
                    pass
    assert notes.broken == []


async def test_who_is_back_has_had_an_answer(variant: Variant) -> None:
    """One exchange at least, whatever the transport: not a connection, nor a request."""
    async with serving(variant, interval_s=30.0, lease_s=90.0) as (url, settings):
        tap = Tap()
        async with relaying("127.0.0.1", int(url.rpartition(":")[2]), tap) as relay:
            ann = made(variant, f"http://127.0.0.1:{relay.port}", settings, Notes())
            await ann.connect("ann")
            ann.drop()
            await until(lambda: not relay.open)
            before = len(tap.events)
            await ann.resume()
            kinds = [one.kind for one in tap.events[before:] if one.kind in ("up", "down")]
            assert kinds[:2] == ["up", "down"]
            await ann.close()


async def test_who_comes_back_to_polling_asks_at_once() -> None:
    """Afterwards at its phases again, which here are half a minute apart."""
    notes, variant = Notes(), load("polling")
    async with serving(variant, interval_s=30.0, lease_s=90.0) as (url, settings):
        ann, bob = (made(variant, url, settings, notes, number) for number in (0, 1))
        await bob.connect("bob")
        await ann.connect("ann")
        ann.drop()
        await bob.send("#0 그동안")
        await ann.resume()
        assert isinstance(ann, Polling)
        assert (ann.polls, ann.missed) == (1, 0)
        assert [index for index, _ in notes.of(0)] == [0]
        assert ann._next_s is not None
        assert (ann._next_s / 30.0) % 1 == pytest.approx(ann._phase)
        await ann.close()
        await bob.close()


async def test_who_comes_back_to_long_polling_waits_for_no_message() -> None:
    """It joins again, which is answered at once; and asks, before anybody says anything."""
    notes, variant = Notes(), load("longpolling")
    async with serving(variant, hold_s=60.0) as (url, settings):
        tap = Tap()
        async with relaying("127.0.0.1", int(url.rpartition(":")[2]), tap) as relay:
            ann = made(variant, f"http://127.0.0.1:{relay.port}", settings, notes)
            await ann.connect("ann")
            await until(lambda: ann.position_offset == 1)
            ann.drop()
            await until(lambda: not relay.open)
            before = len(tap.events)
            await ann.resume()
            await until(lambda: sum(one.kind == "up" for one in tap.events[before:]) == 2)
            since = [one for one in tap.events[before:] if one.kind in ("up", "down")]
            assert [one.kind for one in since] == ["up", "down", "up"]
            assert since[0].data.startswith(b"POST /newUserConnect ")
            assert b'"since":"' in since[0].data
            assert since[2].data.startswith(b"GET /updateMessage?")
            assert await ann.send("#0") == 2  # the return was announced to nobody
            await notes.hears(0, 0)
            await ann.close()


async def test_a_poller_tells_what_moments_it_missed(variant: Variant) -> None:
    notes = Notes()
    async with serving(variant) as (url, settings):
        tap = Tap()
        async with relaying("127.0.0.1", int(url.rpartition(":")[2]), tap) as relay:
            ann = made(variant, f"http://127.0.0.1:{relay.port}", settings, notes)
            assert ann.missed == 0
            await ann.connect("ann")
            await ann.send("#0")
            await notes.hears(0, 0)
            if isinstance(ann, Polling):
                await until(lambda: len(relay.open) > 0)
                for connection in relay.open:
                    connection.server.hold()  # a poll is answered no more
                await until(lambda: ann.missed >= 3)
                ann.drop()
            else:
                assert ann.missed == 0
                await ann.close()


async def test_what_a_browser_offers_to_compress_may_be_taken_up() -> None:
    """Our crowds are never compressed; a foreign server may accept what Chromium offers."""
    notes, variant = Notes(), load("websocket-deflate")
    async with serving(variant) as (url, settings):
        tap = Tap()
        async with relaying("127.0.0.1", int(url.rpartition(":")[2]), tap) as relay:
            kind = light(variant)
            assert kind
            there = f"http://127.0.0.1:{relay.port}"
            ann = kind(0, there, settings, heads.find("chromium"), notes, phase=0.0)
            await ann.connect("ann")
            for index in range(3):
                await ann.send(f"#{index} " + "가나다 " * 100)
            await notes.hears(0, 0, 1, 2)
            for way in ("up", "down"):
                assert any(one.data[0] == 0xC1 for one in tap.events if one.kind == way)
            await ann.close()


async def test_nobody_there(variant: Variant) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings = variant.settings()
    ann = made(variant, f"http://127.0.0.1:{port}", settings, Notes())
    async with patience():
        with pytest.raises(ConnectionError, match=f"no chat answers at http://127.0.0.1:{port}"):
            await ann.connect("ann")
    assert ann.state == "closed"


async def test_somebody_there_who_says_nothing(variant: Variant) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = variant.settings().but(timeout_s=0.05)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with patience():
            with pytest.raises(ConnectionError, match=r"nothing came within 0\.05 s"):
                await made(variant, url, settings, Notes()).connect("ann")


async def test_not_a_chat(variant: Variant) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server, patience():
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(ConnectionError, match="no chat answers"):
            await made(variant, url, variant.settings(), Notes()).connect("ann")


@pytest.mark.parametrize("name", PINGED)
async def test_pings_are_answered(name: str) -> None:
    """A server that hears no pong in time would have ended it: five times, and more."""
    notes, variant = Notes(), load(name)
    beat_s = 0.2 if name.startswith("websocket") else 1.0  # Engine.IO's are whole seconds
    beats = 5 if name.startswith("websocket") else 2
    settings = variant.settings().but(heartbeat_s=beat_s, timeout_s=0.6)
    async with variant.serve(variant.chat(settings), "127.0.0.1", 0) as url, patience():
        port = int(url.rpartition(":")[2])
        tap = Tap()
        async with relaying("127.0.0.1", port, tap) as relay:
            ann = made(variant, f"http://127.0.0.1:{relay.port}", settings, notes)
            await ann.connect("ann")
            ping, pong = (2, 3) if name.startswith("socketio") else (9, 10)

            def passed(direction: str, what: int) -> int:
                return sum(e.kind == direction and _kind(e.data) == what for e in tap.events)

            await until(lambda: passed("up", pong) >= beats)
            assert passed("down", ping) >= beats
            assert ann.state == "open"
            assert await ann.send("#0 still here") == 2
            await ann.close()
    assert notes.broken == []


def _kind(data: bytes) -> int | None:
    """The opcode of a control frame, or the type of an Engine.IO packet of one character."""
    if data and data[0] & 0x8F in (0x89, 0x8A):
        return data[0] & 0x0F
    if data[:2] == b"\x81\x01":
        return int(data[2:3])
    if data[:2] == b"\x81\x81":
        return (data[2] ^ data[6]) - ord("0")
    return int(data[-1:]) if data.endswith((b"\r\n\r\n2", b"\r\n\r\n3")) else None


async def test_the_websocket_pings_by_itself_and_notices_silence() -> None:
    notes, variant = Notes(), load("websocket")
    quick = variant.settings().but(heartbeat_s=0.05, timeout_s=0.3)
    # The server's own pings are far apart, so that only ours are there.
    settings = variant.settings()
    async with variant.serve(variant.chat(settings), "127.0.0.1", 0) as url, patience():
        tap = Tap()
        async with relaying("127.0.0.1", int(url.rpartition(":")[2]), tap) as relay:
            ann = made(variant, f"http://127.0.0.1:{relay.port}", quick, notes)
            await ann.connect("ann")
            await until(lambda: sum(_kind(one.data) == 10 for one in tap.events) >= 5)
            for connection in relay.open:
                connection.server.hold()  # the server's answers come no further
            await notes.breaks(0)
            assert "ping" in str(ann.error)


async def test_a_stream_that_is_recycled_is_asked_for_again() -> None:
    notes, variant = Notes(), load("streaming")
    async with serving(variant, recycle_bytes=300) as (url, settings):
        tap = Tap()
        async with relaying("127.0.0.1", int(url.rpartition(":")[2]), tap) as relay:
            ann = made(variant, f"http://127.0.0.1:{relay.port}", settings, notes)
            ann.retry_s = 0.02  # type: ignore[attr-defined]
            await ann.connect("ann")
            for index in range(12):
                await ann.send(f"#{index}")
                ann.retry_s = 0.02  # type: ignore[attr-defined]
            await notes.hears(0, *range(12))
            asked = sum(b"GET /updateMessage" in event.data for event in tap.events)
            assert asked >= 2
            assert [index for index, _ in notes.of(0)] == list(range(12))
            assert notes.broken == []
            await ann.close()


async def test_a_gap_moves_the_position() -> None:
    for name in EVERY:
        notes, variant = Notes(), load(name)
        async with serving(variant, retention=4) as (url, settings):
            ann, bob = (made(variant, url, settings, notes, number) for number in (0, 1))
            await ann.connect("ann")
            await bob.connect("bob")
            await until(lambda ann=ann: ann.position_offset == 2)  # type: ignore[misc]
            ann.drop()
            for index in range(10):
                await bob.send(f"#{index}")
            await ann.resume()
            await bob.send("#10")
            await notes.hears(0, 10)
            assert notes.of(0)[-1] == (10, 13)
            assert [index for index, _ in notes.of(0)][-4:] == [7, 8, 9, 10]
            assert ann.position_offset == 13
            await ann.close()
            await bob.close()


async def test_pollers_keep_to_their_phase() -> None:
    """Each poll is at phase of an interval of the monotonic clock, and never before it."""
    notes, variant = Notes(), load("polling")
    async with serving(variant, interval_s=0.2) as (url, settings):
        tap = Tap()
        async with relaying("127.0.0.1", int(url.rpartition(":")[2]), tap) as relay:
            kind = light(variant)
            assert kind
            ann = kind(
                0,
                f"http://127.0.0.1:{relay.port}",
                settings,
                heads.find("python"),
                notes,
                phase=0.25,
            )
            await ann.connect("ann")

            def polls() -> list[int]:
                return [one.at_ns for one in tap.events if b"GET /update" in one.data]

            await until(lambda: len(polls()) >= 4)
            intervals = [at_ns / 0.2e9 - 0.25 for at_ns in polls()]
            rounds = [int(passed) for passed in intervals]
            assert len({*rounds}) == len(rounds)  # one poll an interval, however late
            assert isinstance(ann, Polling)
            assert len(rounds) + ann.missed >= rounds[-1] - rounds[0]
            await ann.close()


@pytest.mark.parametrize("name", [*HTTP, "socketio-polling"])
async def test_without_keep_alive_each_request_has_its_connection(name: str) -> None:
    notes, variant = Notes(), load(name)
    async with serving(variant, hold_s=0.05) as (url, settings):
        tap = Tap()
        async with relaying("127.0.0.1", int(url.rpartition(":")[2]), tap) as relay:
            kind = light(variant)
            assert kind
            python = heads.find("python")
            there = f"http://127.0.0.1:{relay.port}"
            ann = kind(0, there, settings, python, notes, phase=0.0, keep_alive=False)
            await ann.connect("ann")
            await ann.send("#0")
            await ann.send("#1")
            await notes.hears(0, 0, 1)
            await ann.close()
            requests = [one for one in tap.events if one.kind == "up" and b" HTTP/1.1" in one.data]
            assert len({one.connection for one in requests}) == len(requests) >= 5
            assert all(b"\r\nConnection: close\r\n" in one.data for one in requests)


@pytest.mark.parametrize("name", EVERY)
def test_on_the_loop_of_the_generator(name: str) -> None:
    """uvloop's, where it is installed: its transports are not in all things like asyncio's."""

    async def conversation() -> None:
        variant, notes = load(name), Notes()
        server = await Child.start("server", "labs.bench.host", name)
        told = await server.ask({"interval_s": 0.05, "drain_s": 0.3}, 30)
        settings = variant.settings(QUICK)
        ann = made(variant, told["url"], settings, notes)
        async with patience():
            await ann.connect("ann")
            assert await ann.send("#0 안녕") == 2
            ann.drop()
            await ann.resume()
            assert {*await asyncio.gather(ann.send("#1"), ann.send("#2"))} == {3, 4}
            await notes.hears(0, 0, 1, 2)
            await server.stop()
            await notes.breaks(0)
            assert sorted(index for index, _ in notes.of(0)) == [0, 1, 2]
            await ann.close()

    with runner() as loop:
        loop.run(conversation())


async def test_with_keep_alive_idle_connections_are_used_again() -> None:
    notes, variant = Notes(), load("polling")
    async with serving(variant) as (url, settings):
        tap = Tap()
        async with relaying("127.0.0.1", int(url.rpartition(":")[2]), tap) as relay:
            ann = made(variant, f"http://127.0.0.1:{relay.port}", settings, notes)
            await ann.connect("ann")
            for index in range(10):
                await ann.send(f"#{index}")
            await notes.hears(0, *range(10))
            await ann.close()
            # A poll and a send may be open at the same time, and no more than these two.
            assert len({one.connection for one in tap.events}) <= 2
