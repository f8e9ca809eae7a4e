"""From verdicts to health: hysteresis, staleness, and the health of a whole cluster. Pure; `now` is an argument.

`step` is a fold: the state of a check is a function of its verdicts in order, whatever the batches. The order is
that of (`received_at`, `observed_at`); what is not newer than the newest verdict seen changes nothing, so a replayed
or reordered batch does no harm.

Decisions, and what was decided against:

- `since` is when the first verdict of the confirming streak came in, not when the streak was confirmed: people ask
  "since when is it broken". The instant of the commit belongs to the Transition.
- While a streak is pending, the reason and message stay those of the health that is held, so that what is shown never
  contradicts itself; the pending verdict is in `latest`, its count in `streak`.
- A streak counts verdicts that are worse (or better) than the health held, not verdicts with one reason: Unreachable,
  Unhealthy, Unreachable is three bad answers in a row, and the newest decides.
- Where nothing is known (the first verdict, Unknown, or a fact that outlived its allowance) the next verdict decides
  at once. Holding an expired Healthy through two more failures would turn a stale check green again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from types import MappingProxyType
from uuid import UUID

from validator.flapping import NO_FLAP, Flap, record
from validator.model import NO_EVIDENCE, Check, Evidence, Lifecycle, Outcome, Pair, SubjectId, Verdict
from validator.reasons import REASONS, SEVERITY, Health, Reason, Stage


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """How much proof a change of health needs. Raises ValueError, naming the field, when it makes no sense."""

    fail_after: int = 3
    """Consecutive worse verdicts before health gets worse. 3 at 30 s: a restarting API server is no outage."""
    pass_after: int = 2
    """Consecutive better verdicts before health gets better. Fewer than `fail_after`: good news is cheap to retract."""
    flap_enter: float = 0.30
    """Weighted share of changed answers above which a check is flapping; Icinga 2's `flapping_threshold_high`."""
    flap_leave: float = 0.25
    """Share at or below which it no longer is; Icinga 2's `flapping_threshold_low`."""

    def __post_init__(self) -> None:
        for name, value in (("fail_after", self.fail_after), ("pass_after", self.pass_after)):
            if value < 1:
                raise ValueError(f"{name} is {value}; at least 1 verdict is needed to change anything")
        if not 0 <= self.flap_leave <= self.flap_enter <= 1:
            raise ValueError(
                f"flap_leave is {self.flap_leave} and flap_enter is {self.flap_enter}; "
                "both are shares from 0 to 1, and flap_leave is not above flap_enter"
            )


@dataclass(frozen=True, slots=True)
class CheckState:
    """All that is known of one check of one cluster or pair: what the store keeps and the snapshot is made of."""

    cluster_id: UUID
    check: Check
    health: Health
    """After hysteresis. Never Suspended: that is the cluster's."""
    since: float
    """Hub clock, seconds since the epoch: when `health` began, as far as is known. Never goes back."""
    reason: Reason | None
    """Of the newest verdict that agrees with `health`, as are `stage`, `message` and `evidence`."""
    stage: Stage | None
    message: str
    evidence: Evidence
    latest: Verdict | None
    """The newest verdict, pending or not. None only where a stored row has none."""
    streak: int
    """Consecutive verdicts against `health`: above 0 worse ones, below 0 better ones, 0 = the newest one agrees."""
    streak_since: float | None
    """When the first verdict of the streak came in; None when there is none."""
    last_known: Health | None
    """While `health` is Unknown: the health before it, if there was one. Otherwise None."""
    last_success_at: float | None
    """When the last verdict with the outcome pass or finding came in: the last successful contact."""
    observed_at: float
    """Of the newest verdict, as are `received_at` and `allowance_s`. Age is counted from `received_at`."""
    received_at: float
    allowance_s: float
    flap: Flap
    changes: int
    """How many times `health` ever changed: the compare-and-swap version in the store. A check without a state counts
    as Unknown with 0 changes, so a first verdict that decides makes it 1, and that is a Transition."""
    location_id: UUID | None = None
    """Of a pair; None: the check is of the cluster itself."""

    @property
    def subject(self) -> SubjectId:
        """What it is about."""
        return self.cluster_id if self.location_id is None else Pair(self.cluster_id, self.location_id)


@dataclass(frozen=True, slots=True)
class Shown:
    """What people see of a check at one moment: never older than its allowance."""

    state: CheckState
    """What lies beneath: evidence, last successful contact, flapping; the last known ones where the fact is stale."""
    health: Health
    reason: Reason | None
    stage: Stage | None
    message: str
    since: float
    last_known: Health | None
    """While `health` is Unknown: the last health that was known."""


@dataclass(frozen=True, slots=True)
class Rollup:
    """The health of a cluster: that of its worst check, or Suspended."""

    health: Health
    reason: Reason | None
    stage: Stage | None
    message: str
    check: Check | None
    """The check that decided; None when Suspended or not checked yet, and so are `since` and `last_known`."""
    since: float | None
    last_known: Health | None
    last_success_at: float | None
    """Newest of all its checks, also while Suspended."""
    flapping: bool
    """Any of its checks flaps; never while Suspended."""


_SUCCESS = frozenset({Outcome.PASS, Outcome.FINDING})

_FAILED: Mapping[Reason, Health] = MappingProxyType(
    {
        reason: info.health if info.health in {Health.UNREACHABLE, Health.UNKNOWN} else Health.UNHEALTHY
        for reason, info in REASONS.items()
    }
)
"""What a failure for each reason leads to: a row that speaks of a finding or of suspension still is a failure here."""

_SUSPENDED_BY: Mapping[Lifecycle, Reason] = MappingProxyType(
    {
        Lifecycle.CREATING: Reason.CREATING,
        Lifecycle.HIBERNATED: Reason.HIBERNATED,
        Lifecycle.WAKING: Reason.WAKING,
        Lifecycle.MAINTENANCE: Reason.MAINTENANCE,
        Lifecycle.MIGRATING: Reason.MIGRATING,
        Lifecycle.DELETING: Reason.DELETING,
        Lifecycle.GONE: Reason.DELETING,
    }
)


def candidate(verdict: Verdict) -> Health:
    """The health that one verdict speaks for, before hysteresis."""
    outcome = verdict.outcome
    if outcome is Outcome.PASS:
        return Health.HEALTHY
    if outcome is Outcome.FINDING:
        return Health.DEGRADED
    if outcome is Outcome.UNKNOWN:
        return Health.UNKNOWN
    return Health.UNHEALTHY if verdict.reason is None else _FAILED[verdict.reason]


def step(state: CheckState | None, verdict: Verdict, settings: HealthSettings) -> CheckState:
    """The state after one more verdict of the same check and cluster; the same object if the verdict is not newer."""
    if state is None:
        state = _unasked(verdict)
    received_at = verdict.received_at
    if received_at <= state.received_at and (
        received_at < state.received_at or verdict.observed_at <= state.observed_at
    ):
        return state

    found = candidate(verdict)
    health, since, last_known, changes = state.health, state.since, state.last_known, state.changes
    streak, streak_since = 0, None
    turns = found is not health
    if turns and health is not Health.UNKNOWN and not stale(state, received_at):
        towards = 1 if SEVERITY[found] > SEVERITY[health] else -1
        goes_on = state.streak * towards > 0
        streak = state.streak + towards if goes_on else towards
        streak_since = state.streak_since if goes_on else received_at
        turns = streak >= settings.fail_after or -streak >= settings.pass_after
    if turns:
        last_known = health if found is Health.UNKNOWN else None
        # `went_stale` may have run while this verdict waited in a queue, hence max.
        since = max(since, received_at if streak_since is None else streak_since)
        health, changes = found, changes + 1
        streak, streak_since = 0, None

    holder = state if streak else verdict
    # Positional and whole: dataclasses.replace costs twice as much, and this runs once a verdict.
    return CheckState(
        state.cluster_id,
        state.check,
        health,
        since,
        holder.reason,
        holder.stage,
        holder.message,
        holder.evidence,
        verdict,
        streak,
        streak_since,
        last_known,
        received_at if verdict.outcome in _SUCCESS else state.last_success_at,
        verdict.observed_at,
        received_at,
        verdict.allowance_s,
        record(state.flap, found, enter=settings.flap_enter, leave=settings.flap_leave),
        changes,
        state.location_id,
    )


def expires_at(state: CheckState) -> float:
    """Hub clock: the last instant at which the newest verdict still stands."""
    return state.received_at + state.allowance_s


def stale(state: CheckState, now: float) -> bool:
    """Whether the newest verdict is older than its allowance."""
    return now > state.received_at + state.allowance_s


def shown(state: CheckState, now: float) -> Shown:
    """What to show at `now`; the same whether or not `went_stale` has run."""
    if stale(state, now):
        known = state.health is not Health.UNKNOWN
        return Shown(
            state=state,
            health=Health.UNKNOWN,
            reason=Reason.STALE,
            stage=Stage.HUB,
            message=_stale_message(state, now),
            since=expires_at(state) if known else state.since,
            last_known=state.health if known else state.last_known,
        )
    return Shown(state, state.health, state.reason, state.stage, state.message, state.since, state.last_known)


def went_stale(state: CheckState, now: float) -> CheckState:
    """The state once the recorder has noticed that it is stale at `now`; the same object if there is nothing to notice.

    Unknown begins when the allowance ran out, not when it was noticed. A state that was Unknown already gets the
    reason Stale without a change of health. The evidence stays: it belongs to the last known health.
    """
    if not stale(state, now) or state.reason is Reason.STALE:
        return state
    seen = shown(state, now)
    return replace(
        state,
        health=seen.health,
        since=seen.since,
        reason=seen.reason,
        stage=seen.stage,
        message=seen.message,
        last_known=seen.last_known,
        streak=0,
        streak_since=None,
        changes=state.changes + (state.health is not Health.UNKNOWN),
    )


def rollup(lifecycle: Lifecycle, checks: Iterable[Shown], *, paused: bool = False) -> Rollup:
    """The health of a cluster from its checks, in any order.

    A lifecycle other than Active is named before a pause: it says what the cluster does, and the pause is still
    there when it is over. Among equally bad checks the one that is bad for longest decides.
    """
    checks = tuple(checks)
    contacts = [check.state.last_success_at for check in checks if check.state.last_success_at is not None]
    last_success_at = max(contacts, default=None)
    if lifecycle is not Lifecycle.ACTIVE or paused:
        reason = Reason.PAUSED if lifecycle is Lifecycle.ACTIVE else _SUSPENDED_BY[lifecycle]
        return _undecided(Health.SUSPENDED, reason, last_success_at)
    if not checks:
        return _undecided(Health.UNKNOWN, Reason.NOT_CHECKED_YET, None)
    worst = min(checks, key=_worst_first)
    return Rollup(
        health=worst.health,
        reason=worst.reason,
        stage=worst.stage,
        message=worst.message,
        check=worst.state.check,
        since=worst.since,
        last_known=worst.last_known,
        last_success_at=last_success_at,
        flapping=any(check.state.flap.flapping for check in checks),
    )


def shift(state: CheckState, by_s: float) -> CheckState:
    """The same state after the hub clock was moved by `by_s` seconds: every instant moves, every age stays."""
    latest = state.latest
    return replace(
        state,
        since=state.since + by_s,
        streak_since=None if state.streak_since is None else state.streak_since + by_s,
        last_success_at=None if state.last_success_at is None else state.last_success_at + by_s,
        observed_at=state.observed_at + by_s,
        received_at=state.received_at + by_s,
        latest=latest and replace(latest, observed_at=latest.observed_at + by_s, received_at=latest.received_at + by_s),
    )


def _unasked(verdict: Verdict) -> CheckState:
    """What is known before the first verdict: nothing, so that any verdict is newer and decides."""
    return CheckState(
        cluster_id=verdict.cluster_id,
        check=verdict.check,
        health=Health.UNKNOWN,
        since=verdict.received_at,
        reason=Reason.NOT_CHECKED_YET,
        stage=Stage.HUB,
        message="",
        evidence=NO_EVIDENCE,
        latest=None,
        streak=0,
        streak_since=None,
        last_known=None,
        last_success_at=None,
        observed_at=-inf,
        received_at=-inf,
        allowance_s=0.0,
        flap=NO_FLAP,
        changes=0,
        location_id=verdict.location_id,
    )


def _worst_first(check: Shown) -> tuple[int, float, Check]:
    return -SEVERITY[check.health], check.since, check.state.check


def _undecided(health: Health, reason: Reason, last_success_at: float | None) -> Rollup:
    info = REASONS[reason]
    return Rollup(health, reason, info.stage, info.means, None, None, None, last_success_at, flapping=False)


def _stale_message(state: CheckState, now: float) -> str:
    known = state.last_known if state.health is Health.UNKNOWN else state.health
    last = "It was never known" if known is None else f"Last known: {known}"
    age_s = now - state.received_at
    return f"Nothing heard for {_span(age_s)}; the last answer stood for {_span(state.allowance_s)}. {last}."


def _span(seconds: float) -> str:
    for unit, size_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f} {unit}"
    return f"{seconds:.0f} s"
