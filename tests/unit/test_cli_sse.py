"""Server-sent events, from lines to events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.cli import sse
from muster.cli.errors import NotReachable
from muster.cli.sse import Event, events_of


def test_an_event_has_a_name_data_and_the_id_that_stands() -> None:
    lines = [
        "id: 7",
        "event: transition",
        "data: a",
        "data:b",
        "",
        "data: c",
        "",
        ": heartbeat",
        "",
        "id: 9",
        "",
        "data: x",
    ]
    assert list(events_of(lines)) == [
        Event("transition", "a\nb", "7"),
        Event("message", "c", "7"),
        Event("", id="7"),
    ]  # what has no empty line after it was cut off, and is no event


def test_a_heartbeat_moves_the_id_forward() -> None:
    assert list(events_of(["id: 8", ": heartbeat", ""])) == [Event("", id="8")]


def test_unknown_fields_and_bad_ids_are_passed_over() -> None:
    assert list(events_of(["retry: 5", "what: ever", "id: a\0b", "alone", "data", "", ""])) == [Event("message", "")]


def test_an_event_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_DATA_CHARS", 1000)
    with pytest.raises(NotReachable, match="larger than any"):
        list(events_of(["data: " + "x" * 100] * 20))


@given(st.lists(st.text(st.characters(blacklist_characters="\r\n"), max_size=20), max_size=30))
def test_no_lines_break_it(lines: list[str]) -> None:
    assert all(isinstance(event.data, str) for event in events_of(lines))
