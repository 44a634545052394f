"""From runs to figures, results on disk, and the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from labs.bench import results, stats
from labs.bench.record import FATES, Outcome, histogram, packed, unpacked
from labs.bench.report import page
from labs.bench.results import Kind, Result, Run, ServerUse
from labs.bench.table import columns, groups
from labs.bench.workload import WORKLOADS
from labs.errors import LabError
from labs.wire.tap import Traffic

# Figures


def test_histograms_survive_their_encoding() -> None:
    taken = histogram([1_000, 2_000_000, 30_000_000_000])
    again = unpacked(packed(taken))
    assert again.get_total_count() == 3
    assert [again.get_value_at_percentile(q) for q in (1, 50, 100)] == [
        taken.get_value_at_percentile(q) for q in (1, 50, 100)
    ]


def test_percentiles_of_runs_are_merged_and_not_averaged() -> None:
    quick = packed(histogram([1_000_000] * 990))
    slow = packed(histogram([100_000_000] * 10))
    found = stats.latency([quick, slow])
    assert found
    assert found.count == 1_000
    assert found.p50_ms == pytest.approx(1.0, rel=1e-3)
    assert found.p99_ms == pytest.approx(1.0, rel=1e-3)
    assert found.max_ms == pytest.approx(100.0, rel=1e-3)


def outcome(wrong: Sequence[str] = (), **changes: Any) -> Outcome:
    given: dict[str, Any] = {
        "fates": {**dict.fromkeys(FATES, 0), "delivered": 1_000 - len(wrong), "lost": len(wrong)},
        "wrong": list(wrong),
        "text_bytes": 2_000,
        "corrected": packed(histogram([2_000_000] * 1_000)),
        "uncorrected": packed(histogram([1_000_000] * 1_000)),
        "missed_ticks": 0,
        "lag_most_ms": 0.5,
        "generator_cpu": 0.1,
    }
    return Outcome(**{**given, **changes})


def run(kind: Kind, number: int = 1, others_cpu: float = 0.0, **changes: Any) -> Run:
    phases = {
        "join": Traffic(20, 40, 2_000, 4_000),
        "steady": Traffic(0, 60, 30_000, 170_000),
        "leave": Traffic(0, 20, 100, 100),
    }
    return Run(
        workload="paced",
        variant="polling",
        kind=kind,
        number=number,
        started_at="2026-01-01T00:00:00+00:00",
        window_s=2.0,
        steady_s=3.0,
        outcome=outcome(**changes),
        server=ServerUse(0.25, 40_000_000, 42_000_000),
        others_cpu=others_cpu,
        log=[],
        phases=phases if kind == "bytes" else {},
    )


def result(*runs: Run, ended: str = "") -> Result:
    return Result(
        format=results.FORMAT,
        made_at="2026-01-01T00:00:00+00:00",
        elapsed_s=12.0,
        ended=ended,
        seed=1,
        variants=["polling"],
        workloads=[WORKLOADS["paced"]],
        machine=results.this_machine(),
        versions=results.versions(),
        runs=list(runs),
    )


def cells(found: Result) -> dict[str, str]:
    (column,) = columns(found, WORKLOADS["paced"])
    return {row.label: row.read(column) for group in groups(WORKLOADS["paced"]) for row in group}


def test_the_figures_of_a_table() -> None:
    shown = cells(result(run("bytes"), run("latency"), run("latency", 2)))
    assert WORKLOADS["paced"].deliveries == 1_000
    assert shown["messages, all runs"] == "150"
    assert shown["deliveries, all runs"] == "3,000"
    assert shown["lost"] == "0"
    assert shown["requests, all clients"] == "60"
    assert shown["bytes up per client"] == "1,500"
    assert shown["bytes down per client"] == "8,500"
    assert shown["bytes per delivery"] == "200"
    assert shown["overhead ratio"] == "5.0"
    assert shown["latency p50, ms"] == "2.00"
    assert shown["uncorrected p50, ms"] == "1.00"
    assert shown["server CPU, % of a core"] == "25.0"


def test_a_wrong_fate_voids_the_latency() -> None:
    bad = run("latency", 2, wrong=["message 3 at client 4: lost"])
    found = result(run("bytes"), run("latency"), bad)
    shown = cells(found)
    assert shown["lost"] == "1"
    assert shown["latency p50, ms"] == shown["uncorrected p99, ms"] == "void"
    assert "message 3 at client 4: lost" in stats.warnings(found)[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"generator_cpu": 0.97}, "the generator was the limit (97% of a core)"),
        (
            {"missed_ticks": 7, "lag_most_ms": 31.4},
            "7 of 50 messages were begun more than 10 ms",
        ),
        ({"others_cpu": 0.9}, "other programs took up to 0.9 cores"),
        (
            {"fates": {**dict.fromkeys(FATES, 0), "recovered": 3}},
            "3 deliveries came after a broken",
        ),
    ],
)
def test_doubts_are_told(changes: dict[str, Any], said: str) -> None:
    found = result(run("bytes"), run("latency", **changes))
    assert [each for each in stats.warnings(found) if said in each]


def test_runs_that_disagree_are_told() -> None:
    other = packed(histogram([3_000_000] * 1_000))
    found = result(run("bytes"), run("latency"), run("latency", 2, corrected=other))
    assert stats.warnings(found) == [
        "polling, paced: may be unstable: the p50 of its runs are 2, 3 ms"
    ]


def test_a_good_result_has_no_warnings() -> None:
    assert stats.warnings(result(run("bytes"), run("latency"), run("latency", 2))) == []


# Results


def test_a_result_comes_back_as_it_was(tmp_path: Path) -> None:
    made = result(run("bytes"), run("latency"), ended="Interrupted")
    path = results.save(made, tmp_path / "new" / "folder")
    assert path.name == "20260101T000000Z.json"
    assert results.load(path) == made


def test_a_result_is_never_overwritten(tmp_path: Path) -> None:
    path = results.save(result(run("bytes")), tmp_path)
    before = path.read_bytes()
    with pytest.raises(LabError, match="exists"):
        results.save(result(), tmp_path)
    assert path.read_bytes() == before


def test_a_result_of_another_version_is_refused(tmp_path: Path) -> None:
    path = results.save(result(run("bytes")), tmp_path)
    foreign = {**msgspec.json.decode(path.read_bytes()), "format": 99, "runs": "unheard of"}
    path.write_bytes(msgspec.json.encode(foreign))
    with pytest.raises(LabError, match="has format 99; this version reads format 1"):
        results.load(path)


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"runs": []}', b'{"format": 1}', b"\xff"])
def test_what_is_no_result_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(LabError, match="is no result"):
        results.load(path)


def test_a_missing_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="No such file"):
        results.load(tmp_path / "none.json")


# The report


def test_the_report_stands_alone_and_puts_warnings_first() -> None:
    bad = run("latency", wrong=["message 3 at client 4: <lost>"])
    html = page(result(run("bytes"), bad))
    assert html.index("message 3 at client 4: &lt;lost&gt;") < html.index("<table")
    assert html.count("<svg") == 1, "a latency that is void is not drawn"
    assert page(result(run("bytes"), run("latency"))).count("<svg") == 2
    assert WORKLOADS["paced"].question_ko in html
    for outside in ("src=", "<script", "@import", "<link", "url(http", 'href="http'):
        assert outside not in html
