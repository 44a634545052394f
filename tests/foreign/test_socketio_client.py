"""The official JavaScript client of Socket.IO, on each of its transports."""

from __future__ import annotations

import pytest

from tests.foreign.conftest import JS, Arrive, Lay, Run, Serve

pytestmark = pytest.mark.parametrize("transports", JS)


async def test_S10_5_a_conversation(
    serve: Serve, run: Run, arrive: Arrive, transports: str
) -> None:
    """S2, S3, S6.1, S10.5: joins with an object, talks, hears, leaves; acks all the way."""
    server = await serve()
    bob = await arrive(server, "bob")
    alice = await run("rich.mjs", server.url, JS[transports], "앨리스")
    joined = await alice.shows("joined")
    assert joined["present"] == ["bob", "앨리스"]
    assert joined["lease_s"] == server.settings.lease_s

    first = await alice.shows("message")
    assert (first["kind"], first["name"], first["offset"]) == ("join", "앨리스", joined["head"])
    await bob.notices("join", "앨리스")

    await alice.tell("say", ["안녕하세요", "안녕하세요"])
    acks = await alice.shows("said")
    assert acks == [{"offset": joined["head"] + 1}] * 2, "one key, one message"
    await bob.hears("안녕하세요")
    offset = await bob.say("반가워요")
    heard = await alice.shows_one("message", lambda one: one["offset"] == offset)
    assert (heard["kind"], heard["name"], heard["text"]) == ("talk", "bob", "반가워요")

    if transports == "default":
        await alice.shows("upgrade", "websocket")
    await alice.tell("close")
    await bob.notices("leave", "앨리스")
    assert [one["offset"] for one in alice.all("message")] == [2, 3, 4]
    assert alice.all("error") == []


async def test_S5_resumes_after_a_cut(
    serve: Serve, run: Run, arrive: Arrive, line: Lay, transports: str
) -> None:
    """S5.1, S5.2: comes back with session and position; nobody notices, nothing is missed."""
    server = await serve()
    bob = await arrive(server, "bob")
    wire = await line(server)
    options = JS[transports] | {"reconnectionDelay": 20, "reconnectionDelayMax": 50}
    alice = await run("rich.mjs", wire.url, options, "alice")
    session = (await alice.shows("joined"))["session"]
    await alice.shows_one("message", lambda one: one["kind"] == "join")

    wire.refusing = True
    wire.cut()
    await alice.shows("disconnect")
    await bob.say("while alice was away")
    wire.refusing = False
    again = await alice.shows("joined", times=2)
    assert again["session"] == session
    await alice.shows_one("message", lambda one: one["text"] == "while alice was away")
    await alice.tell("say", ["back"])
    await bob.hears("back")
    await alice.shows_one("message", lambda one: one["text"] == "back")
    assert [one["offset"] for one in alice.all("message")] == [2, 3, 4]
    assert [(one.kind, one.name) for one in bob.seen] == [
        ("join", "bob"),
        ("join", "alice"),
        ("talk", "bob"),
        ("talk", "alice"),
    ]


async def test_S7_2_a_taken_name(serve: Serve, run: Run, arrive: Arrive, transports: str) -> None:
    """S7.2, S9.3: the ack says so, and nothing else does."""
    server = await serve()
    await arrive(server, "alice")
    other = await run("rich.mjs", server.url, JS[transports], "alice")
    answer = await other.shows("joined")
    assert answer["error"]["code"] == "name_taken"
    await other.tell("say", ["may I?"])
    assert (await other.shows("said"))[0]["error"]["code"] == "unknown_session"
    assert other.all("error") == []


async def test_S5_5_a_newer_connection(serve: Serve, run: Run, transports: str) -> None:
    """S5.5: the older one is told `replaced` by an event, and disconnected."""
    server = await serve()
    alice = await run("rich.mjs", server.url, JS[transports] | {"reconnection": False}, "alice")
    session = (await alice.shows("joined"))["session"]
    newer = await run("rich.mjs", server.url, JS[transports], "stranger")
    await newer.shows("joined")
    await newer.tell("emit", ["newUserConnect", {"name": "alice", "session": session}])
    assert (await alice.shows("error"))["code"] == "replaced"
    await alice.shows("disconnect")
    await newer.tell("emit", ["sendMessage", {"text": "it is me now"}])
    await newer.shows_one("message", lambda one: (one["name"], one["text"])[0] == "alice")


async def test_S11_3_a_stopping_server(serve: Serve, run: Run, transports: str) -> None:
    """S11.3: told `shutting_down` by an event, then disconnected."""
    server = await serve()
    alice = await run("rich.mjs", server.url, JS[transports] | {"reconnection": False}, "alice")
    await alice.shows("joined")
    await server.stop()
    assert (await alice.shows("error"))["code"] == "shutting_down"
    await alice.shows("disconnect")
