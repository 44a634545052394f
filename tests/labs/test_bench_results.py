"""Histograms and results on disk: they come back as they were, or not at all."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hdrh.histogram import HdrHistogram

from labs.bench import results
from labs.bench.compare import compare
from labs.bench.record import histogram, packed, unpacked
from labs.bench.report import report_files
from labs.bench.soundness import _check_histogram
from labs.errors import LabError
from tests.labs.made import hdr, result, run


def test_histograms_survive_their_encoding() -> None:
    taken = histogram([1_000, 2_000_000, 30_000_000_000])
    again = unpacked(packed(taken))
    assert again.get_total_count() == 3
    assert [again.get_value_at_percentile(q) for q in (1, 50, 100)] == [
        taken.get_value_at_percentile(q) for q in (1, 50, 100)
    ]


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
    with pytest.raises(LabError, match="has format 99; this version reads format 2"):
        results.load(path)


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"runs": []}', b'{"format": 2}', b"\xff"])
def test_what_is_no_result_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(LabError, match="is no result"):
        results.load(path)


def test_a_missing_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="No such file"):
        results.load(tmp_path / "none.json")


# Damaged ones


def damaged(folder: Path, damage: Callable[[Any], object]) -> Path:
    """A result's file in which something was changed."""
    path = results.save(result(run("bytes"), run("latency")), folder)
    content = msgspec.json.decode(path.read_bytes())
    damage(content)
    path.write_bytes(msgspec.json.encode(content))
    return path


def outcome(content: Any) -> Any:
    return content["runs"][1]["outcome"]


def cells(content: Any) -> Any:
    return content["runs"][0]["windows"]["steady"]["cells"]


GOOD = hdr(1, 2, 3)
WIDE = HdrHistogram(1, 10**12, 2)
WIDE.record_value(10**11)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda c: c.update(runs=[]), "it has no runs"),
        (lambda c: outcome(c).update(corrected=GOOD[:-9]), "is no histogram"),
        (lambda c: outcome(c).update(uncorrected=GOOD[:30] + "AAAA" + GOOD[34:]), "is no histogr"),
        (lambda c: outcome(c).update(back="nothing"), "'nothing' is no histogram"),
        (lambda c: outcome(c).update(probes="아무것도"), "'아무것도' is no histogram"),
        (lambda c: outcome(c).update(probes=packed(WIDE)), "is no histogram"),
        (lambda c: outcome(c).update(timeline=[""]), "'' is no histogram"),
        (lambda c: outcome(c).update(fates={"eaten": 3}), r"runs\[1\]: the fate 'eaten' of 3"),
        (lambda c: outcome(c).update(fates={"lost": -3}), r"runs\[1\]: the fate 'lost' of -3"),
        (lambda c: cells(c).update({"up": 3}), r"runs\[0\]: 'up' names no bytes; .* up/text/stea"),
        (lambda c: cells(c).update({"up/a/b/c": 3}), r"runs\[0\]: 'up/a/b/c' names no bytes"),
        (lambda c: c["runs"][0].update(predicted={"a": 3}), r"runs\[0\]: 'a' names no bytes"),
        (lambda c: c["workloads"][0].update(clients=0), "paced: clients is 0; give 1 to 20000"),
        (lambda c: c["workloads"][0].update(settings={"hold": 1}), "did you mean hold_s"),
        (lambda c: c["workloads"][0].update(arrivals="often"), "Invalid enum value 'often'"),
    ],
)
def test_a_damaged_result_is_told_with_its_name(
    tmp_path: Path, damage: Callable[[Any], object], said: str
) -> None:
    path = damaged(tmp_path, damage)
    for read in (results.load, report_files, lambda path: compare(path, path)):
        with pytest.raises(LabError, match=f"{re.escape(str(path))} is no result .*{said}"):
            read(path)


def test_one_byte_of_a_histogram_that_is_not_its_own_is_noticed() -> None:
    """The V2 encoding is compressed with a checksum (RFC 1950)."""
    chance, head = random.Random(1), 12  # a version, a word size and a length
    for _ in range(50):
        place = chance.randrange(head, len(GOOD) - 4)
        other = chance.choice([each for each in "abcXYZ019+" if each != GOOD[place]])
        spoilt = GOOD[:place] + other + GOOD[place + 1 :]
        with pytest.raises(LabError, match="is no histogram"):
            _check_histogram(spoilt)
