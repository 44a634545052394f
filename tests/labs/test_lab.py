"""What experiments and notebooks work with: a server, people in it, bytes."""

from __future__ import annotations

import pytest

from labs import lab
from labs.bench.workload import Workload
from labs.errors import UsageError
from labs.lab import Drawing

SMALL = Workload(
    name="small", clients=3, probes=0, arrivals="constant", rate_per_s=4.0, duration_s=0.5,
    warmup_s=0.0, tail_s=0.2,
)  # fmt: skip


async def test_people_talk_through_the_tap_which_counts() -> None:
    async with lab.serve("websocket") as server:
        ann = await server.join("ann")
        joined = await server.traffic()
        await ann.send("안녕")
        heard = ann.messages()
        while (message := await anext(heard)).kind != "talk":
            pass
        said = await server.traffic()
        assert message.text == "안녕"
        assert server.url != server.direct_url
    assert joined.of(phase="handshake") > 0
    assert joined.of(layer="text") == 0
    assert said.of("up", "text") == said.of("down", "text") == len("안녕".encode())


async def test_settings_reach_the_server_and_its_clients() -> None:
    async with lab.serve("socketio", path="/elsewhere") as server:
        await server.join("ann")
        assert "/elsewhere/" in await server.conversation()


async def test_a_name_or_a_setting_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean polling"):
        async with lab.serve("poling"):
            pass
    with pytest.raises(TypeError, match="wrong"):
        async with lab.serve("polling", wrong=1):
            pass


async def test_a_conversation_is_drawn_cut_and_told() -> None:
    async with lab.serve("polling", interval_s=0.1) as server:
        await server.join("ann")
        drawn = await server.diagram("HTTP polling")
        assert "newUserConnect" in drawn
        assert "POST /newUserConnect" in await server.conversation()
        assert await server.cut() >= 1
        assert await server.cpu_s() > 0
        assert server.memory_bytes > 1_000_000


async def test_bytes_of_two_transports_are_counted_side_by_side() -> None:
    runs = await lab.count_bytes([(SMALL, "websocket"), (SMALL, "streaming")])
    assert [run.variant for run in runs] == ["websocket", "streaming"]
    # A delivery to each of three clients, and the sending.
    for run in runs:
        texts = run.windows["steady"]
        assert texts.of("down", "text") == 3 * texts.of("up", "text") == run.outcome.text_bytes


async def test_latency_is_taken_in_rounds() -> None:
    runs = await lab.take_latency(SMALL, ["websocket"], rounds=2)
    assert {run.number for run in runs["websocket"]} == {1, 2}
    assert all(run.kind == "latency" and run.valid for run in runs["websocket"])


def test_a_drawing_is_shown_as_a_picture_and_not_as_its_text() -> None:
    drawing = Drawing('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 5"/>')
    assert "<svg" in drawing._repr_svg_()
    assert "<svg" not in repr(drawing)
