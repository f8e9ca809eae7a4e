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
    """One row of `check_states`, as the SQL's record types read it from JSON."""
    latest = state.latest
    return {
        "cluster_id": str(state.cluster_id),
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
    """The state, or None where the row speaks of a check or a health that this release does not know."""
    try:
        check, health = Check(row["check_name"]), Health(row["health"])
    except ValueError:
        return None
    latest = _verdict_from_json(row, check)
    evidence: Evidence = row["evidence"] if row["evidence"] is not None else latest.evidence if latest else NO_EVIDENCE
    return CheckState(
        cluster_id=row["cluster_id"],
        check=check,
        health=health,
        since=row["since"],
        reason=reason_from(row["reason"]),
        stage=_one_of(Stage, row["stage"]),
        message=row["message"],
        evidence=evidence,
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
    )


def _verdict_from_json(row: Mapping[str, Any], check: Check) -> Verdict | None:
    latest = row["latest"]
    outcome = _one_of(Outcome, latest.get("outcome")) if isinstance(latest, dict) else None
    if outcome is None:
        return None
    return Verdict(
        check=check,
        cluster_id=row["cluster_id"],
        outcome=outcome,
        observed_at=row["observed_at"],
        received_at=row["received_at"],
        duration_s=latest.get("duration_s", 0.0),
        lateness_s=latest.get("lateness_s", 0.0),
        allowance_s=row["allowance_s"],
        lane=_one_of(Lane, latest.get("lane")) or Lane.LIVE,
        skipped_ticks=latest.get("skipped_ticks", 0),
        reason=reason_from(latest.get("reason")),
        stage=_one_of(Stage, latest.get("stage")),
        message=latest.get("message", ""),
        evidence=latest.get("evidence", NO_EVIDENCE),
    )


def transition_to_row(transition: Transition) -> dict[str, Any]:
    """What the history row adds to the state's."""
    return {
        "at": transition.at,
        "cluster_name": transition.cluster_name,
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
        evidence=row["evidence"],
        flapping=row["flapping"],
        collapsed=row["collapsed"],
        changes=row["changes"],
    )


def _one_of(kind: type[E], text: str | None) -> E | None:
    try:
        return kind(text) if text else None
    except ValueError:
        return None
