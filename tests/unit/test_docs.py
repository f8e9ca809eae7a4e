"""The page of reasons is what the table says."""

from __future__ import annotations

import re
from pathlib import Path

from muster.docs import PAGE, main, reason_link, reasons_page
from validator.reasons import REASONS, Reason

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / PAGE).read_text(encoding="utf-8") == reasons_page(), "run `make docs`"


def test_every_reason_has_its_row_and_every_link_its_anchor() -> None:
    page = reasons_page()
    assert sorted(re.findall(r'<a id="(\w+)"', page)) == sorted(reason.lower() for reason in REASONS)
    for reason in Reason:
        path, _, anchor = reason_link(reason).partition("#")
        assert path == PAGE
        assert f'<a id="{anchor}"></a>**{reason}**' in page


def test_every_row_has_its_five_cells() -> None:
    rows = [line for line in reasons_page().splitlines() if line.startswith("| <a")]
    assert len(rows) == len(REASONS)
    assert {len(re.split(r"(?<!\\)\|", row)) for row in rows} == {7}


def test_the_page_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    assert main([str(tmp_path / "reasons.md")]) == 0
    assert (tmp_path / "reasons.md").read_text(encoding="utf-8") == reasons_page()
