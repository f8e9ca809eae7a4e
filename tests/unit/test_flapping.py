"""The flap window against an independent ring of floats, and its exact edges."""

from __future__ import annotations

from collections import deque
from itertools import chain, cycle, islice, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validator.flapping import NO_FLAP, SLOTS, Flap, record, share
from validator.reasons import Health

UP, WARN, BAD, GONE, DUNNO = (
    Health.HEALTHY,
    Health.DEGRADED,
    Health.UNHEALTHY,
    Health.UNREACHABLE,
    Health.UNKNOWN,
)
ENTER, LEAVE = 0.30, 0.25

answers = st.lists(st.sampled_from([UP, WARN, BAD, GONE, DUNNO]), max_size=60)


def fold(*heard: Health, start: Flap = NO_FLAP) -> Flap:
    flap = start
    for answer in heard:
        flap = record(flap, answer, enter=ENTER, leave=LEAVE)
    return flap


def bits(*ages: int) -> int:
    return sum(1 << age for age in ages)


def heard_after(before: int, *, flapping: bool) -> Flap:
    """One quiet answer onto a window that holds `before`, given as it will be after the shift."""
    assert before & 1 == 0
    return fold(UP, start=Flap(before >> 1, flapping, UP))


@given(answers)
def test_the_window_is_a_ring_of_weighted_changes(heard: list[Health]) -> None:
    ring = deque([False] * SLOTS, maxlen=SLOTS)  # oldest first
    side: Health | None = None
    flapping = False
    flap = NO_FLAP
    for answer in heard:
        flap = fold(answer, start=flap)
        if answer is not DUNNO:
            now = BAD if answer is GONE else answer
            ring.append(side is not None and now is not side)
            side = now
            # twenty times the share, in whole hundredths, so that the edges are exact
            hundredths = sum(80 + 2 * i for i, changed in enumerate(ring) if changed)
            flapping = hundredths > (500 if flapping else 600)
        assert share(flap.bits) == pytest.approx(sum(0.8 + 0.02 * i for i, c in enumerate(ring) if c) / SLOTS)
        assert flap.flapping is flapping
        assert flap.last is side


@given(answers)
def test_flapping_starts_and_ends_only_at_its_own_threshold(heard: list[Health]) -> None:
    flap = NO_FLAP
    for answer in heard:
        before, flap = flap, fold(answer, start=flap)
        if flap.flapping and not before.flapping:
            assert share(flap.bits) > ENTER
        if before.flapping and not flap.flapping:
            assert share(flap.bits) <= LEAVE
        if LEAVE < share(flap.bits) <= ENTER:
            assert flap.flapping is before.flapping


def test_the_newest_change_weighs_most_and_a_full_window_99_hundredths() -> None:
    assert share(bits(0)) == 0.059
    assert share(bits(SLOTS - 1)) == 0.040
    assert share(bits(*range(SLOTS))) == 0.99
    assert share(0) == 0


def test_every_other_answer_failing_is_flapping_at_the_sixth_change() -> None:
    alternating = list(islice(cycle([UP, GONE]), 7))
    assert not fold(*alternating[:6]).flapping
    assert fold(*alternating).flapping


def test_after_constant_flapping_it_takes_fifteen_quiet_answers_to_calm_down() -> None:
    wild = fold(*islice(cycle([UP, GONE]), 40))
    last = wild.last
    assert wild.flapping
    assert last is not None
    assert fold(*repeat(last, 14), start=wild).flapping
    assert not fold(*repeat(last, 15), start=wild).flapping


def test_exactly_30_percent_is_not_yet_flapping() -> None:
    at_edge, above = bits(2, 16, 4, 14, 8, 10), bits(2, 16, 4, 14, 8, 9)
    assert (share(at_edge), share(above)) == (0.300, 0.301)
    assert not heard_after(at_edge, flapping=False).flapping
    assert heard_after(above, flapping=False).flapping


def test_exactly_25_percent_is_no_longer_flapping() -> None:
    at_edge, above = bits(2, 16, 4, 14, 9), bits(2, 16, 4, 14, 8)
    assert (share(at_edge), share(above)) == (0.250, 0.251)
    assert not heard_after(at_edge, flapping=True).flapping
    assert heard_after(above, flapping=True).flapping


def test_one_outage_is_not_flapping() -> None:
    assert not fold(*chain(repeat(UP, 5), repeat(GONE, 5), repeat(UP, 5))).flapping


def test_down_in_changing_ways_is_not_flapping() -> None:
    assert fold(*islice(cycle([BAD, GONE]), 40)) == Flap(0, flapping=False, last=BAD)


def test_a_finding_that_comes_and_goes_is_flapping() -> None:
    assert fold(*islice(cycle([UP, WARN]), 20)).flapping


def test_an_answer_that_says_nothing_takes_no_slot() -> None:
    heard = list(islice(cycle([UP, GONE]), 20))
    with_gaps = chain.from_iterable((answer, DUNNO) for answer in heard)
    assert fold(*with_gaps) == fold(*heard)
    assert fold(*repeat(DUNNO, 30)) is NO_FLAP


def test_the_first_answer_is_no_change() -> None:
    assert fold(GONE).bits == 0


def test_a_change_is_forgotten_after_twenty_answers() -> None:
    assert fold(UP, GONE, *repeat(GONE, 19)).bits == bits(SLOTS - 1)
    assert fold(UP, GONE, *repeat(GONE, 20)).bits == 0


def test_a_quiet_check_makes_no_garbage() -> None:
    quiet = fold(UP)
    assert record(quiet, UP, enter=ENTER, leave=LEAVE) is quiet
