"""What every server needs: who may come in, errors as answers, leases that end on time."""

import asyncio
import gc
import json

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from labs.chat import Chat, Join
from labs.errors import CODES, ChatError
from labs.serving import Gate, answer, leases, refusal
from labs.settings import Settings
from tests.labs.properties import PROPERTY
from tests.labs.virtual import run

HOST = "127.0.0.1:30001"


class FakeTransport(asyncio.BaseTransport):
    """A connection from an address."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__({"peername": (address, 5_000)})
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing


@pytest.mark.parametrize(
    ("origins", "host"),
    [
        ([], HOST),
        ([f"http://{HOST}"], HOST),
        ([f"https://{HOST}"], HOST),
        (["http://friend.example"], HOST),
        (["http://chat.example"], "chat.example"),
    ],
)
def test_S11_1_who_is_let_in(origins: list[str], host: str) -> None:
    gate = Gate(Settings(allow_origins=("http://friend.example",)))
    gate.admit(origins, host, FakeTransport())


@pytest.mark.parametrize(
    ("origins", "host"),
    [
        (["http://evil.example"], HOST),
        (["null"], HOST),
        ([""], HOST),
        (["http://127.0.0.1:30002"], HOST),
        (["http://127.0.0.1"], HOST),
        ([f"http://{HOST}.evil.example"], HOST),
        ([f"http://evil.example/{HOST}"], HOST),
        (["http://friend.example:81"], HOST),
        ([f"http://{HOST}", "http://evil.example"], HOST),
        ([f"http://{HOST}"], None),
    ],
)
def test_S11_1_who_is_not(origins: list[str], host: str | None) -> None:
    gate = Gate(Settings(allow_origins=("http://friend.example",)))
    with pytest.raises(ChatError) as refused:
        gate.admit(origins, host, FakeTransport())
    assert refused.value.code == "forbidden_origin"


def test_S8_7_so_many_connections_an_address() -> None:
    gate = Gate(Settings(connections=3))
    inside = [FakeTransport() for _ in range(3)]
    for transport in (*inside, *inside):
        gate.admit([], HOST, transport)
    elsewhere = FakeTransport("127.0.0.2")
    gate.admit([], HOST, elsewhere)
    one_more = FakeTransport()
    with pytest.raises(ChatError) as refused:
        gate.admit([], HOST, one_more)
    assert refused.value.code == "rate_limited"
    inside[1].closing = True
    gate.admit([], HOST, one_more)


def test_S8_7_what_is_gone_is_not_counted_nor_kept() -> None:
    gate = Gate(Settings(connections=3))
    for _ in range(10):
        gate.admit([], HOST, FakeTransport())
        gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, FakeTransport)]


@pytest.mark.parametrize("code", CODES)
def test_S9_1_an_error_as_an_http_answer(code: str) -> None:
    response = refusal(ChatError(code, "what to do", retry_after_s=2.6))
    assert response.status == CODES[code].status
    assert response.content_type == "application/json"
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {"code": code, "message": "what to do"}
    waits = {"rate_limited", "room_full", "slow_consumer", "shutting_down"}
    assert response.headers.get("Retry-After") == ("3" if code in waits else None)
    assert response.headers["Cache-Control"] == "no-store"


def test_S9_1_at_least_a_second() -> None:
    assert refusal(ChatError("rate_limited", "wait", 0.01)).headers["Retry-After"] == "1"
    assert refusal(ChatError("shutting_down", "wait")).headers["Retry-After"] == "1"


def test_an_answer_is_json_and_not_kept() -> None:
    response = answer({"offset": 1})
    assert isinstance(response, web.Response)
    assert (response.body, response.content_type) == (b'{"offset":1}', "application/json")
    assert response.headers["Cache-Control"] == "no-store"


@PROPERTY
@given(st.lists(st.floats(0.01, 25), min_size=1, max_size=8), st.floats(1, 30))
def test_S6_3_a_lease_ends_on_time_or_at_most_a_tenth_late(
    arrivals: list[float], lease_s: float
) -> None:
    """People come whenever they like, and are silent from then on."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        chat = Chat(Settings().but(lease_s=lease_s, interval_s=0.5), clock=loop.time)
        async with leases(chat):
            for number, pause_s in enumerate(arrivals):
                await asyncio.sleep(pause_s)
                watches.append(asyncio.create_task(watch(chat, f"p{number}")))
            await asyncio.gather(*watches)

    async def watch(chat: Chat, name: str) -> None:
        loop = asyncio.get_running_loop()
        session, _ = chat.join(Join(name))
        arrived_s = loop.time()
        await asyncio.sleep(lease_s - 1e-6)
        assert session.live
        await asyncio.sleep(lease_s / 10 + 2e-6)
        assert not session.live
        assert loop.time() - arrived_s <= 1.1 * lease_s + 1e-5

    watches: list[asyncio.Task[None]] = []
    run(main())


def test_leases_are_not_looked_at_after_the_end() -> None:
    async def main() -> None:
        chat = Chat(clock=asyncio.get_running_loop().time)
        async with leases(chat):
            session, _ = chat.join(Join("alice"))
        await asyncio.sleep(100)
        assert session.live

    run(main())
