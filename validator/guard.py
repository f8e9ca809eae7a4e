"""The own-outage guard: when most of the fleet goes dark at once, the hub's own network is the likelier cause.

It gates alerts, never Health: what is shown stays what the verdicts say. People get one sentence instead of
4,000 alerts. It can't hold for ever: after `longest_s` it is real, whatever the cause, and people must know.

The share is counted among the clusters that were answering when it began: a fleet in which every third cluster is
dead for good would otherwise never count as calm again. Clusters that never answered don't count as going dark: the
first picture of a fleet with many dead clusters is no outage of the hub. Clusters not heard of for long, as after a
restart of the hub, count once they are heard of: a hub that boots without network is recognised by the first few.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from validator.health import CheckState, candidate, expires_at, stale
from validator.model import Check
from validator.reasons import Health


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """When to hold the alerts, and when to let go. Raises ValueError, naming the field, when it makes no sense."""

    share: float = 0.5
    """More than this share of the answering clusters has to stop answering within `interval_s`."""
    minimum: int = 5
    """And at least this many: three clusters behind one broken switch are three alerts, not an outage of the hub."""
    release_share: float = 0.25
    """Calm is when less than this share of them is still failing; below `share`, so that it does not flutter."""
    interval_s: float = 30.0
    """The probe interval: how close together failures have to begin, and how long calm has to last."""
    longest_s: float = 900.0
    """Longest hold. 15 min: a restart of a router or VPN is over by then, and nobody should learn of more so late."""

    def __post_init__(self) -> None:
        if not 0 < self.release_share <= self.share < 1:
            raise ValueError(
                f"release_share is {self.release_share} and share is {self.share}; "
                "both lie between 0 and 1, and release_share is not above share"
            )
        for name, value in (
            ("minimum", self.minimum),
            ("interval_s", self.interval_s),
            ("longest_s", self.longest_s),
        ):
            if not value > 0:
                raise ValueError(f"{name} is {value}; it has to be above 0")


@dataclass(frozen=True, slots=True)
class Guard:
    """Whether alerts are held. An incident lasts until it is calm; alerts are held for its first `longest_s` only."""

    holding: bool = False
    since: float | None = None
    """Hub clock: when the incident began. Still set after `longest_s`, so that the same incident never holds twice."""
    calm_since: float | None = None
    """Since when so few fail that the incident may be over."""
    why: str = ""
    """One sentence with the numbers, of the last time that `holding` changed. A new sentence is worth a log line."""


QUIET = Guard()


@dataclass(frozen=True, slots=True)
class Counts:
    """The fleet as the guard sees it."""

    total: int
    """Clusters that are judged (not Suspended) and were asked at least once."""
    failing: int
    """Those whose health, or whose newest verdict, is Unreachable, Unhealthy or Unknown: what alerts are made of.
    A cluster that is recovering counts until its health has recovered, or releasing would alert for it."""
    newly_failing: int
    """Those of them that answered once and began to fail no longer than an interval ago, or, during an incident, no
    longer than an interval before it."""

    def __add__(self, other: Counts) -> Counts:
        """Of two parts of the fleet together."""
        return Counts(self.total + other.total, self.failing + other.failing, self.newly_failing + other.newly_failing)

    @property
    def answering_before(self) -> int:
        """Clusters that answer, or did until the newly failing ones began to fail."""
        return self.total - self.failing + self.newly_failing


def count(
    guard: Guard, states: Iterable[CheckState], suspended: Container[UUID], now: float, settings: GuardSettings
) -> Counts:
    """Count the fleet, or a part of it, from all check states; only `apiserver` says whether a cluster answers.

    A verdict that says nothing counts as failing: a hub that has run out of descriptors is such a case.
    """
    horizon = (now if guard.since is None else guard.since) - settings.interval_s
    total = failing = newly_failing = 0
    for state in states:
        if state.check is not Check.APISERVER or state.cluster_id in suspended:
            continue
        total += 1
        began = _failing_since(state, now)
        if began is None:
            continue
        failing += 1
        if began >= horizon and state.last_success_at is not None:
            newly_failing += 1
    return Counts(total, failing, newly_failing)


def assess(guard: Guard, counts: Counts, references: Sequence[bool], now: float, settings: GuardSettings) -> Guard:
    """Whether to hold alerts from now on; `references` says which of the hub's own reference targets answer.

    To be asked more often than once an interval. The same object comes back as long as nothing changed.
    """
    unconnected = bool(references) and not any(references)
    dark, answering = counts.newly_failing, counts.answering_before
    if guard.since is None:
        if dark >= settings.minimum and dark > settings.share * answering:
            seen = f"{dark} of {answering} answering clusters stopped answering within {settings.interval_s:.0f} s"
        elif unconnected:
            seen = f"None of the hub's {len(references)} reference targets answers"
        else:
            return guard
        why = (
            f"{seen}: most likely it is the hub's own network; alerts are held for {_min(settings.longest_s)} at most."
        )
        return Guard(holding=True, since=now, why=why)

    so_far = f"{dark} of {answering} clusters that answered before fail"
    if guard.holding and now - guard.since >= settings.longest_s:
        why = f"Held for {_min(settings.longest_s)}, and {so_far}: it is real, or the hub needs repair; alerts go out."
        return replace(guard, holding=False, calm_since=None, why=why)
    if unconnected or dark >= settings.release_share * max(answering, 1):
        return guard if guard.calm_since is None else replace(guard, calm_since=None)
    if guard.calm_since is None:
        return replace(guard, calm_since=now)
    if now - guard.calm_since < settings.interval_s:
        return guard
    return Guard(why=f"It is over: {so_far}; alerts go out." if guard.holding else guard.why)


def shift(guard: Guard, by_s: float) -> Guard:
    """The same guard after the hub clock was moved by `by_s` seconds."""
    return replace(
        guard,
        since=None if guard.since is None else guard.since + by_s,
        calm_since=None if guard.calm_since is None else guard.calm_since + by_s,
    )


_ANSWERING = frozenset({Health.HEALTHY, Health.DEGRADED})


def _failing_since(state: CheckState, now: float) -> float | None:
    """When the cluster stopped answering, as far as is known; None if it answers."""
    if state.health not in _ANSWERING:
        return state.since
    if state.latest is not None and candidate(state.latest) not in _ANSWERING:
        return state.since if state.streak_since is None else state.streak_since
    return expires_at(state) if stale(state, now) else None


def _min(seconds: float) -> str:
    return f"{seconds / 60:.0f} min"
