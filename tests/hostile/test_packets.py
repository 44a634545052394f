"""S9.3, S10.5: what is no packet, on every transport of Socket.IO."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio

from tests.hostile.attacker import OverSocketIO, code_of
from tests.hostile.conftest import Site

NAMES = ("socketio", "socketio-websocket", "socketio-polling")

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.parametrize("site", NAMES, indirect=True, scope="module"),
]

MALFORMED = {
    "empty": b"",
    "no type": b"zzz",
    "a type there is not": b"7",
    "a server's type": b'0{"sid":"x"}',
    "a ping": b"2",
    "a noop": b"6",
    "an empty message": b"4",
    "no Socket.IO type": b"4zzz",
    "a Socket.IO type there is not": b"47[]",
    "a superscript type": "4²[]".encode(),
    "a connect error": b'44{"message":"x"}',
    "no event": b"42",
    "an object for an event": b'42{"a":1}',
    "an empty event": b"42[]",
    "a number for an event": b"42[5]",
    "null for an event": b"42[null]",
    "an event without a name": b'42[""]',
    "broken JSON": b'42["sendMessage",{"text":"hi"]',
    "NUL in JSON": b'42["sendMessage",{"text":"\x00"}]',
    "deep JSON": b"42" + b"[" * 10_000 + b"]" * 10_000,
    "the reserved disconnect": b'42["disconnect"]',
    "the reserved connect": b'42["connect",{}]',
    "the reserved connect_error": b'42["connect_error",{}]',
    "an unknown event": b'42["nobodyKnowsThis",{"text":"hi"}]',
    "an event of the server": b'42["updateMessage",[]]',
    "a surrogate for an event": rb'42["\ud800"]',
    "another namespace": b'42/other,["sendMessage",{"text":"hi"}]',
    "a binary event": b'451-["sendMessage",{"_placeholder":true,"num":0}]',
    "a binary event without a number": b'45-["sendMessage",{"_placeholder":true,"num":0}]',
    "a billion attachments": b'451000000000-["sendMessage"]',
    "a binary ack": b'461-7[{"_placeholder":true,"num":0}]',
    "base64": b"bAAAA",
}

TALK = b'427["sendMessage",{"text":"hi"}]'


@pytest_asyncio.fixture(loop_scope="module")
async def client(attacker: OverSocketIO, site: Site) -> OverSocketIO:
    await attacker.join(site.name())
    return attacker


async def until(client: OverSocketIO, head: str) -> str:
    """The next packet that begins like this."""
    while not (packet := await client.engine.receive()).startswith(head):
        pass
    return packet


async def answers(client: OverSocketIO) -> list[str]:
    """The codes of all `error` events up to the ack of the next message."""
    await client.engine.send(TALK)
    codes: list[str] = []
    while not (packet := await client.engine.receive()).startswith("437[{"):
        if packet.startswith('42["error",'):
            codes.append(code_of(json.loads(packet[2:])[1]))
    assert set(json.loads(packet[3:])[0]) == {"offset"}
    return codes


@pytest.mark.parametrize("what", MALFORMED)
async def test_S9_3_malformed(site: Site, client: OverSocketIO, what: str) -> None:
    """S9.3: one `error` event, once, and the session goes on."""
    await client.engine.send(MALFORMED[what])
    assert await answers(client) == ["bad_request"]


@pytest.mark.parametrize(
    "packet", [b"4399[]", b"43", b"439", b"43[5]", b"41/other,", b"5", b"3", b"3probe", b"40"]
)
async def test_S9_what_means_nothing(site: Site, client: OverSocketIO, packet: bytes) -> None:
    """S9: packets in order that fit nothing are let go by."""
    await client.engine.send(packet)
    assert await answers(client) == []


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ('["sendMessage",{"text":""}]', "bad_text"),
        ('["newUserConnect",{"name":"SERVER"}]', "bad_name"),
        ('["newUserConnect",null]', "bad_request"),
        ('["newUserConnect"]', "bad_request"),
        ('["nobodyKnowsThis"]', "bad_request"),
        ('["sendMessage",{"text":"' + "x" * 40_000 + '"}]', "too_large"),
        ("[" * 100_000, "too_large"),
    ],
    ids=lambda value: value[:24],
)
async def test_S9_3_ack_or_event(site: Site, client: OverSocketIO, event: str, code: str) -> None:
    """S9.3: who asks for an ack is told in the ack, who does not by an event, nobody twice."""
    await client.engine.send("42" + event)
    assert await answers(client) == [code]
    await client.engine.send("428" + event)
    assert code_of(json.loads((await until(client, "438"))[3:])[0]["error"]) == code
    assert await answers(client) == []


async def test_S9_unknown_session_before_a_join(site: Site, attacker: OverSocketIO) -> None:
    """S9: none has joined yet; without an ack, by an event."""
    await attacker.engine.send('42["sendMessage",{"text":"hi"}]')
    packet = await until(attacker, '42["error",')
    assert code_of(json.loads(packet[2:])[1]) == "unknown_session"


async def test_S9_a_binary_frame(site: Site, client: OverSocketIO) -> None:
    """S9: a binary frame, and the attachment it may have been."""
    if client.engine.socket:
        await client.engine.socket.send(b'2["sendMessage",{"text":"hi"}]')
    else:
        await client.engine.send("bMlsic2VuZE1lc3NhZ2UiXQ==")
    assert await answers(client) == ["bad_request"]


async def test_S9_good_and_bad_in_one_go(site: Site, client: OverSocketIO) -> None:
    """S9: a bad packet among good ones costs none of those."""
    before = site.head
    await client.engine.send(*[TALK.replace(b"427", b"42"), b"zzz", b"42[]"] * 20)
    assert await answers(client) == ["bad_request"] * 40
    assert site.head == before + 21


async def test_S9_3_another_namespace(site: Site, client: OverSocketIO) -> None:
    """S9.3: a connect to a namespace there is not is refused with code and sentence."""
    await client.engine.send("40/other,")
    packet = await until(client, "44/other,")
    assert code_of(json.loads(packet.removeprefix("44/other,"))) == "bad_request"
    assert await answers(client) == []
