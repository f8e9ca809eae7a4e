"""Transitions are told in the order of their ids, whatever comes back first and whatever never comes back."""

from __future__ import annotations

from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.publication import Publication, Subject
from collector.transition import Transition
from validator.model import Check
from validator.reasons import Health


def subject(number: int) -> Subject:
    return Subject(UUID(int=number), Check.APISERVER)


def made(number: int, of: Subject) -> Transition:
    return Transition(
        id=number,
        at=0.0,
        cluster_id=of.cluster_id,
        cluster_name="c",
        check=of.check,
        from_health=Health.HEALTHY,
        to_health=Health.UNREACHABLE,
        since=0.0,
        reason=None,
        stage=None,
        message="",
        evidence={},
        flapping=False,
        collapsed=0,
        changes=1,
    )


@pytest.fixture
def told() -> list[int]:
    return []


@pytest.fixture
def publication(told: list[int]) -> Publication:
    publication = Publication(lambda transition: told.append(transition.id))
    publication.begin(100)
    return publication


def test_a_lower_id_that_is_answered_later_is_told_first(publication: Publication, told: list[int]) -> None:
    publication.sending(subject(1), 1)
    publication.sending(subject(2), 1)
    publication.resolved(subject(2), made(102, subject(2)))
    assert told == []
    assert publication.position == 100
    publication.resolved(subject(1), made(101, subject(1)))
    assert told == [101, 102]
    assert publication.position == 102


def test_what_was_answered_before_a_commit_began_need_not_wait_for_it(
    publication: Publication, told: list[int]
) -> None:
    publication.sending(subject(1), 1)
    publication.resolved(subject(1), made(101, subject(1)))
    publication.sending(subject(2), 1)
    assert told == [101]


def test_all_is_held_back_while_an_answer_is_lost(publication: Publication, told: list[int]) -> None:
    publication.sending(subject(1), 1)
    for number in (2, 3):
        publication.sending(subject(number), 1)
        publication.resolved(subject(number), made(100 + number, subject(number)))
    publication.sending(subject(1), 2)  # tried again, with what it has become
    assert told == []
    publication.resolved(subject(1), made(101, subject(1)))
    assert told == [101, 102, 103]


def test_a_commit_that_turns_out_never_to_have_happened_holds_nothing_back(
    publication: Publication, told: list[int]
) -> None:
    publication.sending(subject(1), 1)
    publication.sending(subject(2), 1)
    publication.resolved(subject(2), made(101, subject(2)))
    publication.resolved(subject(1), None)
    assert told == [101]


def test_a_row_that_is_refused_holds_nothing_back(publication: Publication, told: list[int]) -> None:
    publication.sending(subject(1), 1)
    publication.sending(subject(2), 1)
    publication.resolved(subject(2), made(101, subject(2)))
    publication.refused(subject(1), 1)
    assert told == [101]
    assert publication.open_questions() == []


def test_a_refused_row_says_nothing_about_the_version_before_it(publication: Publication, told: list[int]) -> None:
    publication.sending(subject(1), 1)
    publication.sending(subject(1), 2)
    publication.refused(subject(1), 2)
    assert publication.open_questions() == [subject(1)]
    assert publication.doubts[subject(1)].versions == {1}


def test_a_cluster_that_is_gone_is_still_asked_about(publication: Publication, told: list[int]) -> None:
    publication.forget(subject(7))  # nothing under way
    assert publication.open_questions() == []
    publication.sending(subject(1), 1)
    publication.forget(subject(1))
    assert publication.open_questions() == [subject(1)]
    publication.resolved(subject(1), made(101, subject(1)))
    assert told == [101]
    assert publication.open_questions() == []


@given(seed=st.integers(0, 2**32), committers=st.integers(1, 6), lost=st.floats(0, 0.5))
@settings(max_examples=200, deadline=None)
def test_the_order_is_kept_for_any_order_of_answers(seed: int, committers: int, lost: float) -> None:
    """A sequence gives ids out at any time between a commit's beginning and its answer, or its answer's loss."""
    random, told = Random(seed), list[int]()
    publication = Publication(lambda transition: told.append(transition.id))
    sequence, committed = 0, list[int]()
    under_way: dict[int, int | None] = {}
    in_doubt: dict[int, int | None] = {}
    for number in range(40):
        while len(under_way) >= random.randint(1, committers):
            for one in random.sample(list(under_way), random.randint(1, len(under_way))):
                if under_way[one] is None and random.random() < 0.8:
                    sequence += random.randint(1, 3)
                    under_way[one] = sequence
                    committed.append(sequence)
            one = random.choice(list(under_way))
            number_given = under_way.pop(one)
            if random.random() < lost:
                in_doubt[one] = number_given
            else:
                publication.resolved(subject(one), made(number_given, subject(one)) if number_given else None)
        publication.sending(subject(number), 1)
        under_way[number] = None
        assert told == sorted(told)
        assert all(i <= publication.position or i > max(told, default=0) for i in committed)
        assert set(told) == {i for i in committed if i <= publication.position}
    for one, given_id in (under_way | in_doubt).items():
        publication.resolved(subject(one), made(given_id, subject(one)) if given_id else None)
    assert told == sorted(committed)
