"""The YAML that sources read: plain, and refused where it could surprise."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validator.discovery.plain_yaml import MAX_DEPTH, YamlError, parse_yaml


def test_plain_values() -> None:
    text = (
        "name: 007\nnorway: no\nyes: true\nnothing: ~\nempty:\nquoted: 'true'\nlist: [1, {a: b}]\nblock: |\n  x\n  y\n"
    )
    assert parse_yaml(text) == {
        "name": "007",
        "norway": "no",
        "yes": True,
        "nothing": None,
        "empty": None,
        "quoted": "true",
        "list": ["1", {"a": "b"}],
        "block": "x\ny\n",
    }


def test_an_empty_text_is_nothing() -> None:
    assert parse_yaml("") is None
    assert parse_yaml("# only a comment\n---\n") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\na: 2", "line 2: the key 'a' is there twice"),
        ("a: &x 1\nb: 2", "line 1: anchors"),
        ("a: 1\nb: *x", "aliases"),
        ("a: 1\n---\nb: 2", "a second document"),
        ("a: !!python/object:os.system x", "tags"),
        ("a: !secret x", "tags"),
        ("[a]: b", "a key is a mapping or a list"),
        ("a: [1,", "did not find expected node content"),
        ("a:\n\t- b", "line 2"),
        ("a: \x01", "control or invalid character"),
        ("[" * 2 * MAX_DEPTH, "nested deeper"),
    ],
)
def test_what_is_refused_is_named_with_its_line(text: str, says: str) -> None:
    with pytest.raises(YamlError) as refusal:
        parse_yaml(text)
    assert says in str(refusal.value)


def test_a_billion_laughs_cost_nothing() -> None:
    lines = ["a0: &a0 [lol]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    started = time.process_time()
    with pytest.raises(YamlError, match="anchors"):
        parse_yaml("\n".join(lines))
    assert time.process_time() - started < 0.5


def test_no_value_is_quoted_in_an_error() -> None:
    with pytest.raises(YamlError) as refusal:
        parse_yaml('token: "s3cret\nother: [')
    assert "s3cret" not in str(refusal.value)


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    said = ""
    try:
        parse_yaml(text)
    except YamlError as error:
        said = str(error)
    assert said.isprintable()
