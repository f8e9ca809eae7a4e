"""The picture: the same facts make the same picture, what is stale is never green, and the worst comes first."""

from __future__ import annotations

from collections import Counter
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from collector.cluster import Cluster
from collector.fleet import FleetSnapshot, snapshot, view
from tests.support.collecting import verdict
from validator.health import CheckState, HealthSettings, expires_at, shift, step, went_stale
from validator.model import Check, Lifecycle
from validator.reasons import Health, Reason

START = 1_800_000_000.0
REASONS = (None, Reason.CONNECT_TIMEOUT, Reason.NOT_READY, Reason.CLOCK_SKEW, Reason.HUB_OUT_OF_DESCRIPTORS)
GREEN = {Health.HEALTHY, Health.DEGRADED}

States = dict[UUID, dict[Check, CheckState]]


def cluster(number: int, name: str | None = None, lifecycle: Lifecycle = Lifecycle.ACTIVE) -> Cluster:
    return Cluster(UUID(int=number), name or f"c{number}", "static", "https://c", None, {}, lifecycle, START)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[Cluster], States, float]:
    """Clusters (names repeat), their states after a few verdicts each, and a moment to look at them."""
    clusters: list[Cluster] = []
    states: States = {}
    for number in range(draw(st.integers(0, 8))):
        one = cluster(number, draw(st.sampled_from("ab")), draw(st.sampled_from(list(Lifecycle))))
        clusters.append(one)
        for check in draw(st.sets(st.sampled_from(list(Check)))):
            state = None
            for reason in draw(st.lists(st.sampled_from(REASONS), min_size=1, max_size=4)):
                at = START + draw(st.integers(0, 400))
                state = step(state, verdict(one.id, at, reason, check=check), HealthSettings(fail_after=2))
            assert state is not None
            states.setdefault(one.id, {})[check] = state
    return clusters, states, START + draw(st.integers(400, 600))


@given(fleets(), st.randoms(use_true_random=False))
def test_the_order_of_the_inputs_does_not_matter(fleet: tuple[list[Cluster], States, float], random: Random) -> None:
    clusters, states, now = fleet
    shuffled = random.sample(clusters, len(clusters))
    again = {one.id: dict(reversed(states[one.id].items())) for one in shuffled if one.id in states}
    assert snapshot(shuffled, again, now) == snapshot(clusters, states, now)


@given(fleets())
def test_nothing_older_than_its_allowance_is_green(fleet: tuple[list[Cluster], States, float]) -> None:
    clusters, states, now = fleet
    picture = snapshot(clusters, states, now)
    for seen in picture.clusters.values():
        for shown in seen.checks:
            assert now <= expires_at(shown.state) or shown.health is Health.UNKNOWN
        if any(now > expires_at(shown.state) for shown in seen.checks):
            assert seen.health not in GREEN


@given(fleets())
def test_the_picture_is_the_same_whether_or_not_staleness_was_noticed(
    fleet: tuple[list[Cluster], States, float],
) -> None:
    clusters, states, now = fleet
    noticed = {one: {c: went_stale(state, now) for c, state in checks.items()} for one, checks in states.items()}
    assert _shown(snapshot(clusters, noticed, now)) == _shown(snapshot(clusters, states, now))


@given(fleets(), st.integers(-100_000, 100_000))
def test_a_moved_clock_moves_the_picture_and_nothing_in_it(
    fleet: tuple[list[Cluster], States, float], by_s: int
) -> None:
    clusters, states, now = fleet
    moved = {one: {c: shift(state, by_s) for c, state in checks.items()} for one, checks in states.items()}
    before, after = snapshot(clusters, states, now), snapshot(clusters, moved, now + by_s)
    assert [(v.cluster.id, v.health, v.age_s(now)) for v in before.clusters.values()] == [
        (v.cluster.id, v.health, v.age_s(now + by_s)) for v in after.clusters.values()
    ]


@given(fleets())
def test_everybody_is_in_it_and_counted_once(fleet: tuple[list[Cluster], States, float]) -> None:
    clusters, states, now = fleet
    picture = snapshot(clusters, states, now)
    assert picture.clusters.keys() == {one.id for one in clusters}
    counts = Counter(v.health for v in picture.clusters.values())
    assert picture.counts == {health: counts[health] for health in Health}


class TestOneCluster:
    def test_without_a_verdict_it_is_unknown_and_says_so(self) -> None:
        seen = view(cluster(1), {}, START)
        assert (seen.health, seen.rollup.reason, seen.age_s(START)) == (Health.UNKNOWN, Reason.NOT_CHECKED_YET, None)

    def test_the_age_is_that_of_the_fact_that_decides(self) -> None:
        states = {
            Check.APISERVER: _after(Check.APISERVER, None, START),
            Check.CREDENTIAL: _after(Check.CREDENTIAL, Reason.CREDENTIAL_REJECTED, START - 30),
        }
        seen = view(cluster(1), states, START + 10)
        assert (seen.rollup.check, seen.age_s(START + 10)) == (Check.CREDENTIAL, 40)

    def test_an_age_is_never_below_zero(self) -> None:
        assert (
            view(cluster(1), {Check.APISERVER: _after(Check.APISERVER, None, START)}, START - 5).age_s(START - 5) == 0
        )

    def test_its_checks_stand_in_one_order(self) -> None:
        checks = [Check.IDENTITY, Check.APISERVER, Check.CREDENTIAL]
        seen = view(cluster(1), {check: _after(check, None, START) for check in checks}, START)
        assert [shown.state.check for shown in seen.checks] == sorted(checks, key=list(Check).index)


class TestTheWhole:
    def test_pending_is_asked_for_each(self) -> None:
        seen = snapshot([cluster(1), cluster(2)], {}, START, lambda cluster_id: cluster_id.int == 2)
        assert {v.cluster.id.int: v.pending for v in seen.clusters.values()} == {1: False, 2: True}

    def test_the_oldest_age_is_of_those_that_are_judged(self) -> None:
        clusters = [cluster(1), cluster(2, lifecycle=Lifecycle.HIBERNATED), cluster(3)]
        states = {
            one.id: {Check.APISERVER: _after(Check.APISERVER, None, START - 10 * one.id.int, one.id)}
            for one in clusters[:2]
        }
        assert snapshot(clusters, states, START).oldest_age_s == 10

    def test_an_empty_fleet_is_a_picture_too(self) -> None:
        picture = snapshot([], {}, START)
        assert picture == FleetSnapshot(START, {}, dict.fromkeys(Health, 0), None, 0)


def _after(check: Check, reason: Reason | None, at: float, cluster_id: UUID | None = None) -> CheckState:
    return step(None, verdict(cluster_id or UUID(int=1), at, reason, check=check), HealthSettings())


def _shown(picture: FleetSnapshot) -> list[object]:
    """All but the states that lie beneath."""
    return [
        (
            v.cluster.id,
            v.rollup.health,
            v.rollup.reason,
            v.rollup.message,
            v.rollup.since,
            v.rollup.last_known,
            v.heard_at,
        )
        for v in picture.clusters.values()
    ]
