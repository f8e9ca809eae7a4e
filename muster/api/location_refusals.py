"""What is said to whoever asks something of a location that can't be. Each says what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from collector.location import BackupLocation
from collector.location_status import NOT_TOUCHED
from collector.location_store import Holder, HolderKind
from collector.locations import MAX_LOCATIONS
from muster.api import schemas
from muster.api.bodies import MAX_ERRORS
from muster.api.location_documents import location_etag
from muster.api.problems import Kind, ProblemError
from validator.locations import FieldProblem

MOST_HOLDERS = 100
"""In one answer; the rest is counted."""

MOST_NAMED = 5
"""In a sentence."""

_LETTING_GO = {
    HolderKind.CLUSTER: "unassign the clusters",
    HolderKind.BACKUP: "delete the backups with the product that made them",
    HolderKind.SCHEDULE: "point the schedules elsewhere",
    HolderKind.RESTORE: "wait for the restores to end, or delete them",
    HolderKind.SYNC: "wait for the sync to end",
    HolderKind.UNREAD: "make what can't be read readable, or delete with `force=true` if nothing there refers to it",
}


def bad_fields(problems: Sequence[FieldProblem]) -> ProblemError:
    """Fields of a body that break a rule."""
    shown = problems[:MAX_ERRORS]
    errors = [{"field": each.field, "message": each.message} for each in shown]
    return ProblemError(Kind.BAD_BODY, f"{'; '.join(map(str, shown))}.", errors=errors)


def not_found(name: str, suggestions: list[str]) -> ProblemError:
    """Nothing has this name."""
    hint = f"Did you mean {', '.join(suggestions)}?" if suggestions else "GET /api/v1/locations has those there are."
    return ProblemError(
        Kind.LOCATION_NOT_FOUND, f"No location is called {name[:100]!r}. {hint}", suggestions=suggestions
    )


def exists(current: BackupLocation) -> ProblemError:
    """The name is taken."""
    what = (
        "It is being deleted; the name is free when that has ended"
        if current.deleting_at is not None
        else "Choose another name, or use that location"
    )
    detail = f"{current.name} is {current.where.url} already, made by {current.created_by}. {what}."
    return ProblemError(Kind.LOCATION_EXISTS, detail, location=str(current.id))


def shared(others: Sequence[BackupLocation]) -> ProblemError:
    """The bucket is another location's."""
    names = [each.name for each in others]
    detail = (
        f"{others[0].where.url} is the location {_enumerated(names)} already. Assign that one, or say "
        '`"allow_shared": true` if two locations in one bucket are meant.'
    )
    return ProblemError(Kind.BUCKET_SHARED, detail, locations=names[:MOST_HOLDERS])


def too_many() -> ProblemError:
    """There are as many as there may be."""
    detail = f"There are {MAX_LOCATIONS:,} locations, and more are not kept. Delete those that nobody uses."
    return ProblemError(Kind.TOO_MANY_LOCATIONS, detail)


def immutable(current: BackupLocation) -> ProblemError:
    """Something else than the assignment was to be changed."""
    return ProblemError(
        Kind.LOCATION_IMMUTABLE,
        f"After creation only the assignment of {current.name} can be changed: PUT or PATCH "
        f"/api/v1/locations/{current.name}/assignment. For anything else make another location, assign the clusters "
        "to that, and delete this one.",
    )


def held(current: BackupLocation, holders: Sequence[Holder]) -> ProblemError:
    """A deletion has to wait."""
    counts = Counter(each.kind for each in holders)
    told = [
        f"{number} {kind}{'s' if number > 1 else ''} ({_enumerated([e.name for e in holders if e.kind is kind])})"
        for kind, number in counts.items()
    ]
    remedy = ", ".join(_LETTING_GO[kind] for kind in counts)
    return ProblemError(
        Kind.LOCATION_HELD,
        f"{current.name} is held by {' and '.join(told)}. First {remedy}. {NOT_TOUCHED}.",
        holders=[{"kind": each.kind, "name": each.name, "id": each.id} for each in holders[:MOST_HOLDERS]],
        total=len(holders),
    )


def deleting(current: BackupLocation) -> ProblemError:
    """It is on its way out."""
    return ProblemError(
        Kind.LOCATION_DELETING,
        f"{current.name} is being deleted since {current.deleting_by} asked for it. Make another location.",
    )


def not_assigned(current: BackupLocation, clusters: Sequence[str]) -> ProblemError:
    """Clusters that don't use it, or no cluster at all."""
    who = f"{_enumerated(clusters)} {'does' if len(clusters) == 1 else 'do'} not use" if clusters else "No cluster uses"
    return ProblemError(
        Kind.PAIR_NOT_FOUND, f"{who} {current.name}, so there is nothing to validate from there. Assign it first."
    )


def changed(current: BackupLocation, document: schemas.LocationDetail) -> ProblemError:
    """What `If-Match` names is not what is there."""
    return ProblemError(
        Kind.PRECONDITION_FAILED,
        f"The ETag of {current.name} is {location_etag(current)} now; look, and send that.",
        location=document.model_dump(mode="json", exclude={"clusters"}),
    )


def unconditional(current: BackupLocation) -> ProblemError:
    """A whole assignment was sent by somebody who does not say what they have seen."""
    return ProblemError(
        Kind.PRECONDITION_REQUIRED,
        f"This replaces all clusters of {current.name}: send `If-Match: {location_etag(current)}` once you have seen "
        "them, or PATCH to add and remove some.",
    )


def _enumerated(names: Collection[str]) -> str:
    some = [name[:100] for name in list(names)[:MOST_NAMED]]
    more = len(names) - len(some)
    return ", ".join(some) + (f" and {more} more" if more else "")
