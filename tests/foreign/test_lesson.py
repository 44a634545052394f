"""S10.6: a page of the original lesson, unchanged, at our server."""

from __future__ import annotations

import signal

import pytest

from tests.foreign.conftest import JS, Arrive, Lay, Run, Serve
from tests.foreign.script import Script

pytestmark = pytest.mark.parametrize("transports", JS)

NEVER = ("undefined", "null", "None", "[object Object]", "whoever")
"""What a careless server would let a page show."""


def came(name: str) -> str:
    return f"{name}님이 접속했습니다."


def went(name: str) -> str:
    return f"{name}님이 퇴장했습니다."


def window(page: Script) -> list[str]:
    """What the page has shown its reader."""
    return [one.shown for one in page.seen if one.what in ("info", "chat")]


async def test_S10_6_the_flow(serve: Serve, run: Run, arrive: Arrive, transports: str) -> None:
    """S10.6: connect, newUserConnect, sendMessage, disconnect, each to an updateMessage."""
    server = await serve()
    alice = await run("lesson.mjs", server.url, JS[transports], "alice")
    await alice.shows("info", came("alice"))
    bob = await run("lesson.mjs", server.url, JS[transports], "밥")
    await bob.shows("info", came("밥"))
    await alice.shows("info", came("밥"))
    await alice.tell("click", "안녕 <b>여러분</b>")
    await alice.shows("chat", "alice: 안녕 <b>여러분</b>")
    await bob.tell("click", "응")
    for page in (alice, bob):
        await page.shows("chat", "밥: 응")
    await bob.tell("close")
    await alice.shows("info", went("밥"))
    assert window(alice) == [
        came("alice"),
        came("밥"),
        "alice: 안녕 <b>여러분</b>",
        "밥: 응",
        went("밥"),
    ]
    assert window(bob) == window(alice)[1:-1]
    assert alice.all("error") == bob.all("error") == []


async def test_S10_6_beside_rich_clients(
    serve: Serve, run: Run, arrive: Arrive, transports: str
) -> None:
    """S10.6, S10.5: pages of the lesson, our Python client and a page that resumes, in one room."""
    server = await serve()
    carol = await arrive(server, "carol")
    alice = await run("lesson.mjs", server.url, JS[transports], "alice")
    await carol.notices("join", "alice")
    dave = await run("rich.mjs", server.url, JS[transports], "dave")
    await alice.shows("info", came("dave"))
    await alice.tell("click", "from the lesson")
    await carol.hears("from the lesson")
    await dave.shows_one("message", lambda one: one["text"] == "from the lesson")
    await carol.say("from Python")
    await alice.shows("chat", "carol: from Python")
    await dave.tell("say", ["from the page"])
    await alice.shows("chat", "dave: from the page")
    await dave.shows_one("message", lambda one: one["text"] == "from the page")
    assert [(one["kind"], one["name"], one["text"]) for one in dave.all("message")] == [
        ("join", "dave", ""),
        ("talk", "alice", "from the lesson"),
        ("talk", "carol", "from Python"),
        ("talk", "dave", "from the page"),
    ]


async def test_S10_6_renaming(serve: Serve, run: Run, arrive: Arrive, transports: str) -> None:
    """S10.6, S2.5: emitting newUserConnect again renames, and announces the new name."""
    server = await serve()
    carol = await arrive(server, "carol")
    alice = await run("lesson.mjs", server.url, JS[transports], "alice")
    await alice.shows("info", came("alice"))
    await alice.tell("rename", "앨리스")
    await alice.shows("info", came("앨리스"))
    await alice.tell("rename", "carol")
    assert (await alice.shows("error"))["code"] == "name_taken"
    await alice.tell("click", "still here")
    await alice.shows("chat", "앨리스: still here")
    await carol.hears("still here")
    assert [(one.kind, one.name, one.text) for one in carol.seen[1:]] == [
        ("join", "alice", ""),
        ("join", "앨리스", "alice"),
        ("talk", "앨리스", "still here"),
    ]


@pytest.mark.parametrize("end", ["closing", "being killed"])
async def test_S10_6_going(
    serve: Serve, run: Run, arrive: Arrive, transports: str, end: str
) -> None:
    """S10.6: it has no place to resume from, so it has left as soon as its connection is lost."""
    server = await serve(lease_s=600, timeout_s=4.0)
    carol = await arrive(server, "carol")
    bob = await run("lesson.mjs", server.url, JS[transports], "bob")
    await bob.shows("info", came("bob"))
    alice = await run("lesson.mjs", server.url, JS[transports], "alice")
    await alice.shows("info", came("alice"))
    if transports == "default":
        await alice.shows("upgrade", "websocket")
    if end == "closing":
        await alice.tell("close")
    else:
        alice.send_signal(signal.SIGKILL)
    await bob.shows("info", went("alice"))
    await carol.notices("leave", "alice")
    assert window(bob) == [came("bob"), came("alice"), went("alice")]


async def test_S10_6_coming_back(
    serve: Serve, line: Lay, run: Run, arrive: Arrive, transports: str
) -> None:
    """S10.6: after a cut it has left, and joins anew when the library has reconnected."""
    server = await serve(lease_s=600)
    carol = await arrive(server, "carol")
    wire = await line(server)
    options = JS[transports] | {"reconnectionDelay": 20, "reconnectionDelayMax": 50}
    alice = await run("lesson.mjs", wire.url, options, "alice")
    await alice.shows("info", came("alice"))
    wire.refusing = True
    wire.cut()
    await alice.shows("disconnect")
    wire.refusing = False
    await alice.shows("info", came("alice"), times=2)
    await carol.notices("join", "alice", times=2)
    assert [(one.kind, one.name) for one in carol.seen[1:]] == [
        ("join", "alice"),
        ("leave", "alice"),
        ("join", "alice"),
    ]


BAD_NAMES: dict[str, list[object]] = {
    "bad_request": [None, 5, True, [], ["bob"], {}, {"nickname": "bob"}, {"name": None}],
    "bad_name": ["", "   ", "SERVER", "server", "n" * 33, "a\u0000b", "a\u202eb"],
    "name_taken": ["carol", " carol "],
}
BAD_TALK: dict[str, list[object]] = {
    "bad_request": [None, 5, "hi", [], {}, {"name": "carol"}, {"message": None}, {"message": 5}],
    "bad_text": [{"message": ""}, {"message": "x" * 2_001}, {"message": "\u001b[2J"}],
    "too_large": [{"message": "x" * 40_000}],
}


async def test_S10_6_S9_3_careless_pages(
    serve: Serve, run: Run, arrive: Arrive, transports: str
) -> None:
    """S9.3, S10.6: each mistake is an `error` event for the one who made it, and nobody's else."""
    server = await serve()
    carol = await arrive(server, "carol")
    page = await run("lesson.mjs", server.url, JS[transports], None)
    assert (await page.shows("error"))["code"] == "bad_request"
    expected = ["bad_request", "unknown_session"]
    await page.tell("click", "may I?")
    for code, names in BAD_NAMES.items():
        for name in names:
            await page.tell("rename", name)
            expected.append(code)
    await page.tell("rename", "alice")
    await page.shows("info", came("alice"))
    for code, talks in BAD_TALK.items():
        for talk in talks:
            await page.tell("talk", talk)
            expected.append(code)
    await page.tell("click", "at last")
    await page.shows("chat", "alice: at last")
    await page.shows("error", times=len(expected))
    assert [error["code"] for error in page.all("error")] == expected
    await carol.hears("at last")
    assert [(one.kind, one.name, one.text) for one in carol.seen[1:]] == [
        ("join", "alice", ""),
        ("talk", "alice", "at last"),
    ]
    assert not [line for line in window(page) if any(word in line for word in NEVER)]


async def test_S10_6_html_in_a_name(
    serve: Serve, run: Run, arrive: Arrive, transports: str
) -> None:
    """S10.6: the lesson's page may put a name into its HTML; none that it gets can open a tag."""
    server = await serve()
    carol = await arrive(server, "carol")
    page = await run("lesson.mjs", server.url, JS[transports], "<b onclick=x>밥</b>")
    await page.shows("info", came("＜b onclick=x＞밥＜/b＞"))
    await page.tell("click", "hi")
    await page.shows("chat", "＜b onclick=x＞밥＜/b＞: hi")
    await carol.notices("join", "<b onclick=x>밥</b>")
    await page.tell("close")
    await carol.notices("leave", "<b onclick=x>밥</b>")
