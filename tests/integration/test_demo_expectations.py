"""What the registry of behaviours expects of the probe is what the real probe says, on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
import uvloop

from muster.demo.behaviours import BEHAVIOURS, Behaviour
from muster.demo.fleet import SimulatedFleet
from muster.demo.site import SimulatedCluster
from tests.support.servers import credential_of, endpoint_of
from validator.clock import HubClock
from validator.keeper import CredentialKeeper
from validator.net.dialer import Dialer, StageDeadlines
from validator.net.resolver import CaresResolver
from validator.net.tls import TlsContexts
from validator.probes.apiserver import ApiServerProbe
from validator.probes.settings import ApiServerSettings
from validator.reasons import Reason

DEADLINES = StageDeadlines(connect_s=0.7, tls_s=0.7, http_s=0.9)
SETTINGS = replace(ApiServerSettings(), timeout_s=2.5, read_timeout_s=0.7, reuse_timeout_s=0.6, slow_after_s=0.3)

SECONDS = {"slow": 0.4, "flapping": 1e9}
"""Their usual N is too long for a test; and flapping has to stand still to be judged."""


def tuned(row: Behaviour) -> Behaviour:
    return row.lasting(SECONDS[row.name]) if row.name in SECONDS else row


async def reasons(cluster: SimulatedCluster, dialer: Dialer, keeper: CredentialKeeper) -> list[set[Reason]]:
    """What two asks bring: on a fresh connection with the namespace read, and as the next one finds it."""
    probe = ApiServerProbe(
        endpoint_of(cluster),
        credential_of(cluster),
        dialer=dialer,
        keeper=keeper,
        clock=HubClock(),
        settings=SETTINGS,
        on_uid=lambda _uid: None,
        hasten=lambda: None,
    )
    found = []
    for _ in range(2):
        answer = await probe.ask()
        found.append({fact.reason for fact in answer.facts if fact.reason is not None})
    probe.close()
    return found


async def all_reasons() -> dict[str, list[set[Reason]]]:
    resolver = CaresResolver()
    dialer, keeper = Dialer(resolver, TlsContexts(), DEADLINES), CredentialKeeper(HubClock())
    async with SimulatedFleet(seed=1) as fleet:
        clusters = [await fleet.add(row.name, tuned(row)) for row in BEHAVIOURS.values()]
        found = await asyncio.gather(*(reasons(cluster, dialer, keeper) for cluster in clusters))
    await resolver.close()
    return dict(zip(BEHAVIOURS, found, strict=True))


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_the_probe_says_of_each_behaviour_what_the_registry_expects(
    run: Callable[[Coroutine[Any, Any, dict[str, list[set[Reason]]]]], dict[str, list[set[Reason]]]],
) -> None:
    found = run(all_reasons())
    judged = {name: asks for name, asks in found.items() if name != "flapping"}
    assert {name: asks[0] for name, asks in judged.items()} == {
        name: {expect} if (expect := BEHAVIOURS[name].expect) else set() for name in judged
    }
    assert found["flapping"] in ([set(), set()], [{Reason.NOT_READY}] * 2)
