"""What the metadata of one backup says: whether it ended well, and when. Pure; the bytes are anybody's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from validator.backups.layout import Product
from validator.printable import printable

_GOOD = {Product.VELERO: {"Completed", "PartiallyFailed"}, Product.STORK: {"Successful", "PartialSuccess"}}
"""Those of which something can be restored."""

_PHASE = {Product.VELERO: "phase", Product.STORK: "status"}
_ENDED = {Product.VELERO: "completionTimestamp", Product.STORK: "finishTimestamp"}


@dataclass(frozen=True, slots=True)
class Told:
    """What it says."""

    phase: str
    good: bool
    ended_at: float | None
    """By the clock of the cluster that made it."""


def told_by(product: Product, raw: bytes) -> Told | None:
    """None where it can't be read: encrypted (Stork), cut off, or nothing of the kind."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    status = found.get("status") if isinstance(found, dict) else None
    phase = status.get(_PHASE[product]) if isinstance(status, dict) else None
    if not isinstance(status, dict) or not isinstance(phase, str) or not phase:
        return None
    return Told(printable(phase, 40), phase in _GOOD[product], _instant(status.get(_ENDED[product])))


def _instant(value: Any) -> float | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
        return at.timestamp() if at is not None and at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
