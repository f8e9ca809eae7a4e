"""The identity in a Kubernetes Secret, for a hub whose pod has no disk that keys may lie on.

A write may reach the API server after the one who asked for it has given up, since the network lies between: so what
keeps the order of acts is not a queue here but the Secret itself. Three rules:

- A document is only ever put into a Secret as it was read (uid and resourceVersion). What the API server sees late is
  then a conflict. Creating is a step of its own and makes an empty one: late, it does no harm.
- Destroying takes the document out and leaves the Secret, with an annotation that has not been there before: the
  resourceVersion rises also where it was empty, so no late write finds what it was made for. Deleting was rejected: it
  leaves nothing to compare with, takes another right, and would remove what an operator has made.
- A writer whose document was destroyed by somebody else since it read does not write: the annotation is another one, or
  the Secret is gone. Anything else that somebody has changed is written over, as it would be in a file.

The API server is in the cluster and not the vendor's, but it is a network: where it does not answer, off is off all the
same (nothing is sent, and key and token are forgotten in memory), and `Off` calls `destroy` again until it is done, and
at the next start. etcd keeps what was in a Secret until it compacts (5 min) and in its backups; certificates that live
for days are the answer to that, as they are for disks.

One Secret is for one instance, like a data directory: a second instance without a consent destroys what it finds.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, NoReturn

from uplink.client.enrolment.identity import MAX_IDENTITY_BYTES
from uplink.client.enrolment.own_cluster import OwnCluster, Unanswered
from uplink.client.enrolment.secret_name import SecretName
from uplink.client.enrolment.secret_object import LABEL, LABEL_VALUE, Held, SecretObject
from uplink.wire.private_file import PrivateFileError

DEADLINE_S: Final = 5.0
"""Of one act, its wait for the acts before it not included: each of them has the same."""
WAIT_S: Final = 0.2
"""How long somebody waits for a key to be destroyed, of the second that off has; a usual API server takes 0.05 s. It
goes on after that."""
TRIES: Final = 5
"""Of one act, where others keep changing the Secret."""


@dataclass(frozen=True, slots=True)
class _Seen:
    there: bool
    emptied: str
    """The annotation."""


_NOTHING = _Seen(there=False, emptied="")


class SecretVault:
    """One key of one Secret. A `Vault`."""

    def __init__(self, name: SecretName, key: str, cluster: OwnCluster, deadline_s: float = DEADLINE_S) -> None:
        """Asks nothing yet. `key` is one that nobody else uses, e.g. `identity.json`."""
        self._name = name
        self._key = key
        self._cluster = cluster
        self._deadline_s = deadline_s
        self._mark = f"muster/emptied-{key}"
        self._turn = asyncio.Lock()
        self._seen: _Seen | None = None
        self._destroying: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def place(self) -> str:
        return f"Secret {self._name} (key {self._key})"

    async def read(self) -> bytes | None:
        async with self._act() as secret:
            held = await secret.get()
            self._seen = self._see(held)
            if held is None:
                return None
            if not held.ours:
                self._foreign("read")
            try:
                content = held.content(self._key)
            except ValueError as error:
                raise self._error(f"what it holds {error}. Switch telemetry off, and on again") from None
        if content is not None and len(content) > MAX_IDENTITY_BYTES:
            raise self._error(f"what it holds is longer than {MAX_IDENTITY_BYTES} bytes. It is not ours: remove it")
        return content

    async def write(self, document: bytes) -> None:
        self._destroying = None  # what is destroyed from now on is this
        if len(document) > MAX_IDENTITY_BYTES:
            raise self._error(f"{len(document)} bytes are more than {MAX_IDENTITY_BYTES}")
        async with self._act() as secret:
            for _ in range(TRIES):
                held = await secret.get()
                self._check_not_destroyed(held)
                held = held or await secret.create()
                if held is None:
                    continue
                if not held.ours:
                    self._foreign("written")
                if (after := await secret.replace(held.with_content(self._key, document))) is not None:
                    self._seen = self._see(after)
                    return
            self._contested()

    async def destroy(self) -> None:
        """Goes on where nobody waits any more. Raises `PrivateFileError` after `WAIT_S`, too: call it again.

        What it has ended with meanwhile is told then, and nothing begins anew: at an API server that always takes
        longer it would never end.
        """
        if self._destroying is None:
            self._destroying = asyncio.create_task(self._destroy(), name="telemetry-secret")
            self._tasks.add(self._destroying)
            self._destroying.add_done_callback(self._ended)
        task = self._destroying
        await asyncio.wait({task}, timeout=WAIT_S)
        if not task.done():
            raise self._error(f"the cluster's API server has not answered for {WAIT_S:g} s. This goes on")
        if self._destroying is task:
            self._destroying = None  # told
        task.result()

    async def _destroy(self) -> None:
        async with self._act() as secret:
            for _ in range(TRIES):
                held = await secret.get()
                if held is None:
                    self._seen = _NOTHING
                    return
                if not held.ours:
                    if held.has(self._key):
                        self._foreign("emptied")
                    return  # nothing of ours was ever put there
                empty = held.without(self._key).annotated(self._mark, secrets.token_hex(8))
                if (after := await secret.replace(empty)) is not None:
                    self._seen = self._see(after)
                    return
            self._contested()

    @asynccontextmanager
    async def _act(self) -> AsyncIterator[SecretObject]:
        """One at a time, in the order of calls."""
        try:
            async with self._turn, self._cluster.open(self._deadline_s) as talk:
                yield SecretObject(self._name, talk)
        except Unanswered as error:
            raise self._error(str(error)) from error

    def _see(self, held: Held | None) -> _Seen:
        return _NOTHING if held is None else _Seen(there=True, emptied=held.annotation(self._mark))

    def _check_not_destroyed(self, held: Held | None) -> None:
        now, seen = self._see(held), self._seen
        if seen is not None and (now.emptied != seen.emptied or (seen.there and not now.there)):
            raise self._error(
                "it was emptied or deleted by somebody else since it was read, and what they destroyed is not written "
                "again. Switch telemetry off and on; give each instance of Muster a Secret of its own"
            )

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it was told to whoever waited

    def _foreign(self, done: str) -> NoReturn:
        raise self._error(
            f"it lacks the label {LABEL}={LABEL_VALUE}, so it is somebody else's and is not {done}. Correct "
            "telemetry_secret; or, if it was made for Muster, label it"
        )

    def _contested(self) -> NoReturn:
        raise self._error(f"others have changed it {TRIES} times meanwhile. Find out who writes to it")

    def _error(self, what: str) -> PrivateFileError:
        return PrivateFileError(0, f"{self.place}: {what}")
