"""Ending certificates: of an organisation, of an installation, or one. The next request with one of them is refused.

Erasing is more: what was received of an organisation goes, too.
"""

from __future__ import annotations

from uuid import UUID

from store.pool import Session
from uplink.receiver.audit import Action, By, note
from uplink.receiver.batches import Batches
from uplink.receiver.storing import Store

OPERATOR = "operator"
"""Why: a person has decided."""


async def revoke(store: Store, what: str, now: float, by: By | None = None) -> int:
    """Gives how many certificates have ended. `what` is an organisation's id, an installation's UUID or a serial.

    An organisation's tokens end with it. `by`: who decides; else the user of this process. Raises `StoreError`.
    """
    sql, by = store.sql, by or By.command()
    try:
        installation = UUID(what)
    except ValueError:
        installation = None
    async with store.db.transaction() as tx:
        if installation is not None and str(installation) == what.lower():
            organisation = await tx.fetchval(sql["lock_installation"], installation)
            ended = int(await tx.fetchval(sql["revoke_installation"], installation, now, OPERATOR))
        elif await tx.fetchrow(sql["show_org"], what) is not None:
            return await _end_organisation(store, tx, what, now, by, Action.REVOKE)
        else:
            row = await tx.fetchrow(sql["revoke_serial"], what.lower(), now, OPERATOR)
            organisation, installation = (None, None) if row is None else (row["org_id"], row["installation_id"])
            ended = int(row is not None)
        if ended:
            await note(
                store, tx, by, Action.REVOKE, now, organisation, installation, named=what.lower(), certificates=ended
            )
    return ended


async def erase(store: Store, organisation: str, now: float, by: By | None = None) -> tuple[int, int]:
    """Revoke all of an organisation, and delete all that was received of it. Raises `StoreError`.

    Gives how many certificates have ended, and how many batches have gone. What an error stops can be asked for again.
    """
    by = by or By.command()
    async with store.db.transaction() as tx:
        ended = await _end_organisation(store, tx, organisation, now, by, Action.ERASE)
    batches = Batches(store)
    rows = await store.db.fetch(store.sql["installations_of"], organisation)
    return ended, sum([await batches.forget(row["id"], now, OPERATOR, by) for row in rows])


async def _end_organisation(store: Store, tx: Session, organisation: str, now: float, by: By, action: Action) -> int:
    tokens = int(await tx.fetchval(store.sql["revoke_activations"], organisation, now))
    ended = int(await tx.fetchval(store.sql["revoke_org"], organisation, now, OPERATOR))
    await note(store, tx, by, action, now, organisation, certificates=ended, tokens=tokens)
    return ended
