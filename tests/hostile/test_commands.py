"""S9: the same mistake has the same code on all variants, and disturbs nobody else."""

from __future__ import annotations

import json

import pytest

from tests.hostile.attacker import OK, Attacker
from tests.hostile.conftest import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEEP = b"[" * 10_000 + b"]" * 10_000

BROKEN = {
    "empty": b"",
    "cut short": b'{"name": "bob", "text": "hi"',
    "a bracket too many": b'{"name": "bob", "text": "hi"}}',
    "not JSON": b"name=bob&text=hi",
    "an array": b"[]",
    "a number": b"5",
    "null": b"null",
    "half a pair of surrogates": rb'{"name": "\ud800", "text": "\ud800"}',
    "the other half": rb'{"name": "a\udc00b", "text": "a\udc00b"}',
    "not UTF-8": b'{"name": "\xff\xfe", "text": "\xff\xfe"}',
    "UTF-8 of a surrogate": b'{"name": "\xed\xa0\x80", "text": "\xed\xa0\x80"}',
    "deep": DEEP,
    "deep inside": b'{"name": "bob", "text": "hi", "since": ' + DEEP + b"}",
    "deep where nobody looks": b'{"name": "bob", "text": "hi", "extra": ' + DEEP + b"}",
    "100,000 brackets": b"[" * 100_000,
}
"""What is no command at all; 100,000 brackets are too many bytes before they are anything else."""

JOINS = {
    "bad_request": {
        "no name": b"{}",
        "a number for a name": b'{"name": 5}',
        "null for a name": b'{"name": null}',
        "an array for a name": b'{"name": ["bob"]}',
        "an array for a session": b'{"name": "bob", "session": []}',
        "a number for a session": b'{"name": "bob", "session": 5}',
        "an object for a room": b'{"name": "bob", "room": {}}',
        "since -1": b'{"name": "bob", "since": -1}',
        "since x": b'{"name": "bob", "since": "x"}',
        "since 1.5": b'{"name": "bob", "since": 1.5}',
        "since true": b'{"name": "bob", "since": true}',
        "since nothing": b'{"name": "bob", "since": ""}',
        "since an epoch": b'{"name": "bob", "since": "1234abcd:"}',
        "since an array": b'{"name": "bob", "since": [1]}',
        "since 10^30": b'{"name": "bob", "since": 1' + b"0" * 30 + b"}",
        "since of 5,000 digits": b'{"name": "bob", "since": ' + b"1" * 5_000 + b"}",
        "since 1e999": b'{"name": "bob", "since": 1e999}',
        "since superscript two": '{"name": "bob", "since": "²"}'.encode(),
    },
    "bad_name": {
        "an empty name": b'{"name": ""}',
        "a name of blanks": b'{"name": "  \\t\\n "}',
        "33 characters": json.dumps({"name": "n" * 33}).encode(),
        "33 characters in Korean": json.dumps({"name": "가" * 33}).encode(),
        "a bell": rb'{"name": "a\u0007b"}',
        "a NUL": rb'{"name": "a\u0000b"}',
        "a newline inside": rb'{"name": "a\nb"}',
        "a line separator": rb'{"name": "a\u2028b"}',
        "a bidi override": rb'{"name": "a\u202eb"}',
        "SERVER": b'{"name": "SERVER"}',
        "server": b'{"name": " Server "}',
        "a room of 33 characters": json.dumps({"name": "bob", "room": "r" * 33}).encode(),
    },
    "name_taken": {"the witness": b'{"name": "witness"}', "with blanks": b'{"name": " witness "}'},
}

TALKS = {
    "bad_request": {
        "no text": b'{"session": "$SESSION"}',
        "an array for a session": b'{"session": [], "text": "hi"}',
        "a number for a session": b'{"session": 5, "text": "hi"}',
        "null for a text": b'{"session": "$SESSION", "text": null}',
        "a number for a text": b'{"session": "$SESSION", "text": 5}',
        "an array for a text": b'{"session": "$SESSION", "text": ["hi"]}',
        "a number for a key": b'{"session": "$SESSION", "text": "hi", "key": 5}',
        "an empty key": b'{"session": "$SESSION", "text": "hi", "key": ""}',
        "a key of 65 characters": b'{"session": "$SESSION", "text": "hi", "key": "%b"}'
        % (b"k" * 65),
        "half a pair of surrogates": rb'{"session": "$SESSION", "text": "\ud800"}',
        "a surrogate in a key": rb'{"session": "$SESSION", "text": "hi", "key": "\ud800"}',
    },
    "bad_text": {
        "no characters": b'{"session": "$SESSION", "text": ""}',
        "2,001 characters": b'{"session": "$SESSION", "text": "%b"}' % (b"x" * 2_001),
        "2,001 in Korean": b'{"session": "$SESSION", "text": "%b"}' % ("가" * 2_001).encode(),
        "a NUL": rb'{"session": "$SESSION", "text": "a\u0000b"}',
        "an escape sequence": rb'{"session": "$SESSION", "text": "\u001b[2J"}',
        "a carriage return": rb'{"session": "$SESSION", "text": "a\rb"}',
        "a C1 control": rb'{"session": "$SESSION", "text": "a\u0085b"}',
    },
}


def table(cases: dict[str, dict[str, bytes]]) -> list[object]:
    return [
        pytest.param(data, code, id=f"{code}-{what}")
        for code, inputs in cases.items()
        for what, data in inputs.items()
    ]


@pytest.mark.parametrize("event", ["newUserConnect", "sendMessage"])
@pytest.mark.parametrize("what", BROKEN)
async def test_S9_what_is_no_command(site: Site, attacker: Attacker, event: str, what: str) -> None:
    """S9, S8.3. Where a WebSocket cannot even hold the bytes, it ends for the one who sent them."""
    expected = "too_large" if what == "100,000 brackets" else "bad_request"
    assert await attacker.say(event, BROKEN[what]) == expected


@pytest.mark.parametrize(("data", "code"), table(JOINS))
async def test_S2_S8_1_bad_joins(site: Site, attacker: Attacker, data: bytes, code: str) -> None:
    """S2, S7.2, S8.1. A refused join leaves the way open for a proper one."""
    assert await attacker.say("newUserConnect", data) == code
    assert await attacker.join(site.name())


@pytest.mark.parametrize(("data", "code"), table(TALKS))
async def test_S3_S8_2_bad_talk(site: Site, attacker: Attacker, data: bytes, code: str) -> None:
    """S3, S4.1, S8.2. A refused text leaves the session what it was."""
    session = (await attacker.join(site.name())).encode()
    head = site.head
    assert await attacker.say("sendMessage", data.replace(b"$SESSION", session)) == code
    assert site.head == head
    assert await attacker.say("sendMessage", b'{"session":"%b","text":"hi"}' % session) == OK


@pytest.mark.parametrize("session", [b"null", b'""', b'"nobody"', b'"' + b"x" * 10_000 + b'"'])
async def test_S9_unknown_session(site: Site, attacker: Attacker, session: bytes) -> None:
    """S9: no such session, or none has joined yet."""
    data = b'{"session":%b,"text":"hi"}' % session
    assert await attacker.say("sendMessage", data) == "unknown_session"
    assert await attacker.join(site.name())


@pytest.mark.parametrize(
    "site", ["polling", "longpolling", "streaming", "websocket"], indirect=True, scope="module"
)
@pytest.mark.parametrize("what", [what for what in BROKEN if "UTF-8" not in what])
async def test_S6_S9_bad_goodbyes(site: Site, attacker: Attacker, what: str) -> None:
    """S6, S9: a goodbye that is none ends no session; Socket.IO has a packet for it instead."""
    session = (await attacker.join(site.name())).encode()
    expected = "too_large" if what == "100,000 brackets" else "bad_request"
    assert await attacker.say("disconnect", BROKEN[what]) == expected
    talk = b'{"session":"%b","text":"hi"}' % session
    assert await attacker.say("sendMessage", talk) == OK
    assert await attacker.say("disconnect", b'{"session":"%b"}' % session) == OK
    for event in ("disconnect", "sendMessage"):
        assert await attacker.say(event, talk) == "unknown_session"


@pytest.mark.parametrize("event", ["newUserConnect", "sendMessage"])
async def test_S8_3_body_bytes(site: Site, attacker: Attacker, event: str) -> None:
    """S8.3: 32,768 bytes in one body, frame or packet are taken, one more is too large."""
    session, limit_bytes = await attacker.join(site.name()), site.chat.settings.body_bytes

    def padded(total: int) -> bytes:
        command = {"name": site.name(), "text": "hi", "session": session, "extra": ""}
        empty = len(attacker.carried(event, json.dumps(command).encode()))
        return json.dumps(command | {"extra": "x" * (total - empty)}).encode()

    data = padded(limit_bytes)
    assert len(attacker.carried(event, data)) == limit_bytes
    assert await attacker.say(event, data) == OK
    assert await attacker.say(event, padded(limit_bytes + 1)) == "too_large"
    assert await attacker.say("sendMessage", padded(200)) == OK


async def test_S8_3_escapes_count_as_sent(site: Site, attacker: Attacker) -> None:
    """S8.3 is about bytes on the wire: 40 KB of escapes for a text of 2 KB are too large."""
    session = (await attacker.join(site.name())).encode()
    text = rb"\u0041" * 2_000 + rb"\u0042" * 5_000
    data = b'{"session":"%b","text":"%b"}' % (session, text)
    assert await attacker.say("sendMessage", data) == "too_large"


@pytest.mark.parametrize("event", ["newUserConnect", "sendMessage"])
async def test_S8_3_past_a_mebibyte(site: Site, attacker: Attacker, event: str) -> None:
    """S8.3: past 1 MiB the transport itself ends the exchange."""
    data = json.dumps({"name": "x" * site.chat.settings.hard_bytes, "text": "hi"}).encode()
    assert await attacker.say(event, data) == "too_large"


async def test_S5_3_since_beyond_the_head(site: Site, attacker: Attacker) -> None:
    """S5.3: a position beyond the head is no mistake; reading from it begins with a gap."""
    data = json.dumps({"name": site.name(), "since": 10**12}).encode()
    assert await attacker.say("newUserConnect", data) == OK


async def test_S5_4_a_token_nobody_had(site: Site, attacker: Attacker) -> None:
    """S5.4: who comes with a token that is not known joins anew; nobody's session is taken over."""
    data = json.dumps({"name": site.name(), "session": "made up"}).encode()
    assert await attacker.say("newUserConnect", data) == OK


async def test_S7_2_names_are_compared_as_cleaned(site: Site, attacker: Attacker) -> None:
    """S7.2, S8.1: NFD of a present name is the same name."""
    await attacker.join("각하")
    other = site.attacker()
    await other.arrive()
    nfd = '{"name": "\u1100\u1161\u11a8\u1112\u1161"}'.encode()
    assert await other.say("newUserConnect", nfd) == "name_taken"
    await other.go()
