"""The calls of a notebook: guesses, frozen answers, servers, comparisons, pictures."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

import labs
from labs.bench import drawing
from labs.bench.workload import WORKLOADS
from labs.errors import LabError, UsageError
from labs.experiments.experiment import Claim, Report, near
from labs.notebook import tape
from labs.notebook.guess import guess
from labs.notebook.measured import Measured, Tried
from labs.notebook.picture import plain
from labs.wire.svg import document, line, text
from tests.labs.made import result, run, timed

ROOT = Path(labs.__file__).parent.parent
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def _folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A notebook's folder, without a notebook that was begun."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)  # of the processes it starts
    monkeypatch.setattr(tape, "_current", None)
    for name in ("LABS_OFFLINE", "LABS_FREEZE"):
        monkeypatch.delenv(name, raising=False)


# Names


def test_names_are_imported_when_they_are_used() -> None:
    code = (
        "import sys, labs; before = set(sys.modules); labs.guess; labs.__version__;"
        "print('aiohttp' in before, 'matplotlib' in sys.modules, 'labs.notebook.guess' in before)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert told.stdout.split() == ["False", "False", "False"], told.stderr


def test_every_name_is_there_and_no_other() -> None:
    for name in labs._PLACES:
        assert callable(getattr(labs, name))
        assert name in dir(labs)
    with pytest.raises(AttributeError, match="no attribute 'mesure'"):
        _ = labs.mesure  # type: ignore[attr-defined]


# Guesses


@pytest.mark.parametrize(
    ("mine", "actual", "english", "korean"),
    [
        (1_000, 5_000, "the guess is 5.00 times too low", "실제가 예상의 5.00배"),
        (5_000, 1_000, "the guess is 5.00 times too high", "예상이 실제의 5.00배"),
        (100, 109, "well guessed", "잘 맞혔다"),
        (100, 111, "the guess is 1.11 times too low", "실제가 예상의 1.11배"),
        (0, 0, "well guessed", "잘 맞혔다"),
        (0, 4, "something else", "다르다"),
        (4, 0, "nothing at all", "전혀 없다"),
        ("websocket", "websocket", "well guessed", "잘 맞혔다"),
        ("polling", "websocket", "something else", "다르다"),
    ],
)
def test_a_guess_is_scored_in_both_languages(
    mine: float | str, actual: float | str, english: str, korean: str
) -> None:
    score = guess(mine, "B").score(actual)
    assert score.words[0].endswith(f": {english}.")
    assert score.words[1].endswith(f": {korean}.")
    assert all(sentence in score._repr_html_() for sentence in score.words)


def test_a_score_names_both_figures_with_their_unit() -> None:
    assert guess(1_500, "B").score(312.4).words[0].startswith("You guessed 1,500 B; it is 312 B:")
    assert guess(0.5, "ms").score(2.0).words[0].startswith("You guessed 0.50 ms; it is 2 ms:")
    assert guess(0.5, "ms").score(2).factor == 4


def test_a_guess_that_cannot_be_scored_is_refused() -> None:
    with pytest.raises(UsageError, match="from 0 up"):
        guess(-1)
    with pytest.raises(UsageError, match="from 0 up"):
        guess(float("nan"))
    with pytest.raises(UsageError, match="two of a kind"):
        guess("polling").score(3)


# The tape


async def test_what_was_frozen_live_is_answered_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABS_FREEZE", "1")
    live = labs.begin("a")
    for value in ('],["', "둘"):
        await live.take("word", str, _answer(value))
    await live.take("bound", float, _answer(float("inf")))
    monkeypatch.delenv("LABS_FREEZE")
    monkeypatch.setenv("LABS_OFFLINE", "1")
    frozen = labs.begin("a")
    words = [await frozen.take("word", str, _fails) for _ in range(3)]
    assert words == ['],["', "둘", '],["'], "in order, and then from the first again"
    assert await frozen.take("bound", float, _fails) == float("inf")
    assert live.frozen.made_at == frozen.frozen.made_at


def test_offline_says_so_and_since_when() -> None:
    data = tape.Frozen(format=tape.FORMAT, made_at="2026-01-02T03:04:05+00:00", machine="A <box>")
    shown = tape.Tape(data, offline=True)._repr_html_()
    assert "frozen at 2026-01-02 03:04 UTC" in shown
    assert "저장해 둔" in shown
    assert "A &lt;box&gt;" in shown
    assert "Live" in repr(tape.Tape(data))


async def test_offline_what_was_not_frozen_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABS_OFFLINE", "1")
    with pytest.raises(LabError, match=r"none\.json: No such file"):
        labs.begin("none")
    _write('{"format": 1, "made_at": "", "machine": "", "answers": []}')
    labs.begin("a")
    with pytest.raises(LabError, match="not in the frozen data; run it live"):
        await labs.measure("paced", ["polling"])
    async with labs.serve("polling") as server:
        ann = await server.join("ann")
        with pytest.raises(LabError, match="polling ann: send 'hello' is not in"):
            await ann.send("hello")
        with pytest.raises(LabError, match="offline no server runs"):
            _ = server.served
    with pytest.raises(UsageError, match="did you mean polling"):
        async with labs.serve("poling"):
            pass


@pytest.mark.parametrize(
    ("data", "why"), [("{", "is no frozen data"), ('{"format": 9, "made_at": "", '
     '"machine": "", "answers": []}', "has format 9; this version reads 1")]
)  # fmt: skip
def test_damaged_data_is_told(monkeypatch: pytest.MonkeyPatch, data: str, why: str) -> None:
    monkeypatch.setenv("LABS_OFFLINE", "1")
    _write(data)
    with pytest.raises(LabError, match=why):
        labs.begin("a")


def test_without_the_environment_nothing_is_kept(tmp_path: Path) -> None:
    taken = labs.begin("a").take("word", str, _answer("one"))
    assert asyncio.run(taken) == "one"
    assert not [*tmp_path.iterdir()]


def _write(data: str) -> None:
    Path("data").mkdir()
    Path("data", "a.json").write_text(data, encoding="utf-8")


def _answer(value: object) -> Any:
    async def live() -> object:
        return value

    return live


async def _fails() -> object:
    pytest.fail("this would be measured now")


# Servers


async def _talk() -> tuple[Any, ...]:
    async with labs.serve("websocket") as server:
        ann, _ = await server.people("ann", "bob")
        opening = await server.traffic()
        heard = await ann.say("안녕")
        said, silence = await server.traffic(), await server.watch(0.2)
        drawn = await server.diagram("WebSocket")
        return opening, heard, said, silence, str(drawn), await server.conversation()


async def test_a_conversation_live_and_the_same_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABS_FREEZE", "1")
    labs.begin("a")
    live = await _talk()
    monkeypatch.delenv("LABS_FREEZE")
    monkeypatch.setenv("LABS_OFFLINE", "1")
    labs.begin("a")
    assert await _talk() == live


async def test_bytes_are_those_of_what_was_asked() -> None:
    opening, heard, said, silence, drawn, told = await _talk()
    assert [(each.offset, each.text) for each in heard] == [(3, "안녕")] * 2
    assert opening.requests == 2
    assert opening.of(layer="text") == 0
    assert said.of("up", "framing") == 6, "two of head, four of mask"
    assert said.of(phase="steady") == said.both, "the joins had been seen before"
    assert silence.both == 0
    assert "sendMessage" in drawn
    assert "안녕" in told
    assert "<th>framing</th><td>6</td>" in said._repr_html_()


async def test_what_nobody_says_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labs.notebook.server.HEAR_S", 1.0)
    async with labs.serve("websocket") as server:
        ann = await server.join("ann")
        await ann.send("one")
        with pytest.raises(LabError, match="ann heard 1 of 2 messages within 1 s"):
            await ann.hear(2)
        assert [each.text for each in await ann.hear()] == ["one"], "it was not lost"


# Comparisons


async def test_a_comparison_is_measured_frozen_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABS_FREEZE", "1")
    labs.begin("a")
    few = labs.workload("idle", clients=2, probes=0, duration_s=0.5, settings={"interval_s": 0.25})
    live = await labs.measure(few, ["polling"], budget_s=1.0)
    monkeypatch.delenv("LABS_FREEZE")
    monkeypatch.setenv("LABS_OFFLINE", "1")
    labs.begin("a")
    frozen = await labs.measure(few, ["polling"], budget_s=1.0)
    assert frozen.result == live.result
    assert frozen["polling"].requests == 4, "two clients, two polls each"
    assert frozen["polling"].bytes == frozen["polling"].predicted_bytes
    with pytest.raises(LabError, match="nobody said anything in idle"):
        _ = frozen["polling"].bytes_per_delivery
    with pytest.raises(UsageError, match="there is no latency to draw"):
        frozen.plot("latency")


def test_figures_of_a_comparison() -> None:
    found = made()
    assert found["polling"].p50_ms == pytest.approx(2, rel=0.01)
    assert found["websocket"].p99_ms == pytest.approx(1, rel=0.01)
    assert found["polling"].bytes == 200_000
    assert found["polling"].bytes_per_delivery == 200
    assert found["polling"].text_bytes == 40_000
    with pytest.raises(UsageError, match="'pooling' was not measured; there are polling, websoc"):
        _ = found["pooling"]
    with pytest.raises(UsageError, match="nothing was measured under 'burst'; there are paced"):
        found.under("burst")
    assert found.under("paced")["polling"].requests == 60


def test_a_figure_that_was_not_taken_is_not_made_up() -> None:
    found = Measured(result(run("bytes")))
    with pytest.raises(LabError, match="no latency was taken of polling under paced"):
        _ = found["polling"].p50_ms
    with pytest.raises(LabError, match="no closed form for polling"):
        _ = found["polling"].predicted_bytes
    void = Measured(result(run("bytes"), run("latency", wrong=["message 1: lost"])))
    with pytest.raises(LabError, match="or it is void"):
        _ = void["polling"].p50_ms
    assert "message 1: lost" in void._repr_html_()


def test_a_comparison_shows_its_table_and_its_caption() -> None:
    shown = made()._repr_html_()
    assert "<th>polling</th><th>websocket</th>" in shown
    assert "<details>" in shown
    assert "how it was measured" in shown.lower()
    assert "부하:" in shown
    assert "<svg" not in shown


@pytest.mark.parametrize("what", ["latency", "bytes", "timeline", "server"])
def test_every_plot_names_what_was_measured(what: Any) -> None:
    drawn = made().plot(what)
    assert "polling" in drawn
    assert "websocket" in drawn


def test_a_plot_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="no plot of 'cake'; say one of latency, bytes"):
        made().plot("cake")  # type: ignore[arg-type]


def made() -> Measured:
    runs = [run("bytes"), run("bytes", variant="websocket")]
    runs += timed(2.0, 2.0) + timed(1.0, 1.0, variant="websocket")
    return Measured(result(*runs, workloads=[WORKLOADS["paced"]]))


def test_a_claim_that_was_tried_shows_itself_without_its_picture() -> None:
    claim = Claim(title="T", title_ko="제목", says="S", says_ko="말", source="Somebody")
    finding = near("bytes", "B", 6, 6, "a tap")
    tried = Tried(
        Report(name="a", claim=claim, verdict="reproduced", findings=[finding], plot="<svg/>")
    )
    assert tried["bytes"].measured == 6
    assert tried.verdict == "reproduced"
    assert tried.plot() == "<svg/>"
    assert "Somebody" in tried._repr_html_()
    assert "<svg" not in tried._repr_html_()
    with pytest.raises(UsageError, match="nothing was found of 'bits'; there are bytes"):
        _ = tried["bits"]
    with pytest.raises(LabError, match="a was not run: no nginx"):
        Tried(Report(name="a", claim=claim, failed="no nginx")).plot()


# Pictures


def test_a_plot_keeps_its_look_as_attributes() -> None:
    figure, (on,) = drawing.axes()
    on.plot([1, 2], [1, 2], color="#ff0000", label="line")
    drawing.legend(on)
    root = Xml.fromstring(plain(drawing.svg(figure)))
    _is_plain(root)
    assert any(each.get("stroke") == "#ff0000" for each in root.iter(f"{SVG}path"))
    label = next(each for each in root.iter(f"{SVG}text") if each.text == "line")
    assert label.get("font-size") == "8px"
    assert (root.get("width"), root.get("height")) == ("726", "272"), "1.4 pixels for each point"


def test_a_diagram_keeps_its_look_as_attributes() -> None:
    svg = document(100, 50, "title", "described")
    text(svg, 1, 1, "a word", "small label")
    line(svg, 0, 0, 1, 1, "life")
    root = Xml.fromstring(plain(Xml.tostring(svg, encoding="unicode")))
    _is_plain(root)
    word = next(root.iter(f"{SVG}text"))
    assert word.get("font-size") == "10.5px", "a class overrules the name of an element"
    assert word.get("paint-order") == "stroke"
    assert "Noto Sans" in str(word.get("font-family"))
    assert next(root.iter(f"{SVG}line")).get("stroke") == "#616e7c"
    assert root.get("width") == "100", "it had a size"


def test_a_wide_picture_is_no_wider_than_a_column() -> None:
    svg = Xml.tostring(document(1_520, 300, "title", "described"), encoding="unicode")
    root = Xml.fromstring(plain(svg))
    assert (root.get("width"), root.get("height")) == ("760", "150")
    assert root.get("viewBox") == "0 0 1520 300"


def test_a_style_of_its_own_overrules_a_rule() -> None:
    root = Xml.fromstring(
        plain(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 5"><style>'
            "* { stroke-linecap: butt } .a { fill: red; stroke: blue } "
            "@media print { rect.a { fill: black } }"
            '</style><rect class="a" style="fill: green"/></svg>'
        )
    )
    _is_plain(root)
    (rect,) = root
    assert rect.attrib == {"fill": "green", "stroke": "blue"}
    assert root.get("stroke-linecap") == "butt"


def _is_plain(root: Xml.Element) -> None:
    assert not {f"{SVG}style", f"{SVG}metadata"} & {str(each.tag) for each in root.iter()}
    assert not any({"style", "class"} & set(each.attrib) for each in root.iter())
