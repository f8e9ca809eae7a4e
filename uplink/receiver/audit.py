"""The audit log: who has decided what at this receiver, and what organisations have got, been refused, or had deleted.

A line is written in the transaction of what it tells of: neither is there without the other. A trigger refuses every
UPDATE, DELETE and TRUNCATE, and retention leaves it alone. Whoever owns the database can remove the trigger; a hash
chain was rejected, since the same person can write all of it anew, and every enrolment would wait for the one before.

A refusal has no transaction, and anybody may cause one: refusals have a bound (`enrolment.py`), and what is beyond it
is counted.
"""

from __future__ import annotations

import os
import pwd
import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from store.pool import Statements
from uplink.receiver.storing import Store

STRANGER: Final = "a stranger"
"""Who has shown nothing that we know."""


class Action(StrEnum):
    """What was done."""

    CREATE_CA = "ca.create"
    ROLL_CA = "ca.roll"
    CREATE_TOKEN = "token.create"  # noqa: S105 - no secret
    REVOKE_TOKEN = "token.revoke"  # noqa: S105 - no secret
    WAIT = "enrolment.wait"
    """A token was used, and somebody has to approve."""
    APPROVE = "enrolment.approve"
    REFUSE = "enrolment.refuse"
    ISSUE = "certificate.issue"
    RENEW = "certificate.renew"
    REFUSE_RENEWAL = "renewal.refuse"
    REVOKE = "certificate.revoke"
    IMPORT = "file.import"
    FORGET = "installation.forget"
    """What was received of it is deleted, and its certificates have ended."""
    ERASE = "organisation.erase"
    """The same of all its installations; a `FORGET` for each follows."""


class Door(StrEnum):
    """How somebody came."""

    COMMAND = "command"
    EST = "est"
    OTLP = "otlp"


@dataclass(frozen=True, slots=True)
class By:
    """Who does it. `source` is an address, or the host of a command."""

    who: str
    door: Door
    source: str

    @classmethod
    def command(cls) -> By:
        """The user of this process. Whoever is root by `sudo` is named as they were before, which root could change."""
        uid = os.getuid()
        try:
            who = pwd.getpwuid(uid).pw_name
        except KeyError:  # in a container
            who = f"uid {uid}"
        before = os.environ.get("SUDO_USER", "")
        return cls(f"{before} as {who}" if uid == 0 and before else who, Door.COMMAND, socket.gethostname())


@dataclass(frozen=True, slots=True)
class Line:
    """One. `at` in seconds since the epoch, by the clock of the host that wrote it."""

    id: int
    at: float
    who: str
    door: str
    source: str
    action: str
    org_id: str | None
    installation_id: UUID | None
    about: dict[str, Any]


async def note(
    store: Store,
    within: Statements,
    by: By,
    action: Action,
    now: float,
    organisation: str | None = None,
    installation: UUID | None = None,
    **about: Any,
) -> None:
    """Add a line in the transaction `within`. No secret belongs into `about`. Raises `StoreError`."""
    sql = store.sql["note"]
    await within.execute(sql, now, by.who, by.door, by.source, action, organisation, installation, about)


async def lines(store: Store, organisation: str | None, limit: int) -> list[Line]:
    """Newest first; of one organisation or of all. Raises `StoreError`."""
    return [Line(**row) for row in await store.db.fetch(store.sql["show_audit"], organisation, limit)]
