"""What the later notebooks work with: tables, latencies side by side, pieces of experiments."""

from __future__ import annotations

from math import inf
from pathlib import Path
from xml.etree import ElementTree as Xml

import msgspec
import pytest

from labs.bench.record import histogram, packed
from labs.errors import LabError
from labs.experiments import half_open, sticky_sessions
from labs.notebook import pieces, tape
from labs.notebook.latencies import Latencies
from labs.notebook.server import serve
from labs.notebook.tables import table
from labs.notebook.tape import begin, current
from labs.wire.traffic import Traffic


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A notebook's folder, and no notebook that has begun."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tape, "_current", None)
    return monkeypatch


def taken(*latencies_ms: float) -> str:
    found = histogram()
    for each_ms in latencies_ms:
        found.record_value(round(each_ms * 1_000))
    return packed(found)


def test_a_table_has_every_column_of_any_row_and_a_dash_for_what_is_missing() -> None:
    shown = table({"a": {"x": 1_234, "y": 2.0}, "b": {"z": True}}, "who", "a <note>")
    assert shown.columns == ["x", "y", "z"]
    html = shown._repr_html_()
    assert "<tr><th>who</th><th>x</th><th>y</th><th>z</th></tr>" in html
    assert "<tr><th>a</th><td>1,234</td><td>2.00</td><td>-</td></tr>" in html
    assert "<tr><th>b</th><td>-</td><td>-</td><td>yes · 예</td></tr>" in html
    assert html.endswith("<p>a &lt;note&gt;</p>")


def test_latencies_of_one_name_are_added_together_not_averaged() -> None:
    found = Latencies({"both": [taken(*[1.0] * 99), taken(*[100.0])], "slow": [taken(100.0)]})
    assert (found["both"].count, found["slow"].count) == (100, 1)
    assert found["both"].p99_ms == pytest.approx(1.0, rel=0.01)
    assert found["both"].max_ms == pytest.approx(100.0, rel=0.01)
    assert list(found.table.rows) == ["both", "slow"]


def test_latencies_of_nothing_are_refused() -> None:
    with pytest.raises(LabError, match="quiet has no latency"):
        Latencies({"quiet": [taken()]})


def test_a_histogram_spreads_what_is_spread() -> None:
    # Ten bins from 0 to 100 ms, and a delivery in each.
    drawn = Latencies({"even": [taken(*range(5, 100, 10), 100)]}).histogram(bins=10)
    (path,) = [
        each.attrib["d"]
        for each in Xml.fromstring(drawn).iter("{http://www.w3.org/2000/svg}path")
        if "opacity: 0.55" in each.attrib.get("style", "") and each.attrib["d"].count("L") > 15
    ]
    assert len({each.split()[0] for each in path.split("L")[1:]}) >= 10


def test_the_curves_are_named() -> None:
    drawn = Latencies({"a": [taken(1, 2)], "b": [taken(3, 4)]}).percentiles()
    assert ">a</text>" in drawn
    assert ">b</text>" in drawn


def test_the_bars_are_shares_and_leave_out_layers_that_nobody_has() -> None:
    passed = {"a": Traffic(cells={"up/text/steady": 30, "down/http_head/steady": 70})}
    drawn = pieces.layers(passed, 0.5, "half of the bytes")
    for word in (">50</text>", ">half of the bytes</text>", ">http_head</text>"):
        assert word in drawn
    assert ">framing</text>" not in drawn


async def test_an_infinite_bound_is_the_same_offline(folder: pytest.MonkeyPatch) -> None:
    class Bound(msgspec.Struct):
        least: float
        most: float

    async def live() -> Bound:
        return Bound(-inf, inf)

    folder.setenv("LABS_FREEZE", "1")
    begin("bounds")
    await current().take("bound", Bound, live)
    folder.delenv("LABS_FREEZE")
    folder.setenv("LABS_OFFLINE", "1")
    begin("bounds")
    assert await current().take("bound", Bound, live) == Bound(-inf, inf)


async def test_what_a_proxy_refuses_is_kept_and_told_offline(folder: pytest.MonkeyPatch) -> None:
    folder.setenv("LABS_FREEZE", "1")
    begin("proxies")
    assert await pieces.turned_away("round-robin") == 5
    assert await pieces.turned_away("sid") == 0
    folder.delenv("LABS_FREEZE")
    folder.setenv("LABS_OFFLINE", "1")
    folder.setattr(sticky_sessions, "workers", None)
    begin("proxies")
    assert await pieces.turned_away("sid") == 0
    assert await pieces.turned_away("round-robin") == 5


async def test_a_pulled_cable_is_noticed_on_both_sides(folder: pytest.MonkeyPatch) -> None:
    quick = {"interval_s": 0.1, "lease_s": 0.2, "heartbeat_s": 0.2, "timeout_s": 0.3}
    sides = await pieces.pull_cables(["polling"], **quick)
    assert {side: len(each) for side, each in sides["polling"].items()} == {
        "server": half_open.CLIENTS,
        "client": half_open.CLIENTS,
    }
    assert min(sides["polling"]["client"]) >= 0.3 - 0.05


async def test_no_tab_opens_offline(folder: pytest.MonkeyPatch) -> None:
    folder.setenv("LABS_FREEZE", "1")
    begin("tabs")
    await current().take("something", int, _one)
    folder.delenv("LABS_FREEZE")
    folder.setenv("LABS_OFFLINE", "1")
    begin("tabs")
    folder.setattr(pieces, "browsing", None)
    async with serve("websocket") as server, pieces.tab(server, "ann"):
        assert current().offline


async def test_a_tab_without_chromium_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tape, "_current", None)
    monkeypatch.setenv("PATH", "")
    async with serve("websocket") as server:
        with pytest.raises(LabError, match="apt install chromium"):
            async with pieces.tab(server, "ann"):
                pass


async def _one() -> int:
    return 1
