"""Ending certificates: of an organisation, of an installation, or one. The next request with one of them is refused.

Erasing is more: what was received of an organisation goes, too.
"""

from __future__ import annotations

from uuid import UUID

from uplink.receiver.batches import Batches
from uplink.receiver.storing import Store

OPERATOR = "operator"
"""Why: a person has decided."""


async def revoke(store: Store, what: str, now: float) -> int:
    """Gives how many certificates have ended. `what` is an organisation's id, an installation's UUID or a serial.

    An organisation's tokens end with it. Raises `StoreError`.
    """
    sql = store.sql
    try:
        installation = UUID(what)
    except ValueError:
        installation = None
    if installation is not None and str(installation) == what.lower():
        return int(await store.db.fetchval(sql["revoke_installation"], installation, now, OPERATOR))
    async with store.db.transaction() as tx:
        if await tx.fetchrow(sql["show_org"], what) is not None:
            await tx.execute(sql["revoke_activations"], what, now)
            return int(await tx.fetchval(sql["revoke_org"], what, now, OPERATOR))
        return int(await tx.fetchval(sql["revoke_serial"], what.lower(), now, OPERATOR))


async def erase(store: Store, organisation: str, now: float) -> int:
    """Revoke all of an organisation, and delete all that was received of it; gives how many batches. `StoreError`."""
    await revoke(store, organisation, now)
    batches = Batches(store)
    rows = await store.db.fetch(store.sql["installations_of"], organisation)
    return sum([await batches.forget(row["id"], now, OPERATOR) for row in rows])
