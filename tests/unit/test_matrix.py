"""The matrix of clusters and locations: its cells, its filters, and what the cells that are not well have in common."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.causes import MAX_CAUSES, Scope, fold
from collector.cluster import Cluster
from collector.matrix import Cell, CellFilter, KnownPair, cell, matrix
from validator.health import CheckState, HealthSettings, step
from validator.locations import Environment, Location, Provider
from validator.model import Check, Lifecycle, Outcome, Pair, Verdict
from validator.reasons import REASONS, Health, Reason

NOW = 1_800_000_000.0
ALLOWANCE_S = 1900.0


def cluster_no(number: int, lifecycle: Lifecycle = Lifecycle.ACTIVE) -> Cluster:
    return Cluster(UUID(int=number), f"prod-{number}", "test", "https://c", None, {}, lifecycle, 0.0)


def location_no(number: int, account: str | None = "accountx") -> Location:
    provider = Provider.S3 if account is None else Provider.AZURE
    environment = None if account is None else Environment.PUBLIC
    return Location(UUID(int=1000 + number), f"backups-{number}", provider, "backups", account, environment)


def state_of(
    outcome: Outcome,
    reason: Reason | None = None,
    *,
    check: Check = Check.LOCATION,
    ago_s: float = 60.0,
    method: str = "agent",
) -> CheckState:
    verdict = Verdict(
        check=check,
        cluster_id=UUID(int=1),
        outcome=outcome,
        observed_at=NOW - ago_s,
        received_at=NOW - ago_s,
        duration_s=0.1,
        lateness_s=0.1,
        allowance_s=ALLOWANCE_S,
        reason=reason,
        stage=None if reason is None else REASONS[reason].stage,
        evidence={"method": method},
    )
    return step(None, verdict, HealthSettings())


def pair_of(*states: CheckState, cluster: Cluster | None = None, location: Location | None = None) -> KnownPair:
    return KnownPair(cluster or cluster_no(1), location or location_no(1), {state.check: state for state in states})


PASS = state_of(Outcome.PASS)
ROLE = state_of(Outcome.FAIL, Reason.ROLE_MISSING)
UNREAD = state_of(Outcome.FINDING, Reason.OBJECT_LOCK_UNREADABLE, check=Check.OBJECT_LOCK, ago_s=10.0)
OLD_BACKUPS = state_of(Outcome.FAIL, Reason.BACKUPS_TOO_OLD, check=Check.BACKUPS)


@pytest.mark.parametrize(
    ("pair", "now", "health", "reason", "age_s"),
    [
        (pair_of(PASS), NOW, Health.HEALTHY, None, 60.0),
        (pair_of(ROLE), NOW, Health.UNHEALTHY, Reason.ROLE_MISSING, 60.0),
        (pair_of(PASS, UNREAD), NOW, Health.DEGRADED, Reason.OBJECT_LOCK_UNREADABLE, 10.0),
        (pair_of(PASS, OLD_BACKUPS), NOW, Health.HEALTHY, None, 60.0),
        (pair_of(), NOW, Health.UNKNOWN, Reason.NOT_CHECKED_YET, None),
        (pair_of(PASS), NOW + ALLOWANCE_S, Health.UNKNOWN, Reason.STALE, 60.0 + ALLOWANCE_S),
        (
            pair_of(ROLE, cluster=cluster_no(1, Lifecycle.HIBERNATED)),
            NOW,
            Health.SUSPENDED,
            Reason.HIBERNATED,
            60.0,
        ),
        (replace(pair_of(ROLE), paused=True), NOW, Health.SUSPENDED, Reason.PAUSED, 60.0),
    ],
)
def test_a_cell(pair: KnownPair, now: float, health: Health, reason: Reason | None, age_s: float | None) -> None:
    seen = cell(pair, now)
    assert (seen.health, seen.reason, seen.age_s(now)) == (health, reason, age_s)
    assert (seen.cluster, seen.location, seen.account) == ("prod-1", "backups-1", "accountx")
    assert seen.method == ("agent" if pair.states else "")


def test_a_cell_of_a_silent_cluster_is_unknown_with_what_was_last_known() -> None:
    seen = cell(pair_of(PASS), NOW + 10_000)
    assert (seen.health, seen.last_known, seen.last_success_at) == (Health.UNKNOWN, Health.HEALTHY, NOW - 60)


FLEET = [
    pair_of(PASS, cluster=cluster_no(2)),
    pair_of(ROLE, cluster=cluster_no(1)),
    pair_of(
        state_of(Outcome.FAIL, Reason.RESOURCE_UNAVAILABLE, method="resource"),
        cluster=cluster_no(1),
        location=location_no(2, None),
    ),
]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (CellFilter(), ["1x1", "1x2", "2x1"]),
        (CellFilter(clusters=frozenset({UUID(int=2)})), ["2x1"]),
        (CellFilter(locations=frozenset({UUID(int=1001)})), ["1x1", "2x1"]),
        (CellFilter(states=frozenset({Health.HEALTHY})), ["2x1"]),
        (CellFilter(reasons=frozenset({Reason.ROLE_MISSING})), ["1x1"]),
        (CellFilter(providers=frozenset({Provider.S3})), ["1x2"]),
        (CellFilter(accounts=frozenset({"accountx"}), states=frozenset({Health.UNHEALTHY})), ["1x1"]),
        (CellFilter(methods=frozenset({"resource"})), ["1x2"]),
        (CellFilter(states=frozenset()), []),
    ],
)
def test_filters(wanted: CellFilter, expected: list[str]) -> None:
    def short(each: Cell) -> str:
        return f"{each.key.cluster_id.int}x{each.key.location_id.int - 1000}"

    assert [short(each) for each in matrix(FLEET, NOW, wanted)] == expected
    assert [short(each) for each in matrix(reversed(FLEET), NOW, wanted)] == expected


def grid(
    clusters: Sequence[int],
    locations: Sequence[int],
    reason: Reason | None,
    *,
    health: Health | None = None,
    account: str | None = "accountx",
) -> list[Cell]:
    row = None if reason is None else REASONS[reason]
    base = cell(pair_of(PASS), NOW)
    return [
        replace(
            base,
            key=Pair(UUID(int=c), UUID(int=1000 + at)),
            cluster=f"prod-{c}",
            location=f"backups-{at}",
            account=account,
            health=health or (row.health if row else Health.HEALTHY),
            reason=reason,
            stage=row.stage if row else None,
            since=NOW - c,
        )
        for c in clusters
        for at in locations
    ]


def texts(cells: Sequence[Cell]) -> list[str]:
    return [cause.text for cause in fold(cells)]


def test_one_missing_role_is_one_line() -> None:
    cells = grid(range(1, 13), [1, 2], Reason.ROLE_MISSING) + grid(range(20, 90), [1, 2], None)
    (cause,) = fold(cells)
    assert cause.text == "12 clusters: RoleMissing on account accountx"
    assert cause.names == "prod-1, prod-10, prod-11, prod-12, prod-2 and 7 more"
    assert (len(cause.pairs), cause.since) == (24, NOW - 12)


def test_a_missing_container_is_not_blamed_on_its_account() -> None:
    assert texts(grid(range(1, 4), [1, 2], Reason.CONTAINER_NOT_FOUND)) == [
        "3 clusters: ContainerNotFound on backups-1",
        "3 clusters: ContainerNotFound on backups-2",
    ]


def test_what_one_cluster_alone_cannot_do_anywhere_is_the_clusters() -> None:
    cells = [
        *grid([7], [1], Reason.ROLE_MISSING, account="one"),
        *grid([7], [2], Reason.ROLE_MISSING, account="two"),
        *grid([7], [3], Reason.ROLE_MISSING, account=None),
    ]
    assert texts(cells) == ["3 locations: RoleMissing from prod-7"]


def test_offline_clusters_are_not_blamed_on_locations() -> None:
    cells = grid(range(1, 4), [1, 2], Reason.STALE, health=Health.UNKNOWN)
    assert texts(cells) == ["3 clusters: Stale (6 pairs)"]
    assert texts(grid([1], [1, 2], Reason.IDENTITY_UNAVAILABLE)) == ["prod-1: IdentityUnavailable (2 pairs)"]


def test_two_causes_that_overlap_share_no_cell() -> None:
    account = grid(range(1, 6), [1], Reason.ROLE_MISSING)
    cluster = [
        *grid([1], [2], Reason.ROLE_MISSING, account="two"),
        *grid([1], [3], Reason.ROLE_MISSING, account="three"),
    ]
    assert texts(account + cluster) == [
        "5 clusters: RoleMissing on account accountx",
        "2 locations: RoleMissing from prod-1",
    ]


def test_a_single_pair_is_named() -> None:
    assert texts(grid([1], [1], Reason.NETWORK_BLOCKED)) == ["prod-1: NetworkBlocked on backups-1"]


def test_the_worst_comes_first_and_what_is_healthy_not_at_all() -> None:
    cells = [
        *grid([1, 2, 3], [1], Reason.OBJECT_LOCK_UNREADABLE),
        *grid([4], [1], Reason.STORAGE_TIMEOUT),
        *grid([5], [1], None),
    ]
    assert texts(cells) == [
        "prod-4: StorageTimeout on backups-1",
        "3 clusters: ObjectLockUnreadable on account accountx",
    ]


def test_what_sleeps_does_not_push_what_is_broken_off_the_screen() -> None:
    cells = [*grid(range(1, 9), [1, 2], Reason.HIBERNATED), *grid([20], [1], Reason.OBJECT_LOCK_UNREADABLE)]
    assert texts(cells) == ["prod-20: ObjectLockUnreadable on backups-1", "8 clusters: Hibernated (16 pairs)"]


def test_the_lines_are_bounded_and_the_rest_is_counted() -> None:
    cells = [cell for n in range(1, 200) for cell in grid([n], [n], Reason.CONTAINER_NOT_FOUND)]
    causes = fold(cells)
    assert len(causes) == MAX_CAUSES
    assert causes[-1].scope is Scope.REST
    assert causes[-1].text == "150 more pairs, for other reasons"


cells_of_any_kind = st.lists(
    st.tuples(
        st.integers(1, 6),
        st.integers(1, 4),
        st.sampled_from(
            [
                None,
                Reason.ROLE_MISSING,
                Reason.CONTAINER_NOT_FOUND,
                Reason.STALE,
                Reason.FEDERATION_MISSING,
                Reason.RESOURCE_UNAVAILABLE,
                Reason.HIBERNATED,
            ]
        ),
    ),
    max_size=24,
    unique_by=lambda each: each[:2],
).map(lambda rows: [grid([c], [at], reason, account=(None, "one", "one", "two")[at - 1])[0] for c, at, reason in rows])


@given(cells_of_any_kind, st.integers(1, 6), st.randoms(use_true_random=False))
def test_each_troubled_cell_is_in_exactly_one_cause_whatever_the_order(
    cells: list[Cell], limit: int, chance: random.Random
) -> None:
    causes = fold(cells, limit)
    assert len(causes) <= limit
    told = [key for cause in causes for key in cause.pairs]
    assert sorted(told) == sorted(each.key for each in cells if each.health is not Health.HEALTHY)
    shuffled = list(cells)
    chance.shuffle(shuffled)
    assert fold(shuffled, limit) == causes
    assert all(cause.text for cause in causes)


@given(cells_of_any_kind)
def test_the_cells_of_a_cause_share_what_it_says(cells: list[Cell]) -> None:
    by_key = {each.key: each for each in cells}
    for cause in fold(cells):
        members = [by_key[key] for key in cause.pairs]
        assert {(each.health, each.reason) for each in members} == {(cause.health, cause.reason)}
        if cause.scope is Scope.ACCOUNT:
            assert {each.account for each in members} == {cause.where}
        elif cause.scope is Scope.LOCATION:
            assert {each.location for each in members} == {cause.where}
        elif cause.scope is Scope.CLUSTER:
            assert {each.cluster for each in members} == {cause.where}
