"""What one read of a cluster's resources brought, and the facts that come of it. Pure.

Who is told what:

- the checks `velero` and `stork` of the cluster are made where the product has locations, or where it is *wanted*: some
  location of ours is to be asked about through it. That a product which nobody wants is absent, forbidden or silent is
  no fact; else a Stork of 2024, which checks nothing, would make a whole fleet Unknown.
- absent (no kind, no resource, or an older version of the kind) is a failure where it is wanted: nobody will back up
  there; forbidden is unknown: the hub lacks a right, and the product may be well.
- prerequisites of workload identity are held against Stork only where it is wanted, or used already.
- the check `location` of a pair is that of all resources for the place, the worst of them: two prefixes in one bucket,
  or Velero and Stork side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from validator.answer import Fact
from validator.locations import FieldProblem, Location
from validator.model import Check, Evidence, Outcome
from validator.net.failure import ProbeFailure
from validator.reasons import REASONS, Reason
from validator.resources import portworx
from validator.resources.judging import DEFAULTS, Judgement, JudgingSettings, evidence_of, judge
from validator.resources.places import place_of
from validator.resources.portworx import Portworx
from validator.resources.resource import LocationResource

PRODUCTS = (Check.VELERO, Check.STORK)

_WORST_FIRST = (Outcome.FAIL, Outcome.UNKNOWN, Outcome.FINDING, Outcome.PASS)


class Access(Enum):
    """How far the read of one product's resources came."""

    READ = "read"
    ABSENT = "absent"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class ProductReading:
    """The resources of one product."""

    check: Check
    access: Access
    resources: tuple[LocationResource, ...] = ()
    note: str = ""
    """Why there are none, for people."""
    more: bool = False
    """There are more than were read."""


@dataclass(frozen=True, slots=True)
class ClusterReading:
    """Everything that one read of a cluster brought."""

    read_at: float
    """Hub clock."""
    products: tuple[ProductReading, ...]
    portworx: Portworx | None = None
    """None where there is no Stork to ask it for."""

    @property
    def resources(self) -> tuple[LocationResource, ...]:
        """Of both products."""
        return tuple(resource for product in self.products for resource in product.resources)


def cluster_facts(
    reading: ClusterReading, wanted: frozenset[Check], settings: JudgingSettings = DEFAULTS
) -> tuple[Fact, ...]:
    """The checks `velero` and `stork` of the cluster; none for a product that it has not and nobody wants."""
    facts = (_product_fact(reading, product, settings, wanted=product.check in wanted) for product in reading.products)
    return tuple(fact for fact in facts if fact is not None)


def location_fact(
    reading: ClusterReading, location: Location, now: float, settings: JudgingSettings = DEFAULTS
) -> Fact:
    """The check `location` of a pair: what the cluster's products say of this place, the worst of it."""
    seen: Evidence = {"method": "resource", "read_age_s": round(now - reading.read_at, 1)}
    place = place_of(location)
    there = [r for r in reading.resources if not isinstance(r.place, FieldProblem) and place_of(r.place) == place]
    if there:
        speaking = [
            resource for resource in there if resource.state
        ]  # a Stork of 24.x beside Velero contradicts nobody
        worst, judgement = _worst(speaking or there, now, settings)
        return _fact(Check.LOCATION, judgement, {**seen, **evidence_of(worst, now)})
    if any(product.access is Access.FORBIDDEN or product.more for product in reading.products):
        notes = "; ".join(product.note for product in reading.products if product.note)
        text = f"no resource for {location.url} was seen, and not all could be read: {notes or 'there are too many'}"
        return _fact(Check.LOCATION, Judgement(Outcome.UNKNOWN, Reason.RESOURCE_FORBIDDEN, text), seen)
    text = f"neither Velero nor Stork has a resource for {location.url} among {len(reading.resources)}"
    return _fact(Check.LOCATION, Judgement(Outcome.FAIL, Reason.RESOURCE_ABSENT, text), seen)


def unread_facts(failure: ProbeFailure, checks: Sequence[Check]) -> tuple[Fact, ...]:
    """What is said of `checks` when the cluster did not let itself be read: unknown, as its own check tells."""
    text = f"the cluster's API could not be read: {failure.message}"
    evidence: Evidence = {"method": "resource", **failure.evidence}
    return tuple(Fact(check, Outcome.UNKNOWN, failure.reason, failure.stage, text, evidence) for check in checks)


def _product_fact(
    reading: ClusterReading, product: ProductReading, settings: JudgingSettings, *, wanted: bool
) -> Fact | None:
    seen: dict[str, str | int | float | bool] = {"method": "resource", "locations": len(product.resources)}
    if not product.resources:
        return _without_resources(product, seen) if wanted else None
    if product.more:
        seen["more_locations"] = True
    needed = wanted or any(resource.workload_identity for resource in product.resources)
    if product.check is Check.STORK and reading.portworx is not None:
        seen |= portworx.evidence_of(reading.portworx)
        if needed and (missing := portworx.missing(reading.portworx)):
            text = "; ".join(each.message for each in missing)
            return _fact(product.check, Judgement(Outcome.FAIL, missing[0].reason, text), seen)
    silent = not any(resource.state for resource in product.resources)
    if silent and not wanted:
        return None
    worst, judgement = _worst(product.resources, reading.read_at, settings)
    if judgement.outcome is not Outcome.PASS and len(product.resources) > 1:
        judged = [judge(resource, reading.read_at, settings).outcome for resource in product.resources]
        seen["locations_well"] = judged.count(Outcome.PASS)
    return _fact(product.check, judgement, {**seen, **evidence_of(worst, reading.read_at)})


def _without_resources(product: ProductReading, seen: Evidence) -> Fact:
    if product.access is Access.FORBIDDEN:
        return _fact(product.check, Judgement(Outcome.UNKNOWN, Reason.RESOURCE_FORBIDDEN, product.note), seen)
    text = product.note or "the kind is there, but no resource of it"
    return _fact(product.check, Judgement(Outcome.FAIL, Reason.RESOURCE_ABSENT, text), seen)


def _worst(
    resources: Sequence[LocationResource], now: float, settings: JudgingSettings
) -> tuple[LocationResource, Judgement]:
    """The worst one; among equals the first by name, whatever the order in which they were listed."""
    ordered = sorted(resources, key=lambda resource: (resource.check, resource.namespace, resource.name))
    judged = [(resource, judge(resource, now, settings)) for resource in ordered]
    return min(judged, key=lambda each: _WORST_FIRST.index(each[1].outcome))


def _fact(check: Check, judgement: Judgement, evidence: Evidence) -> Fact:
    reason = judgement.reason
    stage = None if reason is None else REASONS[reason].stage
    return Fact(check, judgement.outcome, reason, stage, judgement.message, evidence)
