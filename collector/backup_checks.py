"""From an inventory to what it says of each pair: the checks `backups` and `missing-files`. Pure; `now` is an argument.

No layout names the cluster that made a backup. So what is whose is decided so: where one cluster uses the location,
all is its own. Where several do, a store of Velero belongs to the cluster whose name (or other name, or id) is a part
of its prefix. What is nobody's by that may be anybody's: a cluster without backups of its own is then Unknown, and
never green because of a neighbour's backup; but where the newest of all is too old, so is everybody's.

A pass stands until the newest backup that was seen is too old: then a new listing is due, and until it has come nobody
knows. A listing is complete in itself, so that one decides, without the three answers that a flickering line needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from validator.backups.inventory import Group, Inventory
from validator.backups.layout import Product
from validator.model import Check, Evidence, Outcome, Verdict
from validator.printable import printable
from validator.reasons import REASONS, Reason

HOUR_S = 3600.0

SOONEST_S = HOUR_S
"""Between two listings that nobody asked for."""

RESYNC_S = HOUR_S
"""For the next listing to be done, after it is due."""


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """What is expected of backups, and how often that is looked at."""

    backup_max_age_s: float = 26 * HOUR_S
    """Daily backups, with two hours to be made in: a threshold of a day would alarm whenever one takes longer."""
    sync_interval_s: float = 24 * HOUR_S
    """Between two listings of a location that has the sync flag. Storage takes money for lists."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One listing, and who made it."""

    inventory: Inventory
    location_id: UUID
    at: float
    took_s: float
    method: str


def period_s(newest_at: float | None, at: float, settings: SyncSettings) -> float:
    """After how long the next listing is due: at the interval, or when the newest backup gets too old."""
    if newest_at is None:
        return settings.sync_interval_s
    left_s = newest_at + settings.backup_max_age_s - at
    if left_s <= 0:
        return settings.sync_interval_s
    return min(settings.sync_interval_s, max(SOONEST_S, left_s))


def verdicts_of(
    seen: Seen, clusters: Mapping[UUID, Collection[str]], about: Collection[UUID], settings: SyncSettings
) -> list[Verdict]:
    """What a listing says of the pairs of these clusters (`about`), of all that use the location (with their names).

    An agent's listing is used for its own cluster alone: what a tenant says must not turn another's view.
    """
    whose = owners(seen.inventory.groups, clusters)
    found: list[Verdict] = []
    for cluster_id in about:
        own = [group for group, owner in zip(seen.inventory.groups, whose, strict=True) if owner == cluster_id]
        found.append(_backups(seen, cluster_id, own, settings, others=None in whose))
        found.append(_missing(seen, cluster_id, settings, alone=len(clusters) == 1))
    return found


def owners(groups: Iterable[Group], clusters: Mapping[UUID, Collection[str]]) -> list[UUID | None]:
    """Whose each group is; None where the layout does not tell."""
    if len(clusters) == 1:
        (only,) = clusters
        return [only for _ in groups]
    by_name: dict[str, UUID | None] = {}
    for cluster_id, names in clusters.items():
        for name in {*names, str(cluster_id)}:
            by_name[name] = None if by_name.get(name, cluster_id) != cluster_id else cluster_id  # two have this name
    return [_owner(group, by_name) for group in groups]


def _owner(group: Group, by_name: Mapping[str, UUID | None]) -> UUID | None:
    if group.product is not Product.VELERO:
        return None  # a namespace has the same name in every cluster
    named = {by_name[part] for part in group.prefix.split("/") if part in by_name}
    return named.pop() if len(named) == 1 else None


def _backups(seen: Seen, cluster_id: UUID, own: Collection[Group], settings: SyncSettings, *, others: bool) -> Verdict:
    newest = max(own, key=lambda each: each.newest_at or 0.0, default=None)
    at = None if newest is None else newest.newest_at
    max_age_s, overall = settings.backup_max_age_s, seen.inventory.newest_at
    evidence: dict[str, str | int | float | bool] = {
        "backups": sum(each.backups for each in own),
        "max_age_h": round(max_age_s / HOUR_S, 2),
        "period_h": round(period_s(at, seen.at, settings) / HOUR_S, 4),
    }
    if newest is not None and at is not None:
        evidence |= {"newest": newest.newest, "newest_age_h": round(max(0.0, seen.at - at) / HOUR_S, 2)}
        evidence |= {"phase": newest.phase} if newest.phase else {}
    if at is not None and seen.at - at <= max_age_s:
        allowance_s = min(_allowance_s(settings), period_s(at, seen.at, settings) + RESYNC_S + seen.took_s)
        return _verdict(seen, cluster_id, Check.BACKUPS, Outcome.PASS, evidence, allowance_s)
    allowance_s = _allowance_s(settings)
    text = ""
    if seen.inventory.truncated:
        text = f"The list was cut short: {seen.inventory.truncated}."
    elif others and overall is not None and seen.at - overall <= max_age_s:
        text = "There are young backups in the location, but their layout does not tell which cluster has made them."
    if text:
        reason = Reason.BACKUPS_UNKNOWN
        return _verdict(seen, cluster_id, Check.BACKUPS, Outcome.UNKNOWN, evidence, allowance_s, reason, text)
    text = "There is no backup in the location."
    if at is not None:
        age_h, most_h = (seen.at - at) / HOUR_S, max_age_s / HOUR_S
        text = f"The newest backup is {age_h:,.1f} h old, and {most_h:g} h are allowed."
    elif seen.inventory.backups:
        text = "There is no backup of this cluster in the location that is whole and has not failed."
    return _verdict(seen, cluster_id, Check.BACKUPS, Outcome.FAIL, evidence, allowance_s, Reason.BACKUPS_TOO_OLD, text)


def _missing(seen: Seen, cluster_id: UUID, settings: SyncSettings, *, alone: bool) -> Verdict:
    """Of a location that others use too it is a finding: whose backup is broken nobody can tell."""
    inventory, allowance_s = seen.inventory, _allowance_s(settings)
    evidence: dict[str, str | int | float | bool] = {"missing": inventory.missing_total, "backups": inventory.backups}
    if not inventory.missing_total and inventory.truncated:
        text, reason = f"The list was cut short: {inventory.truncated}.", Reason.BACKUPS_UNKNOWN
        return _verdict(seen, cluster_id, Check.MISSING_FILES, Outcome.UNKNOWN, evidence, allowance_s, reason, text)
    if not inventory.missing_total:
        return _verdict(seen, cluster_id, Check.MISSING_FILES, Outcome.PASS, evidence, allowance_s)
    evidence |= {f"missing_{number}": name for number, name in enumerate(inventory.missing[:5], 1)}
    first = printable(inventory.missing[0], 200) if inventory.missing else ""
    count = inventory.missing_total
    text = f"{count:,} object{' is' if count == 1 else 's are'} missing, for example {first}."
    outcome = Outcome.FAIL if alone else Outcome.FINDING
    reason = Reason.BACKUP_FILES_MISSING
    return _verdict(seen, cluster_id, Check.MISSING_FILES, outcome, evidence, allowance_s, reason, text)


def _allowance_s(settings: SyncSettings) -> float:
    """As for every fact: two listings may not fail one after the other."""
    return 2.1 * settings.sync_interval_s + RESYNC_S


def _verdict(
    seen: Seen,
    cluster_id: UUID,
    check: Check,
    outcome: Outcome,
    evidence: Evidence,
    allowance_s: float,
    reason: Reason | None = None,
    message: str = "",
) -> Verdict:
    return Verdict(
        check=check,
        cluster_id=cluster_id,
        outcome=outcome,
        observed_at=seen.at,
        received_at=seen.at,
        duration_s=seen.took_s,
        lateness_s=0.0,
        allowance_s=allowance_s,
        reason=reason,
        stage=None if reason is None else REASONS[reason].stage,
        message=message,
        evidence={"method": seen.method, **evidence},
        location_id=seen.location_id,
    )
