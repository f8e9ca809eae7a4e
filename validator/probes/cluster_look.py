"""One look at what a cluster's backup products say, and every few looks at how they get their identity.

A target of an engine of its own, beside the one that asks API servers: a look takes up to half a minute, and a cluster
whose custom resources hang must not be late for its main check. One look serves all pairs of the cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from validator.answer import Answer, Fact
from validator.clock import Clock
from validator.credentials import CredentialSource
from validator.probes.identity_check import IdentityCheck
from validator.probes.resource import LastRead, ResourceProbe

_log = structlog.get_logger(__name__)


class ClusterLook:
    """Reads Velero's and Stork's resources, then, if that worked, the service accounts.

    `on_read` is called after each read, well or ill: `last_read` is another one then. `looks_at_identity` says whether
    the hub is to look at the identity, too: an agent does that by itself.
    """

    def __init__(
        self,
        name: str,
        resources: ResourceProbe,
        identity: IdentityCheck,
        source: CredentialSource | None,
        *,
        clock: Clock,
        identity_every: int,
        looks_at_identity: Callable[[], bool],
        on_read: Callable[[], None],
    ) -> None:
        self._name = name
        self._resources = resources
        self._identity = identity
        self._source = source
        self._clock = clock
        self._identity_every = identity_every
        self._looks_at_identity = looks_at_identity
        self._on_read = on_read
        self._until_identity = 0

    @property
    def last_read(self) -> LastRead | None:
        """What the last read brought; None before the first."""
        return self._resources.last_read

    async def ask(self) -> Answer:
        try:
            return await self._look()
        except Exception:  # noqa: BLE001 - the engine would take a defect for one of the API server's check
            _log.exception("look defect", cluster=self._name)
            return Answer(())  # what it would have told gets old

    async def _look(self) -> Answer:
        before = self._resources.last_read
        answer = await self._resources.ask()
        if self._resources.last_read is not before:
            self._on_read()
        if answer.unanswered or not self._looks_at_identity():
            return answer
        return replace(answer, facts=(*answer.facts, *await self._identity_facts()))

    def close(self) -> None:
        self._resources.close()

    async def _identity_facts(self) -> tuple[Fact, ...]:
        if self._until_identity > 0:
            self._until_identity -= 1
            return ()
        credential = None if self._source is None else self._source.current(self._clock.now())
        if credential is None:  # the check `credential` says so
            return ()
        self._until_identity = self._identity_every - 1
        return (replace(await self._identity.look(credential), every=self._identity_every),)
