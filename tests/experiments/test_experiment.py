"""The verdict follows from the figures; the scorecard says what was found."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from labs.errors import LabError, UsageError
from labs.experiments import EXPERIMENTS, command, load, scorecard, titles
from labs.experiments.experiment import (
    Claim,
    Experiment,
    Finding,
    Report,
    bounded,
    near,
    true,
    verdict,
)
from labs.experiments.plotting import axes, theory

CLAIM = Claim(
    title="A coin has two sides",
    title_ko="동전에는 두 면이 있다",
    says="Whoever turns it sees the <other> one.",
    says_ko="뒤집으면 다른 면이 보인다.",
    source="Common sense.",
)


def coin(measured: float, *, error: str = "") -> Experiment[float, float]:
    async def run(seed: int) -> float:
        if error:
            raise LabError(error)
        return measured + seed

    def judge(predicted: float, found: float) -> list[Finding]:
        return [near("sides", "sides", predicted, found, "by eye; 1 coin")]

    def plot(predicted: float, found: float) -> Figure:
        figure, (on,) = axes()
        theory(on, [0, 1], [predicted, found], "two")
        return figure

    return Experiment(claim=CLAIM, predict=lambda: 2.0, run=run, judge=judge, plot=plot)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def register(**experiments: Experiment[float, float]) -> None:
        monkeypatch.setattr(command, "load", experiments.__getitem__)
        monkeypatch.setattr(command, "EXPERIMENTS", tuple(experiments))

    return register


def of(kind: str, holds: bool) -> Finding:
    return true("it is so", holds, "by eye", of="claim" if kind == "claim" else "theory")


# Findings


@pytest.mark.parametrize(
    ("measured", "holds"), [(95.0, True), (105.0, True), (94.9, False), (105.1, False)]
)
def test_a_share_of_the_expected_figure_is_allowed_either_way(measured: float, holds: bool) -> None:
    assert near("x", "B", 100, measured, "", within=0.05).holds is holds


def test_what_is_allowed_in_its_unit_counts_where_it_is_more() -> None:
    assert near("x", "B", 100, 103, "", by=3, within=0.01).holds
    assert not near("x", "B", 100, 103.5, "", by=3, within=0.01).holds


def test_with_nothing_allowed_it_is_the_same_figure() -> None:
    assert near("x", "B", 100, 100, "").holds
    assert not near("x", "B", 100, 100.001, "").holds


def test_a_share_of_a_negative_figure_is_no_negative_reach() -> None:
    assert near("x", "B", -100, -104, "", within=0.05).holds


def test_bounds_are_inside() -> None:
    assert bounded("x", "B", 10, "", least=10).holds
    assert not bounded("x", "B", 9.9, "", least=10).holds
    assert bounded("x", "B", 10, "", most=10).holds
    assert not bounded("x", "B", 10.1, "", most=10).holds


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        ([("theory", True), ("claim", True)], "reproduced"),
        ([("theory", True), ("claim", False)], "erratum"),
        ([("theory", False), ("claim", True)], "not reproduced"),
        ([("theory", False), ("claim", False)], "not reproduced"),
    ],
)
def test_the_verdict_follows_from_the_findings(findings: list[tuple[str, bool]], said: str) -> None:
    assert verdict([of(kind, holds) for kind, holds in findings]) == said


def test_nothing_found_is_no_verdict() -> None:
    with pytest.raises(ValueError, match="no verdict"):
        verdict([])


# The registry


def test_every_experiment_can_be_loaded_and_predicts_the_same_each_time() -> None:
    claims = [load(name).claim for name in EXPERIMENTS]
    assert len({claim.title for claim in claims}) == len(EXPERIMENTS) == len(set(EXPERIMENTS))
    for name in EXPERIMENTS:
        assert repr(load(name).predict()) == repr(load(name).predict()), name


def test_every_module_with_a_claim_is_registered() -> None:
    folder = Path(scorecard.__file__).parent
    found = {
        file.stem.replace("_", "-")
        for file in folder.glob("*.py")
        if "\nEXPERIMENT = " in file.read_text("utf-8")
    }
    assert found == set(EXPERIMENTS)


def test_every_claim_is_told_in_both_languages_and_has_a_source() -> None:
    for name in EXPERIMENTS:
        claim = load(name).claim
        assert all(claim.__getattribute__(field) for field in claim.__struct_fields__), name
        for text in (claim.title_ko, claim.says_ko):
            assert any("가" <= letter <= "힣" for letter in text), name


def test_titles_are_sentences_of_the_modules() -> None:
    found = dict(titles())
    assert list(found) == list(EXPERIMENTS)
    assert all(title.endswith(".") for title in found.values()), found


def test_a_name_nearly_right_is_answered_with_the_right_one() -> None:
    with pytest.raises(UsageError, match="did you mean idle-polling"):
        load("idle-poling")


# The command


def test_a_claim_that_holds_ends_with_status_0(
    known: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known(coin=coin(1.0))
    assert command.reproduce(["all"], 1, tmp_path) == 0
    assert "reproduced (재현됨)" in capsys.readouterr().out
    (file,) = tmp_path.glob("*-scorecard.json")
    card = json.loads(file.read_bytes())
    assert (card["format"], card["seed"]) == (scorecard.FORMAT, 1)
    assert [report["verdict"] for report in card["reports"]] == ["reproduced"]


@pytest.mark.parametrize("experiment", [coin(5.0), coin(1.0, error="install a mint")])
def test_one_that_does_not_hold_or_cannot_be_run_ends_with_status_1(
    known: Callable[..., None], tmp_path: Path, experiment: Experiment[float, float]
) -> None:
    known(good=coin(1.0), bad=experiment)
    assert command.reproduce(["good", "bad"], 1, tmp_path) == 1
    (file,) = tmp_path.glob("*-scorecard.json")
    verdicts = [each["verdict"] for each in json.loads(file.read_bytes())["reports"]]
    assert verdicts[0] == "reproduced"
    assert verdicts[1] != "reproduced"


@pytest.mark.parametrize("where", ["out", "markdown"])
def test_where_nothing_can_be_written_nothing_is_tried(
    known: Callable[..., None], tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    known(coin=coin(1.0))
    (tmp_path / "file").write_text("")
    nowhere = tmp_path / "file" / "x"
    out, markdown = (nowhere, None) if where == "out" else (tmp_path, nowhere)
    with pytest.raises(UsageError, match="file"):
        command.reproduce(["coin"], 1, out, markdown)
    assert not capsys.readouterr().out


def test_interrupted_it_says_how_far_it_came(
    known: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(work: Coroutine[object, object, Report]) -> Report:
        work.close()
        raise KeyboardInterrupt

    known(coin=coin(1.0))
    monkeypatch.setattr("asyncio.run", interrupted)
    assert command.reproduce(["coin"], 1, tmp_path) == command.INTERRUPTED
    assert "0 of 1 claims were tried" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_why_it_could_not_be_run_is_said(
    known: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known(coin=coin(1.0, error="no coin here; install a mint"))
    command.reproduce(["coin"], 1, tmp_path, tmp_path / "CARD.md")
    assert "no coin here; install a mint" in capsys.readouterr().out
    assert "no coin here; install a mint" in (tmp_path / "CARD.md").read_text("utf-8")


def test_a_figure_that_is_no_number_holds_nothing() -> None:
    assert verdict([near("x", "B", 1, float("nan"), "")]) == "not reproduced"


# The scorecard


def card(*reports: Report) -> scorecard.Card:
    from labs.bench import results

    return scorecard.Card(
        format=scorecard.FORMAT,
        made_at="2026-01-02T03:04:05+00:00",
        elapsed_s=3.0,
        seed=1,
        machine=results.this_machine(),
        versions={"Python": "3.11"},
        reports=list(reports),
    )


def report(*findings: Finding, others_cpu: float = 0.0) -> Report:
    return Report(
        name="coin",
        claim=CLAIM,
        verdict=verdict(findings),
        findings=list(findings),
        others_cpu=others_cpu,
        plot="<svg></svg>",
    )


def test_page_and_markdown_tell_claim_figures_and_what_was_allowed() -> None:
    found = report(
        near("size", "B", 2_000, 2_010, "at the tap; 3 runs", within=0.01),
        bounded("more", "times", 12.5, "by eye", least=10, of="claim"),
        true("seen", False, "by eye", of="claim"),
    )
    page, text = scorecard.html(card(found)), scorecard.document(card(found))
    for said in ("2,000", "2,010", "± 1 %", "from 10", "does not hold, claim", "at the tap"):
        assert said in page, said
        assert said in text, said
    assert "sees the &lt;other&gt; one" in page
    assert "erratum" in text
    assert "정오표" in page
    assert "<svg></svg>" in page


def test_others_at_work_are_a_warning() -> None:
    quiet, busy = report(of("theory", True)), report(of("theory", True), others_cpu=1.2)
    assert not list(scorecard.notes(quiet))
    assert "1.2 cores" in next(scorecard.notes(busy))


def test_the_summary_counts_the_verdicts() -> None:
    screen = Console(record=True, width=100)
    good, wrong = report(of("theory", True)), report(of("claim", False))
    scorecard.summary(screen, card(good, good, wrong))
    assert "3 claims: 2 reproduced, 1 erratum" in screen.export_text()


def test_where_it_cannot_be_written_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="file"):
        scorecard.write(card(report(of("theory", True))), tmp_path / "file")
