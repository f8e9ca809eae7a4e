"""Reading single fields of a document that anybody may have written: absent, of another type, endless. Pure.

Nothing here raises for what a document holds. Only the field that is asked for is looked at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

MAX_FIELD_CHARS = 500
"""Of a name, a URL or a state; what is longer is none, and reads as absent."""

MAX_STATE_CHARS = 40
"""Of a state that is told on: `ValidationInProgress` has 20."""

_STATE = re.compile(rf"[A-Za-z][A-Za-z0-9_-]{{0,{MAX_STATE_CHARS - 1}}}")
_GO_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ns|us|µs|ms|s|m|h)")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def field(document: object, path: str) -> object:
    """What is at a dotted path; None if anything on the way is absent or no mapping."""
    for key in path.split("."):
        if not isinstance(document, Mapping):
            return None
        document = document.get(key)
    return document


def text(document: object, path: str, limit: int = MAX_FIELD_CHARS) -> str | None:
    """The text at a path, without blanks around it; None if there is none, an empty one, or one beyond `limit`."""
    value = field(document, path)
    return value.strip() or None if isinstance(value, str) and len(value) <= limit else None


def flag(document: object, path: str) -> bool:
    """Whether the field is true, or the text that Velero's `config` has for it."""
    value = field(document, path)
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")


def state(value: object) -> str:
    """A state's word as it stands; "" if there is none; `(no word)` for what can't be one and is not told on."""
    if value is None or value == "":
        return ""
    return value if isinstance(value, str) and _STATE.fullmatch(value) else "(no word)"


def moment(document: object, path: str) -> float | None:
    """The instant at a path, seconds since the epoch; None if there is none that can be read."""
    value = text(document, path, 64)
    if value is None:
        return None
    try:
        when = datetime.fromisoformat(value)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def duration_s(value: str) -> float | None:
    """Seconds of a duration as Go writes it (`1h30m`, `1m0s`, `0s`, `-1s`); None if it is none."""
    unsigned = value.removeprefix("-").removeprefix("+")
    if unsigned == "0":
        return 0.0
    parts = _GO_DURATION.findall(unsigned)
    if not parts or "".join(number + unit for number, unit in parts) != unsigned:
        return None
    seconds = math.fsum(float(number) * _UNIT_S[unit] for number, unit in parts)
    return -seconds if value.startswith("-") else seconds
