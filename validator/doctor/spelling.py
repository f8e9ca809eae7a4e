"""Annotations that are nearly right: the commonest slip is another domain before the slash. Pure."""

from __future__ import annotations

from validator.doctor.case import Case
from validator.doctor.step import Step, bad
from validator.printable import printable
from validator.reasons import Reason


def misspelt(case: Case, key: str) -> Step | None:
    """The finding, where the service account has the same annotation under another domain (`eks.amazon.aws/…`)."""
    other = _like(case, key)
    if other is None:
        return None
    fix = (
        case.kubectl.annotate(case.name, key, case.seen.annotations[other].strip()),
        case.kubectl.unannotate(case.name, other),
        *case.restart(),
    )
    seen = f"it is written {printable(other)}; the name is {key}"
    return bad("annotation", Reason.SERVICE_ACCOUNT_NOT_ANNOTATED, seen, fix)


def meant(case: Case, key: str) -> str | None:
    """The annotation's value, also where its name is misspelt: what will be right once that is mended."""
    value = case.seen.annotations.get(key)
    if value is None and (other := _like(case, key)):
        return case.seen.annotations[other].strip()
    return value


def _like(case: Case, key: str) -> str | None:
    ending = key.partition("/")[2]
    return next((other for other in case.seen.annotations if other != key and other.partition("/")[2] == ending), None)
