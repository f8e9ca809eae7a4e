"""Check states and transitions to and from database rows; tolerant of rows that another release wrote."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from collector.transition import Transition
from validator.flapping import Flap
from validator.health import CheckState
from validator.model import NO_EVIDENCE, Check, Evidence, Outcome, Verdict
from validator.reasons import Health, Stage, reason_from
from validator.schedule import Lane

E = TypeVar("E", bound=StrEnum)


def state_to_row(state: CheckState) -> dict[str, Any]:
    """One row of `check_states` or `pair_states`, as the SQL's record types read it from JSON."""
    latest = state.latest
    return {
        "cluster_id": str(state.cluster_id),
        "location_id": None if state.location_id is None else str(state.location_id),
        "check_name": state.check,
        "health": state.health,
        "since": state.since,
        "reason": state.reason,
        "stage": state.stage,
        "message": state.message,
        "evidence": None if latest is not None and state.evidence is latest.evidence else dict(state.evidence),
        "latest": {} if latest is None else _verdict_to_json(latest),
        "streak": state.streak,
        "streak_since": state.streak_since,
        "last_known": state.last_known,
        "last_success_at": state.last_success_at,
        "observed_at": state.observed_at,
        "received_at": state.received_at,
        "allowance_s": state.allowance_s,
        "flap_bits": state.flap.bits,
        "flapping": state.flap.flapping,
        "flap_last": state.flap.last,
        "changes": state.changes,
    }


def _verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "stage": verdict.stage,
        "message": verdict.message,
        "evidence": dict(verdict.evidence),
        "duration_s": round(verdict.duration_s, 6),
        "lateness_s": round(verdict.lateness_s, 6),
        "lane": verdict.lane,
        "skipped_ticks": verdict.skipped_ticks,
    }


def state_from_row(row: Mapping[str, Any]) -> CheckState | None:
    """The state, or None where the row speaks of a check that this release does not ask.

    A health, reason or stage that this release does not know reads as unknown; the version stays, so that the next
    verdict can be written over it.
    """
    if (check := _one_of(Check, row["check_name"])) is None:
        return None
    latest = _verdict_from_json(row, check)
    evidence = NO_EVIDENCE if latest is None else latest.evidence
    return CheckState(
        cluster_id=row["cluster_id"],
        check=check,
        health=_one_of(Health, row["health"]) or Health.UNKNOWN,
        since=row["since"],
        reason=reason_from(row["reason"]),
        stage=_one_of(Stage, row["stage"]),
        message=row["message"],
        evidence=evidence if row["evidence"] is None else _evidence(row["evidence"]),
        latest=latest,
        streak=row["streak"],
        streak_since=row["streak_since"],
        last_known=_one_of(Health, row["last_known"]),
        last_success_at=row["last_success_at"],
        observed_at=row["observed_at"],
        received_at=row["received_at"],
        allowance_s=row["allowance_s"],
        flap=Flap(row["flap_bits"], row["flapping"], _one_of(Health, row["flap_last"])),
        changes=row["changes"],
        location_id=row.get("location_id"),
    )


def _verdict_from_json(row: Mapping[str, Any], check: Check) -> Verdict | None:
    """From JSON, where another release may have put anything: what is not of the right kind is as good as absent."""
    latest = row["latest"] if isinstance(row["latest"], dict) else {}
    outcome = _one_of(Outcome, latest.get("outcome"))
    if outcome is None:
        return None
    reason, message = latest.get("reason"), latest.get("message")
    return Verdict(
        check=check,
        cluster_id=row["cluster_id"],
        outcome=outcome,
        observed_at=row["observed_at"],
        received_at=row["received_at"],
        duration_s=float(_number(latest.get("duration_s"))),
        lateness_s=float(_number(latest.get("lateness_s"))),
        allowance_s=row["allowance_s"],
        lane=_one_of(Lane, latest.get("lane")) or Lane.LIVE,
        skipped_ticks=int(_number(latest.get("skipped_ticks"))),
        reason=reason_from(reason) if isinstance(reason, str) else None,
        stage=_one_of(Stage, latest.get("stage")),
        message=message if isinstance(message, str) else "",
        evidence=_evidence(latest.get("evidence")),
        location_id=row.get("location_id"),
    )


def _evidence(value: object) -> Evidence:
    if not isinstance(value, dict):
        return NO_EVIDENCE
    return {key: item for key, item in value.items() if isinstance(item, str | int | float)}


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0


def transition_to_row(transition: Transition) -> dict[str, Any]:
    """What the history row adds to the state's."""
    return {
        "at": transition.at,
        "cluster_name": transition.cluster_name,
        "location_id": None if transition.location_id is None else str(transition.location_id),
        "location_name": transition.location_name,
        "from_health": transition.from_health,
        "to_health": transition.to_health,
        "since": transition.since,
        "reason": transition.reason,
        "stage": transition.stage,
        "message": transition.message,
        "evidence": dict(transition.evidence),
        "flapping": transition.flapping,
        "collapsed": transition.collapsed,
    }


def transition_from_row(row: Mapping[str, Any]) -> Transition:
    """One row of history. A health that this release does not know reads as Unknown."""
    return Transition(
        id=row["id"],
        at=row["at"],
        cluster_id=UUID(str(row["cluster_id"])),
        cluster_name=row["cluster_name"],
        check=row["check_name"],
        from_health=_one_of(Health, row["from_health"]) or Health.UNKNOWN,
        to_health=_one_of(Health, row["to_health"]) or Health.UNKNOWN,
        since=row["since"],
        reason=row["reason"],
        stage=row["stage"],
        message=row["message"],
        evidence=_evidence(row["evidence"]),
        flapping=row["flapping"],
        collapsed=row["collapsed"],
        changes=row["changes"],
        location_id=None if row.get("location_id") is None else UUID(str(row["location_id"])),
        location_name=row.get("location_name"),
    )


def _one_of(kind: type[E], text: object) -> E | None:
    try:
        return kind(text) if isinstance(text, str) and text else None
    except ValueError:
        return None
