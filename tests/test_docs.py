"""What the documents point to is there, and what was generated is not stale."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labs.experiments import EXPERIMENTS, load
from labs.experiments.scorecard import KOREAN

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    *ROOT.glob("*/README.md"),
]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
CARD = ROOT / "docs" / "SCORECARD.md"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(document: Path) -> None:
    links = LINK.findall(document.read_text(encoding="utf-8"))
    lost = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not lost


def test_the_scorecard_tells_of_every_claim_as_it_is_now() -> None:
    text = CARD.read_text(encoding="utf-8")
    told = dict(re.findall(r"^`labs reproduce ([a-z0-9-]+)`: \*\*([a-z ]+)\*\*", text, re.M))
    assert list(told) == list(EXPERIMENTS)
    assert set(told.values()) <= {"reproduced", "erratum"} < set(KOREAN)
    for name in EXPERIMENTS:
        claim = load(name).claim
        for said in (claim.title, claim.title_ko, claim.says, claim.source):
            assert said in text, f"{name}: make scorecard"
