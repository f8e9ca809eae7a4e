"""What a product's resource says at one moment: one rule for Velero and Stork. Pure; `now` is an argument.

In this order, and why:

1. no state, or a check that is under way: unknown. Hysteresis keeps a short "in progress" from flickering;
2. the product's own check is off, has never run, or is older than 2.1 of its periods and a minute: unknown, whatever
   the state says. Velero's CRD begins with `Unavailable`, and one location that hangs holds up its check of all others
   (one worker, no timeout), so that a state of either kind may be left over from long ago;
3. the state. A failure has the reason of the cloud's code where the message quotes one;
4. `ReadOnly` is a finding: restores work, backups don't, and after a restore it is easily forgotten.

Sources: velero `backupstoragelocation_types.go` and `storagelocation.go`; px-backup-api `ClusterValidationStatus`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from validator.model import Check, Evidence, Outcome
from validator.reasons import REASONS, Health, Reason
from validator.resources.resource import LocationResource

STALE_PERIODS = 2.1
STALE_SLACK_S = 60.0
"""The product's check takes a while, and its clock is not ours."""
AHEAD_LIMIT_S = 300.0
"""A check that lies further in the future than this was no check of now; else it would never get old."""


@dataclass(frozen=True, slots=True)
class JudgingSettings:
    """How often the products look, where a resource does not say."""

    velero_period_s: float = 60.0
    """Default of Velero's server (`--store-validation-frequency`)."""
    stork_period_s: float = 12_600.0
    """`monitorBLHealthFrequency` of Portworx Backup, 210 min. It is off by default there; then a state stands for this
    long after its one check, and is not known any more afterwards."""


DEFAULTS = JudgingSettings()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one resource says."""

    outcome: Outcome
    reason: Reason | None = None
    message: str = ""


_STATES: Mapping[str, Outcome] = {
    "available": Outcome.PASS,
    "valid": Outcome.PASS,
    "limitedavailability": Outcome.FINDING,
    "unavailable": Outcome.FAIL,
    "failed": Outcome.FAIL,
    "invalid": Outcome.FAIL,
    "validationfailed": Outcome.FAIL,
}
_UNDER_WAY = {"new", "pending", "inprogress", "validationinprogress", "deletepending"}


def judge(resource: LocationResource, now: float, settings: JudgingSettings = DEFAULTS) -> Judgement:
    """What it says at `now`."""
    state = resource.state.lower()
    if not state:
        return _unclear(resource, "has no state: this version does not check its locations, or has not yet")
    if state in _UNDER_WAY:
        return _unclear(resource, f"is {resource.state}")
    if (doubt := _doubt(resource, now, settings)) is not None:
        return doubt
    outcome = _STATES.get(state)
    if outcome is None:
        return _unclear(resource, f"has the state {resource.state}, which this release does not know")
    said = f": {resource.message}" if resource.message else ""
    if outcome is Outcome.PASS:
        if not resource.read_only:
            return Judgement(outcome)
        text = f"{resource.where} is ReadOnly: restores work, but no backup is written to it"
        return Judgement(Outcome.FINDING, Reason.RESOURCE_READ_ONLY, text)
    reason = resource.said or Reason.RESOURCE_UNAVAILABLE
    if REASONS[reason].health is Health.DEGRADED:
        outcome = Outcome.FINDING
    return Judgement(outcome, reason, f"{resource.where} is {resource.state}{said}")


def evidence_of(resource: LocationResource, now: float) -> Evidence:
    """What was seen, with the method and the age of the product's own check."""
    seen: dict[str, str | int | float | bool] = {
        "method": "resource",
        "resource": f"{resource.kind} {resource.where}",
        "state": resource.state or "none",
    }
    if resource.validated_at is not None:
        seen["validated"] = _iso(resource.validated_at)
        seen["validated_age_s"] = round(now - resource.validated_at, 1)
    if resource.read_only:
        seen["access_mode"] = "ReadOnly"
    if resource.workload_identity:
        seen["workload_identity"] = True
    if resource.message:
        seen["product_message"] = resource.message
    return seen


def _doubt(resource: LocationResource, now: float, settings: JudgingSettings) -> Judgement | None:
    """Why the state is not believed; None if it is."""
    default_s = settings.velero_period_s if resource.check is Check.VELERO else settings.stork_period_s
    period_s = default_s if resource.frequency_s is None or resource.frequency_s < 0 else resource.frequency_s
    limit_s = STALE_PERIODS * period_s + STALE_SLACK_S
    checked, created = resource.validated_at, resource.created_at
    if checked is None:
        if created is not None and now - created > limit_s:
            return _stale(resource, f"has not been checked since it was made {_span(now - created)} ago")
        return _unclear(resource, "has not been checked yet")
    age_s = now - checked
    if period_s == 0:
        return _stale(resource, f"was checked {_span(age_s)} ago and won't be again: validationFrequency is 0")
    if age_s > limit_s:
        return _stale(resource, f"was last checked {_span(age_s)} ago, though every {_span(period_s)} is due")
    if age_s < -AHEAD_LIMIT_S:
        return _stale(resource, f"was last checked {_span(-age_s)} from now by the cluster's clock")
    return None


def _unclear(resource: LocationResource, what: str) -> Judgement:
    return Judgement(Outcome.UNKNOWN, Reason.RESOURCE_PHASE_UNKNOWN, f"{resource.where} {what}")


def _stale(resource: LocationResource, what: str) -> Judgement:
    return Judgement(Outcome.UNKNOWN, Reason.RESOURCE_STALE, f"{resource.where} {what}; it says {resource.state}")


def _span(seconds: float) -> str:
    """A duration for people."""
    for unit, size_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f} {unit}"
    return f"{seconds:.0f} s"


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
