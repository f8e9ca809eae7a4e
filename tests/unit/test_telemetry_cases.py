"""docs/telemetry-cases.md names tests that there are, and leaves no case out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES = range(1, 31)

_NUMBERS = re.compile(r"_h(\d+)(?=_)")
_ROWS = re.findall(r"^\| H(\d+) \| (.+?) \| (.+) \|$", (ROOT / "docs/telemetry-cases.md").read_text(), re.MULTILINE)


def numbers(test: str) -> set[int]:
    """The cases that a test is about: `test_h18_h4_…` is about two."""
    return {int(number) for number in _NUMBERS.findall(test)}


@pytest.fixture(scope="module")
def tests() -> dict[str, set[int]]:
    """All that there are, with their cases."""
    written = "".join(path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py")))
    return {name: numbers(name) for name in re.findall(r"^\s*(?:async )?def (test_\w+)\(", written, re.MULTILINE)}


def test_each_case_stands_there_once_and_in_order() -> None:
    assert [int(number) for number, _, _ in _ROWS] == list(CASES)
    assert all(told.endswith(".") for _, told, _ in _ROWS)


@pytest.mark.parametrize(("number", "shown"), [(int(number), shown) for number, _, shown in _ROWS])
def test_the_tests_of_a_case_exist_and_have_its_number(number: int, shown: str, tests: dict[str, set[int]]) -> None:
    named = re.findall(r"`(test_\w+)`", shown)
    assert named
    assert [name for name in named if number not in tests.get(name, ())] == []


def test_no_test_is_about_a_case_that_there_is_not(tests: dict[str, set[int]]) -> None:
    assert {number for about in tests.values() for number in about} == set(CASES)
