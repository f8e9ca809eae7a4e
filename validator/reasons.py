"""The one table of reasons: what is wrong, at which stage, how bad, whether it passes by itself, and what to do.

`docs/reasons.md` is generated from it (`make docs`); a test says so. Adding a reason means a word in `words.py` and a
row in `reason_rows/`, nothing else: health, exit codes, metrics labels and remedies are read from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from validator.reason_rows.asker import ASKER_ROWS
from validator.reason_rows.cluster import CLUSTER_ROWS
from validator.reason_rows.identity import IDENTITY_ROWS
from validator.reason_rows.resource import RESOURCE_ROWS
from validator.reason_rows.storage import STORAGE_ROWS
from validator.words import PRECEDENCE, SEVERITY, Health, Reason, ReasonInfo, Stage

__all__ = ["PRECEDENCE", "REASONS", "SEVERITY", "Health", "Reason", "ReasonInfo", "Stage", "reason_from"]

REASONS: Mapping[Reason, ReasonInfo] = MappingProxyType(
    CLUSTER_ROWS | ASKER_ROWS | IDENTITY_ROWS | STORAGE_ROWS | RESOURCE_ROWS
)


def reason_from(text: str | None) -> Reason | None:
    """A stored reason, tolerant of rows that another release wrote: an unknown one reads as None."""
    try:
        return Reason(text) if text else None
    except ValueError:
        return None
