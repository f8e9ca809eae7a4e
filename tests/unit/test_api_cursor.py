"""Cursors: read back as written, and told apart when damaged, from another query, or of another version."""

from __future__ import annotations

import base64
from hashlib import blake2s

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.api.cursor import MAX_CURSOR_CHARS, VERSION, CursorError, Position, decode, encode

positions = st.builds(
    Position,
    st.integers(-10, 10),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.uuids().map(str),
)
ANY = Position(1, -1_800_000_000.25, "köln 東京", "id")


@given(positions, st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_written_is_read(position: Position, query: str) -> None:
    assert decode(encode(position, query), query) == position


@given(positions, st.data())
def test_no_single_character_can_change_unnoticed(position: Position, data: st.DataObject) -> None:
    cursor = encode(position, "q")
    place = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.sampled_from("ABCabc012-_=+ é").filter(lambda char: char != cursor[place]))
    with pytest.raises(CursorError, match="damaged"):
        decode(cursor[:place] + other + cursor[place + 1 :], "q")


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_whatever_comes_is_refused(text: str) -> None:
    with pytest.raises(CursorError):
        decode(text, "q")


def test_a_cursor_of_another_query_is_told() -> None:
    with pytest.raises(CursorError, match="from another query"):
        decode(encode(ANY, "one"), "other")


def test_a_cursor_of_another_version_is_told() -> None:
    raw = base64.urlsafe_b64decode(encode(ANY, "q") + "===")
    later = bytes([VERSION + 1]) + raw[1:-8]
    cursor = base64.urlsafe_b64encode(later + blake2s(later, digest_size=8).digest()).decode().rstrip("=")
    with pytest.raises(CursorError, match="another version of the service: it has 2, and this one reads 1"):
        decode(cursor, "q")


@pytest.mark.parametrize(
    "made_up", [b"", b"{}", b"[1,2.0,3,4]", b'[true,1.0,"a","b"]', b'[1,NaN,"a","b"]', b'[1,1e999,"a","b"]', b"[" * 900]
)
def test_a_forged_position_is_no_position(made_up: bytes) -> None:
    body = bytes([VERSION]) + blake2s(b"q", digest_size=8).digest() + made_up
    cursor = base64.urlsafe_b64encode(body + blake2s(body, digest_size=8).digest()).decode().rstrip("=")
    with pytest.raises(CursorError, match="made up"):
        decode(cursor, "q")


def test_the_longest_honest_cursor_is_taken() -> None:
    longest = Position(1, -1_800_000_000.123456, "\U0001f40b" * 512, "6d757374-6572-4000-8000-000000000000")
    cursor = encode(longest, "q")
    assert len(cursor) <= MAX_CURSOR_CHARS
    assert decode(cursor, "q") == longest
