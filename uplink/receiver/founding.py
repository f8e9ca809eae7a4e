"""Making the CA and rolling it over, so that the audit log tells of it.

The line is written first and committed last: a crash in between leaves a CA that the log does not know for as long as
it takes to commit, and no line without a CA.
"""

from __future__ import annotations

from pathlib import Path

from uplink.receiver.audit import Action, By, note
from uplink.receiver.authority import Authority
from uplink.receiver.storing import Store


async def found(store: Store, directory: Path, name: str, now: float, by: By) -> Authority:
    """The first CA. Raises `PrivateFileError`, also where there is one, and `StoreError`."""
    made = Authority.new(name, now)
    async with store.db.transaction() as tx:
        await note(store, tx, by, Action.CREATE_CA, now, name=name, sha256=made.fingerprint)
        made.save(directory, first=True)
    return made


async def roll_over(store: Store, directory: Path, now: float, by: By) -> Authority:
    """Another generation of the one that is there. Raises `PrivateFileError`, `StoreError`."""
    before = Authority.load(directory)
    made = before.rolled(now)
    async with store.db.transaction() as tx:
        await note(store, tx, by, Action.ROLL_CA, now, sha256=made.fingerprint, before=before.fingerprint)
        made.save(directory)
    return made
