"""What resources of Velero and Stork say at one moment, for the cluster's checks and for the cell of a pair."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from validator.locations import Environment, Location, Provider
from validator.model import Check, Outcome
from validator.net.failure import ProbeFailure
from validator.reasons import REASONS, Health, Reason, Stage
from validator.resources.judging import evidence_of, judge
from validator.resources.places import found_at
from validator.resources.portworx import Portworx, StorageCluster
from validator.resources.reading import (
    Access,
    ClusterReading,
    ProductReading,
    cluster_facts,
    location_fact,
    unread_facts,
)
from validator.resources.resource import LocationResource
from validator.resources.versions import version_from

NOW = 1_800_000_000.0
BOTH = frozenset({Check.VELERO, Check.STORK})
NOBODY: frozenset[Check] = frozenset()
PLACE = found_at(
    "backups", Provider.AZURE, "backups", account="tenantbackups", environment=Environment.PUBLIC
)  # as a resource has it
OURS = Location(uuid4(), "ours", Provider.AZURE, "backups", "tenantbackups", Environment.PUBLIC)


def velero(
    state: str = "Available", checked_s: float | None = 30.0, *, name: str = "default", said: Reason | None = None
) -> LocationResource:
    return LocationResource(
        check=Check.VELERO,
        namespace="velero",
        name=name,
        place=PLACE,
        created_at=NOW - 86_400,
        state=state,
        said=said,
        validated_at=None if checked_s is None else NOW - checked_s,
    )


def stork(state: str = "Valid", checked_s: float | None = 30.0) -> LocationResource:
    return replace(velero(state, checked_s), check=Check.STORK, namespace="backup")


PHASES = [
    (velero(), Outcome.PASS, None),
    (velero("Unavailable"), Outcome.FAIL, Reason.RESOURCE_UNAVAILABLE),
    (velero("Unavailable", said=Reason.ROLE_MISSING), Outcome.FAIL, Reason.ROLE_MISSING),
    (velero("Unavailable", said=Reason.STORAGE_THROTTLED), Outcome.FINDING, Reason.STORAGE_THROTTLED),
    (velero("Sleeping"), Outcome.UNKNOWN, Reason.RESOURCE_PHASE_UNKNOWN),
    (velero(""), Outcome.UNKNOWN, Reason.RESOURCE_PHASE_UNKNOWN),
    (velero("New"), Outcome.UNKNOWN, Reason.RESOURCE_PHASE_UNKNOWN),
    (replace(velero(), read_only=True), Outcome.FINDING, Reason.RESOURCE_READ_ONLY),
    (replace(velero("Unavailable"), read_only=True), Outcome.FAIL, Reason.RESOURCE_UNAVAILABLE),
    # the CRD's default phase, before Velero has looked
    (replace(velero("Unavailable", None), created_at=NOW - 10), Outcome.UNKNOWN, Reason.RESOURCE_PHASE_UNKNOWN),
    (velero("Unavailable", None), Outcome.UNKNOWN, Reason.RESOURCE_STALE),
    # 2.1 x 60 s + 60 s
    (velero(checked_s=186.0), Outcome.PASS, None),
    (velero(checked_s=187.0), Outcome.UNKNOWN, Reason.RESOURCE_STALE),
    (velero("Unavailable", 187.0), Outcome.UNKNOWN, Reason.RESOURCE_STALE),
    (replace(velero(checked_s=690.0), frequency_s=300.0), Outcome.PASS, None),
    (replace(velero(checked_s=691.0), frequency_s=300.0), Outcome.UNKNOWN, Reason.RESOURCE_STALE),
    (replace(velero(checked_s=5.0), frequency_s=0.0), Outcome.UNKNOWN, Reason.RESOURCE_STALE),
    # Velero takes a negative one for its default
    (replace(velero(checked_s=186.0), frequency_s=-1.0), Outcome.PASS, None),
    (velero(checked_s=-299.0), Outcome.PASS, None),
    (velero(checked_s=-301.0), Outcome.UNKNOWN, Reason.RESOURCE_STALE),
    (stork(), Outcome.PASS, None),
    (stork("valid"), Outcome.PASS, None),
    (stork("LimitedAvailability"), Outcome.FINDING, Reason.RESOURCE_UNAVAILABLE),
    (stork("Failed"), Outcome.FAIL, Reason.RESOURCE_UNAVAILABLE),
    (stork("ValidationFailed"), Outcome.FAIL, Reason.RESOURCE_UNAVAILABLE),
    (stork("Pending"), Outcome.UNKNOWN, Reason.RESOURCE_PHASE_UNKNOWN),
    (stork("InProgress"), Outcome.UNKNOWN, Reason.RESOURCE_PHASE_UNKNOWN),
    (stork("DeletePending"), Outcome.UNKNOWN, Reason.RESOURCE_PHASE_UNKNOWN),
    (stork(""), Outcome.UNKNOWN, Reason.RESOURCE_PHASE_UNKNOWN),
    (stork("Valid", 7 * 3600.0), Outcome.PASS, None),
    (stork("Valid", 8 * 3600.0), Outcome.UNKNOWN, Reason.RESOURCE_STALE),
]


@pytest.mark.parametrize(("resource", "outcome", "reason"), PHASES)
def test_what_a_resource_says(resource: LocationResource, outcome: Outcome, reason: Reason | None) -> None:
    judgement = judge(resource, NOW)
    assert (judgement.outcome, judgement.reason) == (outcome, reason)
    assert (judgement.message == "") == (outcome is Outcome.PASS)
    assert outcome is not Outcome.FAIL or (reason is not None and REASONS[reason].health is Health.UNHEALTHY)


@pytest.mark.parametrize("resource", [row[0] for row in PHASES])
def test_nothing_is_green_for_ever(resource: LocationResource) -> None:
    assert judge(resource, NOW + 86_400).outcome is Outcome.UNKNOWN


def test_method_and_age_of_the_products_own_check_are_evidence() -> None:
    seen = evidence_of(velero(), NOW)
    assert seen["method"] == "resource"
    assert seen["resource"] == "BackupStorageLocation velero/default"
    assert (seen["validated"], seen["validated_age_s"]) == ("2027-01-15T07:59:30Z", 30.0)


def reading(
    *resources: LocationResource,
    access: Access = Access.READ,
    portworx: Portworx | None = None,
    more: bool = False,
) -> ClusterReading:
    return ClusterReading(
        NOW,
        tuple(
            ProductReading(check, access, tuple(r for r in resources if r.check is check), "why", more=more)
            for check in (Check.VELERO, Check.STORK)
        ),
        portworx,
    )


def test_the_worst_location_decides_for_the_cluster_and_the_order_does_not() -> None:
    bad, good, old = velero("Unavailable", name="b"), velero(name="c"), velero(checked_s=999.0, name="a")
    facts = [cluster_facts(reading(*some), NOBODY) for some in ((bad, good, old), (old, good, bad))]
    assert facts[0] == facts[1]
    (fact,) = facts[0]
    assert (fact.check, fact.outcome, fact.reason) == (Check.VELERO, Outcome.FAIL, Reason.RESOURCE_UNAVAILABLE)
    assert fact.stage is Stage.RESOURCE
    assert (fact.evidence["locations"], fact.evidence["locations_well"]) == (3, 1)
    assert fact.evidence["resource"] == "BackupStorageLocation velero/b"


@pytest.mark.parametrize("access", Access)
def test_a_product_that_nobody_wants_and_that_is_not_there_is_no_fact(access: Access) -> None:
    assert cluster_facts(reading(access=access), NOBODY) == ()


def test_a_wanted_product_that_is_absent_is_a_failure_and_a_forbidden_one_unknown() -> None:
    for access, outcome, reason in (
        (Access.ABSENT, Outcome.FAIL, Reason.RESOURCE_ABSENT),
        (Access.READ, Outcome.FAIL, Reason.RESOURCE_ABSENT),
        (Access.FORBIDDEN, Outcome.UNKNOWN, Reason.RESOURCE_FORBIDDEN),
    ):
        facts = cluster_facts(reading(access=access), BOTH)
        assert [(fact.check, fact.outcome, fact.reason) for fact in facts] == [
            (Check.VELERO, outcome, reason),
            (Check.STORK, outcome, reason),
        ]


def test_a_stork_that_checks_nothing_is_no_fact_unless_it_is_wanted() -> None:
    silent = reading(stork("", None))
    assert cluster_facts(silent, NOBODY) == ()
    (fact,) = cluster_facts(silent, frozenset({Check.STORK}))
    assert (fact.outcome, fact.reason) == (Outcome.UNKNOWN, Reason.RESOURCE_PHASE_UNKNOWN)


OLD = Portworx(version_from("24.3.2"), (StorageCluster("portworx/px", version_from("3.6.1"), None, stork=True),))


@pytest.mark.parametrize(
    ("resource", "wanted", "held"),
    [
        (stork(), NOBODY, False),
        (stork(), frozenset({Check.STORK}), True),
        (replace(stork(), workload_identity=True), NOBODY, True),
    ],
)
def test_prerequisites_count_where_workload_identity_is_wanted_or_used(
    resource: LocationResource, wanted: frozenset[Check], *, held: bool
) -> None:
    (fact,) = cluster_facts(reading(resource, portworx=OLD), wanted)
    assert fact.reason is (Reason.VERSION_TOO_OLD if held else None)
    assert fact.evidence["stork_version"] == "24.3.2"
    assert fact.evidence["operator_version"] == "not shown"


def test_the_cell_of_a_pair_is_what_the_products_say_of_the_place() -> None:
    fact = location_fact(reading(velero(), velero("Unavailable", name="second")), OURS, NOW + 5)
    assert (fact.check, fact.outcome, fact.reason) == (Check.LOCATION, Outcome.FAIL, Reason.RESOURCE_UNAVAILABLE)
    assert fact.evidence["read_age_s"] == 5.0
    assert fact.evidence["validated_age_s"] == 35.0


def test_a_silent_stork_beside_a_velero_that_speaks_is_not_heard() -> None:
    assert location_fact(reading(velero(), stork("", None)), OURS, NOW).outcome is Outcome.PASS


def test_a_place_without_a_resource_is_absent() -> None:
    elsewhere = replace(OURS, container="others")
    fact = location_fact(reading(velero()), elsewhere, NOW)
    assert (fact.outcome, fact.reason) == (Outcome.FAIL, Reason.RESOURCE_ABSENT)
    assert elsewhere.url in fact.message


@pytest.mark.parametrize("unread", [reading(access=Access.FORBIDDEN), reading(velero(), more=True)])
def test_a_place_without_a_resource_is_unknown_where_not_all_was_read(unread: ClusterReading) -> None:
    fact = location_fact(unread, replace(OURS, container="others"), NOW)
    assert (fact.outcome, fact.reason) == (Outcome.UNKNOWN, Reason.RESOURCE_FORBIDDEN)


def test_an_offline_cluster_turns_no_cell_red() -> None:
    failure = ProbeFailure(Reason.CONNECT_TIMEOUT, "10.0.0.1:443: no answer within 5.0 s", unanswered=True)
    facts = unread_facts(failure, [Check.VELERO, Check.LOCATION])
    assert [fact.check for fact in facts] == [Check.VELERO, Check.LOCATION]
    assert {fact.outcome for fact in facts} == {Outcome.UNKNOWN}
    assert {fact.stage for fact in facts} == {Stage.CONNECT}
