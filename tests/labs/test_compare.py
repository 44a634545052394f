"""`labs compare`: ratios, what differs, and thresholds beyond the noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from labs.bench import results
from labs.bench.compare import changes, compare, differences, lacking
from labs.bench.intervals import ratio
from labs.bench.results import Result
from labs.bench.thresholds import METRICS, Threshold
from labs.bench.workload import WORKLOADS
from labs.errors import LabError, UsageError
from labs.wire.traffic import Traffic
from tests.labs.made import MACHINE, STEADY, WINDOWS, result, run, timed

OLD_MS = (2.0, 2.02, 1.98, 2.01, 1.99)


def measured(factor: float = 1.0, wider: int = 0, **changes: Any) -> Result:
    """A result whose latencies are so many times 2 ms, with so many bytes more."""
    steady = Traffic(0, 60, {**STEADY, "down/http_head/steady": 50_000 + wider})
    windows = {**WINDOWS, "steady": steady}
    runs = [run("bytes", windows=windows), *timed(*(ms * factor for ms in OLD_MS))]
    return result(*runs, run("bytes", workload="idle"), **{"workloads": BOTH, **changes})


BOTH = [WORKLOADS["paced"], WORKLOADS["idle"]]


def saved(folder: Path, old: Result, new: Result) -> tuple[Path, Path]:
    return results.save(old, folder / "old"), results.save(new, folder / "new")


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_a_threshold_does_not_judge_another_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = saved(tmp_path, measured(), measured(url="http://127.0.0.1:3000"))
    assert compare(*files) == 0
    assert "server: ours -> http://127.0.0.1:3000" in said(capsys)
    with pytest.raises(UsageError, match="the server of the old result is ours"):
        compare(*files, ["latency.p99>10%"])


# Ratios


def test_every_metric_both_have_is_compared() -> None:
    found = {
        (change.workload, change.metric): change.ratio
        for change in changes(measured(), measured(1.2, wider=20_000))
    }
    assert set(found) == {
        *(("paced", metric) for metric in METRICS if metric != "bytes.idle"),
        *(("idle", metric) for metric in ("bytes.idle", "requests", "cpu")),
    }
    p99 = found["paced", "latency.p99"]
    assert p99.value == pytest.approx(1.2, rel=1e-2)
    assert p99.low is not None
    assert p99.low > 1.15
    assert p99.delta == 1.0
    bytes_ = found["paced", "bytes.delivery"]
    assert (bytes_.to, bytes_.of, bytes_.value, bytes_.low) == (200.0, 220.0, 1.1, None)
    assert found["idle", "bytes.idle"].of == 200_000, "200,000 B of 20 clients in 3 s"
    assert found["paced", "cpu"].of == 25.0


def test_something_that_was_nothing_is_an_infinite_rise() -> None:
    def asking(requests: int) -> Result:
        windows = {**WINDOWS, "steady": Traffic(0, requests, STEADY)}
        return result(run("bytes", windows=windows))

    for new, value, verdict in ((0, 1.0, "kept"), (5, float("inf"), "past")):
        (found,) = [each for each in changes(asking(0), asking(new)) if each.metric == "requests"]
        assert found.ratio.value == value
        assert Threshold.parse("requests>10%").judge(found.ratio, found.new) == verdict


def test_a_void_latency_is_not_compared() -> None:
    old = measured()
    wrong = run("latency", 9, wrong=["message 3 at client 4: lost"])
    new = msgspec.structs.replace(old, runs=[*old.runs, wrong])
    assert not [each for each in changes(old, new) if each.metric.startswith("latency")]
    assert "paced, polling: the latency runs of the new one are void" in [*differences(old, new)]


def test_void_bytes_are_not_compared_and_latencies_are() -> None:
    old = measured()
    wrong = run("bytes", 9, wrong=["message 3 at client 4: lost"])
    new = msgspec.structs.replace(old, runs=[*old.runs, wrong])
    found = {each.metric for each in changes(old, new) if each.workload == "paced"}
    assert found == {"latency.p50", "latency.p95", "latency.p99", "cpu"}
    assert "paced, polling: the bytes runs of the new one are void" in [*differences(old, new)]
    assert list(lacking("requests", old, new)) == [
        "paced, polling: cannot be judged, messages met a wrong fate in the new result"
    ]


def test_what_ended_a_result_before_its_time_is_told() -> None:
    old, new = measured(ended="Interrupted: 3 runs are kept."), measured(ended="the server died")
    assert list(differences(old, new)) == [
        "the old one ended before its time: Interrupted: 3 runs are kept.",
        "the new one ended before its time: the server died",
    ]


def test_what_the_new_result_lacks_is_named() -> None:
    old = measured()
    without = [each for each in old.runs if each.kind == "bytes"]
    slower = [WORKLOADS["paced"].but(rate_per_s=10.0), WORKLOADS["idle"]]
    for new, why in (
        (msgspec.structs.replace(old, runs=without), "the new result does not have it"),
        (measured(workloads=slower), "the workload is not the same in the new result"),
        (result(), "the new result does not have it"),
    ):
        assert list(lacking("latency.p99", old, new)) == [
            f"paced, polling: cannot be judged, {why}"
        ]
    assert not list(lacking("latency.p99", old, measured(2.0)))
    assert not list(lacking("latency.p99", result(*without), old)), "nor has the old one"


def test_a_changed_workload_of_the_same_name_is_told_and_not_compared() -> None:
    slower = [WORKLOADS["paced"].but(rate_per_s=10.0, question="?"), WORKLOADS["idle"]]
    old, new = measured(), measured(workloads=slower)
    assert {each.workload for each in changes(old, new)} == {"idle"}
    assert list(differences(old, new)) == [
        "workload paced: not the same (rate_per_s), so not compared"
    ]


def test_what_else_differs_is_told() -> None:
    old = measured()
    new = measured(
        seed=2,
        machine=msgspec.structs.replace(MACHINE, cores=8),
        versions={"this project": "2", "Python": "3.11", "aiohttp": "4"},
        workloads=[WORKLOADS["paced"]],
        url="http://127.0.0.1:1",
        variants=["polling", "websocket"],
    )
    assert list(differences(old, new)) == [
        "machine: cores 2 -> 8",
        "version: aiohttp none -> 4",
        "version: this project 1 -> 2",
        "seed: 1 -> 2",
        "server: ours -> http://127.0.0.1:1",
        "workload idle: only in the old one",
        "variant websocket: only in the new one",
    ]
    assert not list(differences(old, measured(1.5)))


# Thresholds

STEADY_RUNS = [100.0, 101.0, 99.0, 100.5, 99.5]


@pytest.mark.parametrize(
    ("text", "new", "verdict"),
    [
        ("latency.p99>10%", [120.0, 121.0, 119.0, 120.5, 119.5], "past"),
        ("latency.p99>10%", [109.0, 109.5, 108.5, 109.2, 108.8], "kept"),
        ("latency.p99>10%", [112.0, 140.0, 100.0, 112.5, 105.0], "undecided"),
        ("latency.p99>10%", [112.0, 112.0], "past"),
        ("latency.p99>10%", [110.0, 110.0], "kept"),
        ("latency.p99 > -10 %", [120.0, 121.0, 119.0], "past"),
        ("latency.p99<-10%", [80.0, 81.0, 79.0], "past"),
        ("latency.p99<-10%", [95.0, 96.0, 94.0], "kept"),
        ("latency.p99>115", [120.0, 121.0, 119.0], "past"),
        ("latency.p99>115", [120.0, 121.0, 110.0], "undecided"),
        ("latency.p99>125", [120.0, 121.0, 119.0], "kept"),
        ("latency.p99<119.9", [119.0], "past"),
    ],
)
def test_a_threshold_counts_when_the_whole_interval_is_past_it(
    text: str, new: list[float], verdict: str
) -> None:
    change = ratio(new, STEADY_RUNS)
    assert change
    assert Threshold.parse(text).judge(change, new) == verdict


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' is no threshold; give METRIC>NUMBER%, say latency.p99>10%. Metrics are"),
        ("latency.p99", "is no threshold"),
        ("latency.p99>", "is no threshold"),
        ("latency.p99>ten%", "is no threshold"),
        ("latency.p99=10%", "is no threshold"),
        ("latency.p99>10%%", "is no threshold"),
        ("latency.p98>10%", "no metric is called 'latency.p98'; did you mean latency.p9"),
        ("speed>10%", "no metric is called 'speed'; there are latency.p50, "),
    ],
)
def test_a_bad_threshold_names_the_metrics_there_are(text: str, why: str) -> None:
    with pytest.raises(UsageError) as raised:
        Threshold.parse(text)
    assert why in str(raised.value)
    assert all(metric in str(raised.value) for metric in METRICS)


# The command


def test_the_command_prints_ratios_and_fails_past_a_threshold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = saved(tmp_path, measured(), measured(1.2, wider=20_000))
    assert compare(old, new) == 0
    shown = said(capsys)
    assert "latency.p50, ms 2.00 2.40 1.200 1.18-1.22 1.00 large" in shown
    assert "bytes.delivery, B 200 220 1.100 - -" in shown
    assert compare(old, new, ["latency.p50>10%", "bytes.delivery>9%", "cpu>1%"]) == 1
    shown = said(capsys)
    assert "failed: latency.p50>10%: paced, polling: +20.0 % (+18.3 to +21.9)" in shown
    assert (
        "failed: bytes.delivery>9%: paced, polling: +10.0 %, by the medians of too few runs for "
        "an interval" in shown
    )
    assert "cpu>1%:" not in shown


def test_the_command_says_when_no_threshold_is_passed_and_what_is_undecided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = saved(tmp_path, measured(), measured(1.105))
    assert compare(old, new, ["latency.p50>10%"]) == 0
    shown = said(capsys)
    assert "undecided: latency.p50>10%: paced, polling: +10.5 %" in shown
    assert "No threshold is passed, beyond the noise." in shown


def test_a_void_latency_passes_its_threshold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = run("latency", 9, wrong=["message 3 at client 4: lost"])
    before = measured()
    old, new = saved(tmp_path, before, msgspec.structs.replace(before, runs=[*before.runs, wrong]))
    assert compare(old, new, ["latency.p99>10%"]) == 1
    assert "cannot be judged, messages met a wrong fate in the new result" in said(capsys)
    assert compare(old, new, ["bytes.delivery>10%"]) == 0


def test_what_the_new_result_lacks_passes_its_threshold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = measured()
    cut = msgspec.structs.replace(before, runs=before.runs[:1], ended="the server died")
    old, new = saved(tmp_path, before, cut)
    assert compare(old, new, ["latency.p99>10%"]) == 1
    shown = said(capsys)
    assert "the new one ended before its time: the server died" in shown
    assert "failed: latency.p99>10%: paced, polling: cannot be judged, the new result" in shown
    assert "No threshold is passed" not in shown


def test_a_threshold_that_guards_nothing_is_refused(tmp_path: Path) -> None:
    old, new = saved(tmp_path, measured(workloads=[WORKLOADS["idle"]]), measured())
    with pytest.raises(UsageError, match=r"have no latency.p99 to compare; they have bytes.idle"):
        compare(old, new, ["latency.p99>10%"])


def test_results_that_share_nothing_are_refused(tmp_path: Path) -> None:
    old, new = saved(tmp_path, measured(), measured(variants=["websocket"]))
    with pytest.raises(UsageError, match="no workload and variant in common"):
        compare(old, new)


def test_what_is_no_file_and_what_is_another_format_are_refused(tmp_path: Path) -> None:
    old, new = saved(tmp_path, measured(), measured())
    with pytest.raises(UsageError, match=r"none.json is no file; give two results"):
        compare(old, tmp_path / "none.json")
    foreign = {**msgspec.json.decode(new.read_bytes()), "format": 99}
    new.write_bytes(msgspec.json.encode(foreign))
    with pytest.raises(LabError, match="has format 99"):
        compare(old, new)
