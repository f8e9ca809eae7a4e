"""What an answer to an upload means: the status table of G5, as data.

OTLP tells a client to drop what a 400 refuses. But nginx answers 400 with a page for a certificate that it does not
like, and captive portals answer 200 with a page for everything (H17, H21): so a status speaks for the receiver only
where the answer's type is protobuf, and everything else is held.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from uplink.wire.otlp import CONTENT_TYPE


class Act(StrEnum):
    """What the sender does with the batch."""

    DONE = "done"
    """Delete it; count what the partial success rejected."""
    FAILED = "failed"
    """Keep it and try again with backoff; several times in a row = poison (H20)."""
    HALVE = "halve"
    """Too large: send it as two, with ids of their own."""
    WAIT = "wait"
    """Keep it until `Retry-After`, or back off with jitter."""
    DROP = "drop"
    """Delete and count it: the receiver has read it and will never take it."""
    REENROL = "re-enrol"
    """Hold everything: the identity is not accepted. Enrol again, once."""
    HOLD = "hold"
    """Hold everything: somebody who is not the receiver has answered. Check identity, proxy and endpoint."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. `protobuf` None = whatever the answer's type is."""

    statuses: range
    protobuf: bool | None
    act: Act


def _one(status: int, protobuf: bool | None, act: Act) -> Rule:  # noqa: FBT001 - a column of a table
    return Rule(range(status, status + 1), protobuf, act)


RULES = (
    _one(200, True, Act.DONE),
    Rule(range(200, 300), None, Act.FAILED),
    Rule(range(300, 400), None, Act.HOLD),
    _one(401, None, Act.REENROL),
    _one(403, None, Act.REENROL),
    _one(407, None, Act.HOLD),
    _one(413, None, Act.HALVE),
    _one(429, None, Act.WAIT),
    Rule(range(502, 505), None, Act.WAIT),
    Rule(range(400, 600), True, Act.DROP),
    Rule(range(400, 500), False, Act.HOLD),
    Rule(range(500, 600), False, Act.FAILED),
)
"""The first row that fits decides."""


def verdict(status: int, content_type: str | None) -> Act:
    """What the sender does. `content_type` is the header, with parameters or without."""
    protobuf = (content_type or "").partition(";")[0].strip().lower() == CONTENT_TYPE
    for rule in RULES:
        if status in rule.statuses and rule.protobuf in (None, protobuf):
            return rule.act
    return Act.FAILED  # 1xx and what is no status at all
