"""Looks: what is taken over is what would have been made anew, and a change of meaning never goes unnoticed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from collector.cluster import Cluster
from collector.fleet import ClusterView, FleetSnapshot, States, snapshot, view
from collector.look import Look
from collector.pauses import Pause
from tests.support.collecting import verdict
from validator.health import CheckState, HealthSettings, expires_at, step, went_stale
from validator.model import Check, Lifecycle, SubjectId
from validator.reasons import Health, Reason

START = 1_800_000_000.0
ID = UUID(int=1)
CLUSTER = Cluster(ID, "c", "static", "https://c", None, {"team": "a"}, Lifecycle.ACTIVE, START)
PAUSE = Pause(1, ID, "moving", "me", START, None, 1)


def heard(at: float, reason: Reason | None = None, check: Check = Check.APISERVER) -> CheckState:
    return step(None, verdict(ID, at, reason, check=check), HealthSettings())


def see(
    look: Look,
    states: States,
    now: float,
    cluster: Cluster = CLUSTER,
    *,
    pending: bool = False,
    pause: Pause | None = None,
) -> None:
    look.see([cluster], {cluster.id: states}, now, pending=lambda _: pending, pause=lambda *_: pause)


def look(before: Look | None, states: States, now: float, cluster: Cluster = CLUSTER, **kinds: Any) -> Look:
    """A look at one cluster."""
    after = Look(before)
    see(after, states, now, cluster, **kinds)
    after.end(now)
    return after


def meaning(seen: ClusterView) -> object:
    """All but the texts of facts that don't decide."""
    checks = [(c.state, c.health, c.reason, c.stage, c.since, c.last_known) for c in seen.checks]
    return seen.cluster, seen.rollup, checks, seen.heard_at, seen.pending, seen.pause


lifecycles = st.sampled_from([Lifecycle.ACTIVE, Lifecycle.ACTIVE, Lifecycle.HIBERNATED])
answers = st.sampled_from([None, Reason.NOT_READY, Reason.CONNECT_TIMEOUT])
changes = st.sampled_from(["verdict", "sweep", "label", "pause", "nothing", "nothing", "nothing"])


@given(st.lists(st.tuples(changes, st.sampled_from(list(Check)), st.integers(0, 60), st.booleans()), max_size=15))
def test_what_is_taken_over_is_what_would_have_been_made_anew(
    script: list[tuple[str, Check, int, bool]],
) -> None:
    now, cluster, states, pause = START, CLUSTER, dict[Check, CheckState](), None
    before: Look | None = None
    shown: ClusterView | None = None
    for change, check, seconds, bad in script:
        now += seconds
        match change:
            case "verdict":
                reason = Reason.CONNECT_TIMEOUT if bad else None
                states[check] = step(states.get(check), verdict(ID, now, reason, check=check), HealthSettings())
            case "sweep":
                states.update({each: went_stale(state, now) for each, state in states.items()})
            case "label":
                cluster = replace(cluster, labels={"team": "b" if bad else "a"})
            case "pause":
                pause = None if pause else PAUSE
        after = Look(before)
        see(after, states, now, cluster, pause=pause)
        seen = after.end(now).clusters[ID]
        fresh = view(cluster, states, now, pause=pause)
        assert meaning(seen) == meaning(fresh)
        if shown is not None and (shown.health, shown.rollup.reason, shown.rollup.since) != (
            fresh.health,
            fresh.rollup.reason,
            fresh.rollup.since,
        ):
            assert after.changed
        if change == "nothing" and seconds == 0 and before is not None:
            assert not after.changed
        before, shown = after, seen


IDS = [UUID(int=number) for number in range(5)]

steps = st.tuples(st.sampled_from(["verdict", "verdict", "pending", "pause", "label", "go"]), st.sampled_from(IDS))


@given(st.lists(st.tuples(st.lists(steps, max_size=4), st.integers(0, 60)), max_size=8), st.data())
def test_looks_one_after_the_other_make_the_picture_that_is_made_of_nothing_but_the_facts(
    script: list[tuple[list[tuple[str, UUID]], int]], data: st.DataObject
) -> None:
    clusters: dict[UUID, Cluster] = {}
    states: dict[SubjectId, dict[Check, CheckState]] = {}
    pending, pauses = set[UUID](), dict[UUID, Pause]()
    shown: Mapping[UUID, ClusterView] = {}
    now, before = START, None
    for changes, seconds in script:
        now += seconds
        for change, one in changes:
            cluster = clusters.setdefault(one, replace(CLUSTER, id=one, lifecycle=data.draw(lifecycles)))
            match change:
                case "verdict":
                    answer = verdict(one, now, data.draw(answers), check=data.draw(st.sampled_from(list(Check))))
                    held = states.setdefault(one, {})
                    held[answer.check] = step(held.get(answer.check), answer, HealthSettings())
                case "pending":
                    pending ^= {one}
                case "pause":
                    pauses[one] = replace(PAUSE, cluster_id=one, until=data.draw(st.none() | st.just(now + 40)))
                case "label":
                    clusters[one] = replace(cluster, labels={"team": data.draw(st.sampled_from("ab"))})
                case "go":
                    del clusters[one]
        known = {one: pause for one, pause in pauses.items() if pause.until is None or now < pause.until}
        after = Look(before)
        for some in data.draw(st.permutations(sorted(clusters))):
            after.see([clusters[some]], states, now, pending=pending.__contains__, pause=lambda one, _: known.get(one))  # noqa: B023 - called at once
        picture = after.end(now)

        fresh = Look()
        fresh.see(clusters.values(), states, now, pending=pending.__contains__, pause=lambda one, _: known.get(one))  # noqa: B023 - called at once
        assert _comparable(picture) == _comparable(fresh.end(now))
        unpaused = snapshot((c for c in clusters.values() if c.id not in known), states, now, pending.__contains__)
        assert {one: meaning(v) for one, v in unpaused.clusters.items()} == {
            one: meaning(v) for one, v in picture.clusters.items() if one not in known
        }
        if not known:
            assert _comparable(picture) == _comparable(unpaused)
        told = dict(shown)
        for one, (was, became) in after.changes.items():
            assert told.get(one) is was
            told.pop(one, None)
            if became is not None:
                told[one] = became
        assert {one: id(v) for one, v in told.items()} == {one: id(v) for one, v in picture.clusters.items()}
        before, shown = after, picture.clusters


def _comparable(picture: FleetSnapshot) -> object:
    views = {one: meaning(each) for one, each in picture.clusters.items()}
    return views, picture.counts, picture.oldest_age_s, picture.flapping, picture.now


def test_the_first_look_is_a_change() -> None:
    assert Look().changed


def test_another_answer_that_says_the_same_is_none() -> None:
    first = look(None, {Check.APISERVER: heard(START)}, START)
    state = step(heard(START), verdict(ID, START + 30, None), HealthSettings())
    assert not look(first, {Check.APISERVER: state}, START + 30).changed


def test_a_fact_that_outlives_its_allowance_is_a_change_at_that_moment_and_no_other() -> None:
    states = {Check.APISERVER: heard(START)}
    ends = expires_at(states[Check.APISERVER])
    first = look(None, states, START)
    last = look(first, states, ends)
    assert not last.changed
    gone = look(last, states, ends + 0.001)
    assert gone.changed
    assert not look(gone, states, ends + 60).changed, "it is Unknown already"


def test_a_fact_that_does_not_decide_is_a_change_too_when_it_expires() -> None:
    bad = step(None, replace(verdict(ID, START, Reason.NOT_READY), allowance_s=500.0), HealthSettings())
    states = {Check.APISERVER: bad, Check.CREDENTIAL: heard(START, check=Check.CREDENTIAL)}
    first = look(None, states, START)
    after = Look(first)
    see(after, states, START + 100)
    assert after.end(START + 100).clusters[ID].health is Health.UNHEALTHY
    assert after.changed


def test_clusters_that_come_or_go_labels_pauses_and_what_is_pending_are_changes() -> None:
    states = {Check.APISERVER: heard(START)}
    first = look(None, states, START)
    assert not look(first, states, START).changed
    assert look(first, states, START, replace(CLUSTER, labels={"team": "b"})).changed
    assert look(first, states, START, replace(CLUSTER, lifecycle=Lifecycle.HIBERNATED)).changed
    assert look(first, states, START, pending=True).changed
    assert look(first, states, START, pause=PAUSE).changed
    nobody = Look(first)
    nobody.end(START)
    assert nobody.changed
    other = look(None, states, START, replace(CLUSTER, id=UUID(int=2)))
    assert look(other, states, START).changed


def test_an_equal_cluster_from_another_reading_of_its_source_is_none() -> None:
    first = look(None, {}, START)
    assert not look(first, {}, START, replace(CLUSTER, labels=dict(CLUSTER.labels))).changed
