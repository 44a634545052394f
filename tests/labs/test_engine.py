"""The adapter to python-engineio and python-socketio, and what it takes for granted in them."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import Any

import engineio
import pytest
import socketio
from engineio import async_socket
from engineio.async_drivers import aiohttp as driver
from engineio.payload import Payload
from hypothesis import given
from hypothesis import strategies as st
from socketio import packet as socketio_packet

from labs import engine, engine_client
from labs.chat import Chat, Talk
from labs.settings import Settings
from labs.variants import load
from socketio_chat.server import frame
from tests.contract.town import QUICK
from tests.hostile.raw import PATIENCE_S, EngineIO

LIMIT_BYTES = Settings().body_bytes


class TestInsides:
    """The libraries' insides we rely on; a new version that changes them fails here first."""

    def test_the_driver(self) -> None:
        assert set(driver._async) == {
            "asyncio",
            "create_route",
            "translate_request",
            "make_response",
            "websocket",
        }
        assert driver._async["websocket"] is driver.WebSocket
        assert set(inspect.signature(driver.WebSocket).parameters) == {"handler", "server"}

    def test_ours_stands_in_for_it(self) -> None:
        server = engine.create(Settings())
        assert set(server.eio._async) == set(driver._async)
        assert isinstance(server.eio._async["websocket"](None, server.eio), engine.Wire)
        assert inspect.iscoroutinefunction(server.eio._async["translate_request"])
        assert driver._async["websocket"] is driver.WebSocket, "only this server's is replaced"

    def test_a_session(self) -> None:
        session = async_socket.AsyncSocket(engine.create(Settings()).eio, "sid")
        assert isinstance(session.queue, asyncio.Queue)
        flags = ("upgraded", "upgrading", "connected", "closed", "closing")
        assert [getattr(session, flag) for flag in flags] == [False] * len(flags)
        assert not hasattr(session, "wire")
        assert not hasattr(session, "on_wire")
        assert session._websocket_handler.__self__ is session
        assert set(inspect.signature(session.close).parameters) == {"wait", "abort", "reason"}

    def test_the_packet_limit(self) -> None:
        class Fresh(Payload):  # type: ignore[misc]
            max_decode_packets = 16

        body = engine.SEPARATOR.join(["6"] * 17)
        with pytest.raises(ValueError, match="Too many packets"):
            Fresh(encoded_payload=body)
        engine.raise_packet_limit(Settings())
        assert len(Payload(encoded_payload=body).packets) == 17

    def test_the_packet_class(self) -> None:
        server = engine.create(Settings())
        assert server.packet_class is server.manager.server.packet_class is engine.Packet
        assert server.manager.json is engine.Utf8Json
        kinds = ["CONNECT", "DISCONNECT", "EVENT", "ACK", "CONNECT_ERROR"]
        assert socketio_packet.packet_names == [*kinds, "BINARY_EVENT", "BINARY_ACK"]

    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [
            (engine.Server._handle_event_internal, socketio.AsyncServer._handle_event_internal),
            (engine.Server._handle_connect, socketio.AsyncServer._handle_connect),
            (
                engine_client.Client._engineio_client_class,
                socketio.AsyncClient._engineio_client_class,
            ),
            (engine_client._InOrder._send_request, engineio.AsyncClient._send_request),
            (engine.Wire.wait, driver.WebSocket.wait),
            (engine.Wire.__call__, driver.WebSocket.__call__),
            (engine.Packet.decode, socketio_packet.Packet.decode),
        ],
    )
    def test_what_is_overridden(self, ours: object, theirs: object) -> None:
        assert callable(ours)
        assert callable(theirs)
        assert [*inspect.signature(ours).parameters] == [*inspect.signature(theirs).parameters]

    def test_the_reasons(self) -> None:
        reasons = engine.create(Settings()).reason
        names = ("CLIENT_DISCONNECT", "SERVER_DISCONNECT", "PING_TIMEOUT")
        assert len({getattr(reasons, name) for name in names}) == len(names)


class TestPackets:
    """S9.3: what cannot be understood becomes something that has an answer."""

    def test_S10_korean_goes_as_utf_8(self) -> None:
        packet = engine.Packet(socketio_packet.ACK, data=[{"name": "한글"}], id=7)
        assert packet.encode() == '37[{"name":"한글"}]'
        again: Any = engine.Packet(encoded_packet=packet.encode())
        assert (again.packet_type, again.id, again.data) == (packet.packet_type, 7, packet.data)

    @pytest.mark.parametrize(
        "packet", ["1", "3", "3probe", "2probe", "5", "40", "41", '42["x"]', '427["x",{}]', "430[]"]
    )
    def test_what_a_client_may_send(self, packet: str) -> None:
        assert engine.well_formed(packet, LIMIT_BYTES) == packet

    @pytest.mark.parametrize(
        "packet",
        ["", "0", "2", "2prob", "2probe\n", "4", "4\udcff", "5x", "6", "b", "zzz", b"4", b"\xff"],
    )
    def test_what_it_may_not(self, packet: str | bytes) -> None:
        assert engine.well_formed(packet, LIMIT_BYTES) == engine.BROKEN

    def test_S8_3_a_packet_over_the_limit_keeps_the_number_of_its_ack(self) -> None:
        too_large = f'["{engine.TOO_LARGE}"]'
        assert engine.well_formed('427["sendMessage"]', 18) == '427["sendMessage"]'
        assert engine.well_formed('427["sendMessage"]', 17) == "427" + too_large
        assert engine.well_formed("42" + "[" * 99, 17) == "42" + too_large
        assert engine.well_formed("40" + "{" * 99, 17) == "42" + too_large
        assert engine.well_formed("42" + "가" * 6, 17) == "42" + too_large

    @given(st.text() | st.binary() | st.text("0123456789-/,[]{}\"'?: \x1e").map("4".__add__))
    def test_any_packet_is_well_formed_afterwards(self, packet: str | bytes) -> None:
        once = engine.well_formed(packet, 64)
        assert engine.well_formed(once, 64) == once
        assert once.encode()

    @given(st.text() | st.text("0123456789-/,[]{}\"'?: ²"))
    def test_decoding_never_raises(self, text: str) -> None:
        packet = engine.Packet()
        assert isinstance(packet.decode(text), int)
        assert packet.packet_type in range(socketio_packet.CONNECT_ERROR)
        if packet.packet_type == socketio_packet.EVENT:
            assert isinstance(packet.data, list)
            assert isinstance(packet.data[0], str)
            assert packet.data[0] not in engine.RESERVED
            assert packet.namespace in (None, "/")

    @pytest.mark.parametrize("text", ["2" + "[" * 10**6, '2["x",' + "1" * 10**5 + "]", "2[NaN"])
    def test_decoding_never_raises_on_what_is_deep_or_long(self, text: str) -> None:
        packet = engine.Packet(encoded_packet=text)
        assert (packet.packet_type, packet.data) == (socketio_packet.EVENT, [""])


class TestUpgrade:
    """S1.1: a WebSocket is written to directly once the upgrade is over, not a frame sooner."""

    MESSAGES = 60
    TEXT = "가" * 300

    async def test_S1_1_messages_during_the_upgrade(self) -> None:
        """S1.1: all of them, once, in order, whenever the upgrade begins; thirty times."""
        variant = load("socketio")
        chat = variant.chat(variant.settings(QUICK))
        async with variant.serve(chat, "127.0.0.1", 0) as url, asyncio.timeout(30 * PATIENCE_S):
            for attempt in range(30):
                async with EngineIO(url, ("polling",)) as client:
                    await client.connect()
                    await self._upgraded(client, f"room {attempt}", attempt, chat)

    async def _upgraded(self, client: EngineIO, room: str, begin: int, chat: Chat) -> None:
        await client.send(f'427["newUserConnect",{{"name":"alice","room":"{room}"}}]')
        joined = json.loads((await client.receive())[3:])[0]
        speaker = chat.session(joined["session"])
        begun = asyncio.Event()

        async def speak() -> None:
            for number in range(self.MESSAGES):
                speaker.room.talk(speaker, Talk(self.TEXT))
                if number == begin:
                    begun.set()
                for _ in range(1 + begin % 4):
                    await asyncio.sleep(0)

        speaking = asyncio.create_task(speak())
        await begun.wait()
        await client.upgrade()
        offsets: list[int] = []
        while len(offsets) <= self.MESSAGES:
            packet = await client.receive()
            assert packet.startswith('42["updateMessage",')
            offsets += [message["offset"] for message in json.loads(packet[2:])[1]]
        assert offsets == [*range(1, self.MESSAGES + 2)]
        await speaking
        assert speaker.cursor
        assert speaker.cursor.frame is frame, "and directly from now on"

    async def test_S10_5_frames_are_made_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """S10.5: the frame on the wire is the one that `frame` makes, for everybody alike."""
        variant = load("socketio-websocket")
        chat = variant.chat(variant.settings(QUICK))
        made: list[bytes] = []
        write = engine.Wire.write

        def recorded(wire: engine.Wire, data: bytes) -> None:
            made.append(data)
            write(wire, data)

        async with (
            variant.serve(chat, "127.0.0.1", 0) as url,
            EngineIO(url, ("websocket",)) as one,
            EngineIO(url, ("websocket",)) as two,
        ):
            for name, client in (("하나", one), ("둘", two)):
                await client.connect()
                await client.send(f'427["newUserConnect",{{"name":"{name}"}}]')
                assert (await client.receive()).startswith("437[{")
                await client.receive()
            monkeypatch.setattr(engine.Wire, "write", recorded)
            await two.send('42["sendMessage",{"text":"안녕"}]')
            for client in (one, two):
                while "안녕" not in await client.receive():
                    pass
        assert len(made) == 2
        assert made[0] is made[1]
        assert "안녕".encode() in made[0]
