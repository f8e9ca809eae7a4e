"""Times as people type them."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.cli.times import MAX_S, moment, seconds

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [("90s", 90), ("30m", 1800), ("30min", 1800), ("2h", 7200), ("1h30m", 5400), ("1 h 30 m", 5400), ("7D", 604_800)],
)
def test_spans(text: str, expected_s: int) -> None:
    assert seconds(text) == expected_s


@pytest.mark.parametrize("text", ["", "2", "h", "2x", "-2h", "2h!", "0s", "11y", "999999999d", "٣h", "1.5h", "2h\n3"])
def test_what_is_no_span_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"30m|ten years"):
        seconds(text)


@given(st.text(max_size=30))
def test_no_text_is_read_as_something_beyond_the_bounds(text: str) -> None:
    for ahead in (True, False):
        try:
            found = moment(text, NOW, ahead=ahead)
        except ValueError:
            continue
        assert found.tzinfo is not None
        assert found == NOW or ahead == (found > NOW)
    with suppress(ValueError):
        assert 0 < seconds(text) <= MAX_S


@pytest.mark.parametrize(
    ("text", "ahead", "expected"),
    [
        ("2h", True, NOW + timedelta(hours=2)),
        ("7d", False, NOW - timedelta(days=7)),
        ("18:00", True, NOW.replace(hour=18, minute=0)),
        ("9:00", True, NOW.replace(day=22, hour=9, minute=0)),
        ("18:00", False, NOW.replace(day=20, hour=18, minute=0)),
        ("9:00", False, NOW.replace(hour=9, minute=0)),
        ("2026-12-01T18:00Z", True, datetime(2026, 12, 1, 18, tzinfo=UTC)),
        ("2026-11-01T18:00+02:00", False, datetime(2026, 11, 1, 16, tzinfo=UTC)),
        ("2026-12-01", True, datetime(2026, 12, 1).astimezone()),
    ],
)
def test_moments(text: str, *, ahead: bool, expected: datetime) -> None:
    assert moment(text, NOW, ahead=ahead) == expected


@pytest.mark.parametrize(("text", "ahead", "says"), [("2020-01-01", True, "over"), ("2030-01-01", False, "to come")])
def test_a_moment_on_the_wrong_side_is_refused(text: str, *, ahead: bool, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        moment(text, NOW, ahead=ahead)


def test_what_is_no_moment_is_refused_with_examples() -> None:
    with pytest.raises(ValueError, match=re.escape("2026-12-01T18:00Z")):
        moment("tomorrow", NOW, ahead=True)
