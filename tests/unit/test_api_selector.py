"""Label selectors: what Kubernetes reads is read, with the same meaning; all else is refused at its place."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from muster.api.selector import EVERYTHING, MAX_SELECTOR_CHARS, Operator, Requirement, Selector, SelectorError, parse

LABELS = {"team": "storage", "env": "prod", "weight": "7", "empty": "", "x.io/role": "a-b_c.d"}

keys = st.sampled_from(["team", "env", "weight", "empty", "absent", "in", "notin", "x.io/role", "A", "0"])
values = st.sampled_from(["", "storage", "prod", "stage", "in", "notin", "7", "a-b_c.d"])
labels = st.dictionaries(keys, values)


@st.composite
def requirements(draw: st.DrawFn) -> Requirement:
    operator = draw(st.sampled_from(list(Operator)))
    chosen: tuple[str, ...] = ()
    if operator in {Operator.GREATER, Operator.LESS}:
        chosen = (str(draw(st.integers(0, 2**63 - 1))),)
    elif operator in {Operator.IN, Operator.NOT_IN}:
        chosen = tuple(sorted(draw(st.sets(values, min_size=1))))
    return Requirement(draw(keys), operator, chosen)


selectors = st.sets(requirements(), max_size=6).map(
    lambda chosen: Selector(tuple(sorted(chosen, key=lambda each: (each.key, each.operator, each.values))))
)


@given(selectors)
def test_what_a_selector_prints_is_that_selector(selector: Selector) -> None:
    assert parse(str(selector)) == selector


@given(selectors, st.lists(st.sampled_from(["", " ", "\t", "\r\n  "]), min_size=1))
def test_white_space_between_words_means_nothing(selector: Selector, spaces: list[str]) -> None:
    text = str(selector)
    for number, mark in enumerate(("(", ")", ",", "!", ">", "<")):
        space = spaces[number % len(spaces)]
        text = text.replace(mark, f"{space}{mark}{space}")
    assert parse(text) == selector


@given(st.text(alphabet=st.sampled_from("aAinot0-._/=!<>(), \t\n\0é"), max_size=40) | st.text(max_size=60))
@example("a in (")
@example("a\n")
def test_whatever_comes_is_read_or_refused_at_a_place_within_it(text: str) -> None:
    refused: SelectorError | None = None
    try:
        selector = parse(text)
    except SelectorError as error:
        refused = error
    if refused is None:
        assert parse(str(selector)) == selector
    else:
        assert 0 <= refused.position <= len(text)
        assert str(refused).startswith(f"at character {refused.position + 1}: ")


@given(selectors, labels)
def test_a_selector_matches_what_all_of_its_requirements_match(selector: Selector, given: dict[str, str]) -> None:
    assert selector.matches(given) == all(Selector((each,)).matches(given) for each in selector.requirements)


@given(keys, st.sets(values, min_size=1), labels)
def test_what_is_not_in_a_set_is_notin_it(key: str, chosen: set[str], given: dict[str, str]) -> None:
    some = tuple(sorted(chosen))
    assert Requirement(key, Operator.IN, some).matches(given) != Requirement(key, Operator.NOT_IN, some).matches(given)


@pytest.mark.parametrize(
    ("text", "matches"),  # of LABELS
    [
        ("", True),
        (" \t ", True),
        ("team", True),
        ("absent", False),
        ("!absent", True),
        ("! team", False),
        ("team=storage", True),
        ("team==storage", True),
        ("team = storage , env = prod", True),
        ("team=storage,env=stage", False),
        ("team!=storage", False),
        ("absent!=anything", True),
        ("env in (stage,prod)", True),
        ("env in(stage)", False),
        ("env notin (stage)", True),
        ("absent notin (a)", True),
        ("absent in (,a)", False),
        ("empty in ()", True),
        ("empty=", True),
        ("empty=,team", True),
        ("team in (,)", False),
        ("weight>6", True),
        ("weight > 7", False),
        ("weight<8", True),
        ("team>1", False),
        ("absent<1", False),
        ("x.io/role=a-b_c.d", True),
        ("in notin (in)", True),
        ("team notin (in,notin)", True),
    ],
)
def test_labels_are_matched_as_in_kubernetes(text: str, matches: object) -> None:
    assert parse(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("a=b,", 4, "found the end, expected a label's key or '!' after ','"),
        (",a", 0, "found ',', expected a label's key or '!'"),
        ("a b", 2, "found 'b', expected ',', the end, or one of =, ==, in, !=, notin, >, <"),
        ("a!b", 1, "found '!'"),
        ("!a=b", 2, "found '=', expected ',' or the end"),
        ("!", 1, "found the end, expected a label's key"),
        ("a in b", 5, "found 'b', expected '('"),
        ("a in (b", 7, "found the end, expected ',' or ')'"),
        ("a in (b c)", 8, "found 'c', expected ',' or ')'"),
        ("a in (=)", 6, "found '=', expected a value"),
        ("a=b=c", 3, "found '=', expected ',' or the end"),
        ("a=!", 2, "found '!', expected a value"),
        ("a>", 2, "found the end, expected an integer"),
        ("a>b", 2, "found 'b', expected an integer"),
        ("a>9223372036854775808", 2, "expected an integer"),
        ("a>-1", 2, "begins and ends with a letter or digit"),
        ("=b", 0, "found '='"),
        ("-a", 0, "'-a': a key has at most 63"),
        (f"{'k' * 64}=b", 0, "a key has at most 63"),
        (f"a={'v' * 64}", 2, "a value has at most 63"),
        ("a=ü", 2, "'ü': a value"),
        ("X.io/a", 0, "the part of a key before '/' is a DNS name"),
        ("/a", 0, "the part of a key before '/'"),
        ("a/b/c", 0, "the part of a key before '/'"),
        ("x.io/", 0, "a key has at most 63"),
        (f"{'x' * 254}/a", 0, "of at most 253 characters"),
        ("a" * (MAX_SELECTOR_CHARS + 1), MAX_SELECTOR_CHARS, "too long"),
        (",".join(f"k{number}" for number in range(101)), 394, "too many requirements"),
    ],
)
def test_an_error_tells_the_place_and_what_was_expected(text: str, position: int, says: str) -> None:
    with pytest.raises(SelectorError) as raised:
        parse(text)
    assert raised.value.position == position
    assert says in str(raised.value)


def test_names_of_the_longest_allowed_length_are_taken() -> None:
    key, value = f"{'x' * 253}/{'k' * 63}", "v" * 63
    assert parse(f"{key}={value}").matches({key: value})


def test_two_ways_to_say_the_same_are_one_selector() -> None:
    assert parse("b==2,a in (y,x,y),a in (x,y)") == parse(" a in ( x , y ) , b in (2)")
    assert str(parse("")) == ""
    assert parse("") == EVERYTHING
