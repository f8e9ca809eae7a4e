"""Named SQL files: what is wrong with one is told with its path and section."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.sql import load_queries

GOOD = """-- Queries of the tests.

-- name: one
-- Gives one.
SELECT 1;

-- name: two_lines
-- Gives two,
-- in two lines.
SELECT
    2;
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "queries.sql"
    path.write_text(text)
    return path


def test_queries_are_found_by_name(tmp_path: Path) -> None:
    queries = load_queries(written(tmp_path, GOOD))
    assert dict(queries) == {"one": "SELECT 1;", "two_lines": "-- in two lines.\nSELECT\n    2;"}


def test_an_unknown_name_names_the_file(tmp_path: Path) -> None:
    queries = load_queries(written(tmp_path, GOOD))
    with pytest.raises(KeyError, match=r"queries\.sql has no query named 'three'"):
        queries["three"]
    assert queries.get("three") is None


def test_the_mapping_can_not_be_changed(tmp_path: Path) -> None:
    queries = load_queries(written(tmp_path, GOOD))
    with pytest.raises(TypeError):
        queries["one"] = "SELECT 2"  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GOOD + "-- name: one\n-- Again.\nSELECT 3;", "'one' is given twice"),
        ("-- name: \n-- Nothing.\nSELECT 1;", "needs a snake_case name"),
        ("-- name: CamelCase\n-- Nothing.\nSELECT 1;", "needs a snake_case name"),
        ("-- name: one\nSELECT 1;", "one needs its purpose"),
        ("-- name: one\n-- Gives one.\n", "one has no SQL"),
        ("SELECT 0;\n" + GOOD, "before the first"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_path(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        load_queries(written(tmp_path, text))
    assert "queries.sql" in str(caught.value)
