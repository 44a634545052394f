"""Histograms and results on disk: they come back as they were, or not at all."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from labs.bench import results
from labs.bench.record import histogram, packed, unpacked
from labs.errors import LabError
from tests.labs.made import result, run


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
