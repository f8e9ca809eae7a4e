"""From what the hub knows to what the API answers. Pure, but for the lists, which let the loop breathe."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from collector.fleet import ClusterView, FleetSnapshot
from collector.pauses import Pause
from collector.transition import Transition
from muster.api import schemas
from muster.breath import breathe
from muster.docs.reasons import reason_link
from muster.hub import Hub, Leading
from validator.health import HealthSettings, Shown, candidate, stale
from validator.lanes import LaneSlots
from validator.model import Outcome, Verdict
from validator.reasons import PRECEDENCE, REASONS, Health, Reason, Stage
from validator.schedule import Lane

T = TypeVar("T")

CHUNK = 50
"""Items that are worked off without a break: some 0.5 ms, while probes wait for the loop."""

MAX_PROBLEMS = 100
"""Source problems in one answer; the rest is counted."""

STAGES = (Stage.DNS, Stage.CONNECT, Stage.TLS, Stage.HTTP, Stage.READ)
"""In the order in which a question passes them."""

ATTENTION = (*PRECEDENCE[1:-1], Health.SUSPENDED, Health.HEALTHY)
"""Worst first, as people look: a fleet of hibernated clusters must not push the broken ones off the screen."""


async def chunks(items: Sequence[T], size: int = CHUNK) -> AsyncIterator[Sequence[T]]:
    """The items in chunks, with a breath before each."""
    for begin in range(0, len(items), size):
        await breathe()
        yield items[begin : begin + size]


def instant(seconds: float) -> datetime:
    """Hub clock to a date, to the millisecond."""
    return datetime.fromtimestamp(round(seconds, 3), UTC)


def maybe_instant(seconds: float | None) -> datetime | None:
    """The same for what may not have happened yet."""
    return None if seconds is None else instant(seconds)


# -- the fleet


async def fleet(hub: Hub, leading: Leading, picture: FleetSnapshot, generation: int) -> schemas.Fleet:
    """The fleet in numbers."""
    reasons: Counter[str] = Counter()
    lateness: dict[Lane, list[float]] = {lane: [] for lane in Lane}
    async for views in chunks(list(picture.clusters.values()), 4 * CHUNK):
        reasons.update(v.rollup.reason for v in views if v.rollup.reason is not None)
        for verdict in (shown.state.latest for v in views for shown in v.checks):
            if verdict is not None:
                lateness[verdict.lane].append(verdict.lateness_s)
    problems = hub.source_problems()
    guard, lanes = leading.guard, leading.engine.lanes
    return schemas.Fleet(
        generation=generation,
        now=instant(picture.now),
        version=hub.version,
        role=hub.role,
        started_at=instant(hub.started_at),
        total=len(picture.clusters),
        counts={health.value: picture.counts[health] for health in ATTENTION},
        reasons=dict(reasons.most_common()),
        flapping=picture.flapping,
        oldest_fact_age_s=_rounded(picture.oldest_age_s),
        store=schemas.Store(degraded_since=maybe_instant(leading.recorder.degraded_since)),
        guard=schemas.Guard(holding=guard.holding, since=maybe_instant(guard.since), why=guard.why),
        source_problems=tuple(
            schemas.SourceProblem(source=name, where=p.where, message=p.message, remedy=p.remedy, entry=p.entry)
            for name, p in problems[:MAX_PROBLEMS]
        ),
        source_problems_total=len(problems),
        lanes=schemas.Lanes(
            live=_lane(lanes[Lane.LIVE], lateness[Lane.LIVE]), dead=_lane(lanes[Lane.DEAD], lateness[Lane.DEAD])
        ),
    )


def _lane(slots: LaneSlots[Any], lateness: list[float]) -> schemas.Lane:
    lateness.sort()
    p99 = lateness[min(len(lateness) - 1, int(len(lateness) * 0.99))] if lateness else None
    return schemas.Lane(slots=slots.slots, busy=slots.busy, waiting=len(slots), lateness_p99_s=_rounded(p99))


# -- clusters


def cluster(view: ClusterView, now: float) -> schemas.Cluster:
    """One cluster in a list, with its age at `now`."""
    return schemas.Cluster(**_common(view, now))


def cluster_detail(
    view: ClusterView, now: float, next_due_s: float | None, settings: HealthSettings
) -> schemas.ClusterDetail:
    """All that is known of one cluster at `now`."""
    known, rollup = view.cluster, view.rollup
    return schemas.ClusterDetail(
        **_common(view, now),
        external_uid=known.external_uid,
        also_known_as=known.also_known_as,
        first_seen_at=instant(known.first_seen_at),
        now=instant(now),
        remedy=_remedy(rollup.reason, known.name, known.endpoint),
        docs=_docs(rollup.reason),
        next_due_s=_rounded(next_due_s),
        checks=tuple(check(each, known.name, known.endpoint, now, settings) for each in view.checks),
    )


def pause(known: Pause) -> schemas.Pause:
    """Who has taken it out of judgement."""
    return schemas.Pause(
        since=instant(known.begins_at),
        until=maybe_instant(known.until),
        reason=known.reason,
        by=known.by,
        version=known.version,
        etag=pause_etag(known),
    )


def pause_etag(known: Pause) -> str:
    """Its entity tag, with its quotes. The id is in it: another pause of the same cluster begins at version 1 again."""
    return f'"p{known.id}-{known.version}"'


def _common(view: ClusterView, now: float) -> dict[str, Any]:
    known, rollup = view.cluster, view.rollup
    return {
        "id": str(known.id),
        "name": known.name,
        "source": known.source,
        "endpoint": known.endpoint,
        "lifecycle": known.lifecycle,
        "labels": dict(known.labels),
        "health": rollup.health,
        "check": rollup.check,
        "reason": rollup.reason,
        "stage": rollup.stage,
        "message": rollup.message,
        "since": maybe_instant(rollup.since),
        "last_known": rollup.last_known,
        "last_success_at": maybe_instant(rollup.last_success_at),
        "age_s": _rounded(view.age_s(now)),
        "flapping": rollup.flapping,
        "pending": view.pending,
        "pause": None if view.pause is None else pause(view.pause),
    }


def check(shown: Shown, name: str, endpoint: str, now: float, settings: HealthSettings) -> schemas.Check:
    """One check of the cluster that has this name and endpoint."""
    state = shown.state
    return schemas.Check(
        check=state.check,
        health=shown.health,
        reason=shown.reason,
        stage=shown.stage,
        message=shown.message,
        since=instant(shown.since),
        last_known=shown.last_known,
        last_success_at=maybe_instant(state.last_success_at),
        flapping=state.flap.flapping,
        evidence=dict(state.evidence),
        remedy=_remedy(shown.reason, name, endpoint),
        docs=_docs(shown.reason),
        streak=_streak(shown, now, settings),
        answer=None if state.latest is None else _answer(state.latest, now),
    )


def _streak(shown: Shown, now: float, settings: HealthSettings) -> schemas.Streak | None:
    state = shown.state
    if not state.streak or state.latest is None or stale(state, now):
        return None
    return schemas.Streak(
        answers=abs(state.streak),
        needed=settings.fail_after if state.streak > 0 else settings.pass_after,
        towards=candidate(state.latest),
        since=maybe_instant(state.streak_since),
    )


def _answer(verdict: Verdict, now: float) -> schemas.Answer:
    return schemas.Answer(
        outcome=verdict.outcome,
        reason=verdict.reason,
        stage=verdict.stage,
        message=verdict.message,
        received_at=instant(verdict.received_at),
        age_s=round(max(0.0, now - verdict.received_at), 3),
        duration_s=round(verdict.duration_s, 6),
        lateness_s=round(verdict.lateness_s, 6),
        lane=verdict.lane,
        skipped_ticks=verdict.skipped_ticks,
        allowance_s=round(verdict.allowance_s, 3),
        stages=trace(verdict.evidence, verdict.stage, verdict.outcome),
    )


def trace(
    evidence: Mapping[str, str | float | bool], stage: Stage | None, outcome: Outcome
) -> tuple[schemas.StageTrace, ...]:
    """How far one answer came, from the timings in its evidence; empty where it has none."""
    timings = {each: _seconds(evidence.get(f"{each}_ms")) for each in STAGES}
    if stage not in STAGES and not any(timings.values()):
        return ()
    ended = STAGES.index(stage) if stage in STAGES and outcome is not Outcome.PASS else len(STAGES)
    traced: list[schemas.StageTrace] = []
    for number, (each, duration_s) in enumerate(timings.items()):
        if number == ended:
            found = "finding" if outcome is Outcome.FINDING else "failed"
        elif number > ended and outcome is not Outcome.FINDING:
            found, duration_s = "unreached", None  # noqa: PLW2901 - what was timed there is of no use
        elif duration_s is not None:
            found = "passed"
        else:
            found = "reused" if evidence.get("reused") and each is not Stage.READ else "unreached"
        # A literal address needs no name server, and not every question reads a namespace.
        if found != "unreached" or each not in {Stage.DNS, Stage.READ}:
            traced.append(schemas.StageTrace(stage=each, outcome=found, duration_s=duration_s))
    return tuple(traced)


def _seconds(ms: str | float | None) -> float | None:
    return round(ms / 1000, 6) if isinstance(ms, int | float) else None


def _remedy(reason: Reason | None, name: str, endpoint: str) -> str | None:
    return None if reason is None else REASONS[reason].remedy_for(name, endpoint)


def _docs(reason: Reason | None) -> str | None:
    return None if reason is None else reason_link(reason)


# -- history


def transition(change: Transition) -> schemas.Transition:
    """One committed change."""
    return schemas.Transition(
        id=change.id,
        at=instant(change.at),
        since=instant(change.since),
        cluster_id=str(change.cluster_id),
        cluster_name=change.cluster_name,
        location_id=None if change.location_id is None else str(change.location_id),
        location_name=change.location_name,
        check=change.check,
        from_health=change.from_health,
        to_health=change.to_health,
        reason=change.reason,
        stage=change.stage,
        message=change.message,
        evidence=dict(change.evidence),
        flapping=change.flapping,
        collapsed=change.collapsed,
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
