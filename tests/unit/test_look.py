"""Looks: what is taken over is what would have been made anew, and a change of meaning never goes unnoticed."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from collector.cluster import Cluster
from collector.fleet import ClusterView, States, view
from collector.look import Look
from collector.pauses import Pause
from tests.support.collecting import verdict
from validator.health import CheckState, HealthSettings, expires_at, step, went_stale
from validator.model import Check, Lifecycle
from validator.reasons import Health, Reason

START = 1_800_000_000.0
ID = UUID(int=1)
CLUSTER = Cluster(ID, "c", "static", "https://c", None, {"team": "a"}, Lifecycle.ACTIVE, START)
PAUSE = Pause(1, ID, "moving", "me", START, None, 1)


def heard(at: float, reason: Reason | None = None, check: Check = Check.APISERVER) -> CheckState:
    return step(None, verdict(ID, at, reason, check=check), HealthSettings())


def look(before: Look | None, states: States, now: float, cluster: Cluster = CLUSTER, **kinds: object) -> Look:
    """A look at one cluster."""
    after = Look(before)
    after.see(cluster, states, now, **kinds)  # type: ignore[arg-type]
    after.end()
    return after


def meaning(seen: ClusterView) -> object:
    """All but the texts of facts that don't decide."""
    checks = [(c.state, c.health, c.reason, c.stage, c.since, c.last_known) for c in seen.checks]
    return seen.cluster, seen.rollup, checks, seen.heard_at, seen.pending, seen.pause


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
        seen = after.see(cluster, states, now, pause=pause)
        after.end()
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
    assert after.see(CLUSTER, states, START + 100).health is Health.UNHEALTHY
    after.end()
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
    nobody.end()
    assert nobody.changed
    other = look(None, states, START, replace(CLUSTER, id=UUID(int=2)))
    assert look(other, states, START).changed


def test_an_equal_cluster_from_another_reading_of_its_source_is_none() -> None:
    first = look(None, {}, START)
    assert not look(first, {}, START, replace(CLUSTER, labels=dict(CLUSTER.labels))).changed
