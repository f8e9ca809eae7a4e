"""The real agent at the real listener: what one writes, the other reads."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from uuid import uuid4

from collector.requests import Answered, RequestKind
from muster.agent import Agent
from muster.agent_settings import AgentSettings
from tests.support.agents import agent_bench, soon
from validator.backups.inventory import Inventory
from validator.backups.listing import Progress
from validator.backups.runner import SyncResult
from validator.locations import Location
from validator.model import Check, Outcome
from validator.reasons import Reason


class Lists:
    """A `Syncs` that finds three objects."""

    async def run(self, location: Location, request_id: object, progress: Progress) -> SyncResult:
        progress(3, None)
        return SyncResult(3, Inventory(3, 300, 1, (), (), 0, ""))


async def test_an_agent_reports_answers_requests_and_syncs(tmp_path: Path) -> None:
    async with agent_bench(None, tmp_path) as bench:
        registered = await bench.agent("berlin")
        location = bench.hub.put_location("daily", registered.cluster_id)
        answers: list[Answered] = []
        for kind in RequestKind:
            bench.requests.on_answer(kind, answers.append)
        (tmp_path / "token").write_text(registered.token)
        (authority,) = bench.tls.get_ca_certs(binary_form=True)
        (tmp_path / "ca.pem").write_text(ssl.DER_cert_to_PEM_cert(authority))
        settings = AgentSettings(bench.listener.url, registered.cluster_id, tmp_path / "token", tmp_path / "ca.pem")
        agent = Agent(settings, environ={}, syncs=Lists(), first_round_s=900.0)
        running = asyncio.create_task(agent.run(), name="agent")
        try:
            await soon(lambda: agent.standing.ready, 15)
            wanted = {kind: uuid4() for kind in RequestKind}
            for kind, request_id in wanted.items():
                bench.requests.ask(registered.cluster_id, kind, location.id, request_id)
            await soon(lambda: {each.request_id for each in answers} == set(wanted.values()), 15)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        tally = bench.desk.tally
    assert (tally.refused, tally.dropped, tally.duplicates, tally.limited) == (0, 0, 0, 0)
    (validated,) = [each for each in answers if each.kind is RequestKind.VALIDATE]
    assert [verdict.reason for verdict in validated.verdicts] == [Reason.IDENTITY_UNAVAILABLE]
    (synced,) = [each for each in answers if each.kind is RequestKind.SYNC]
    assert synced.sync is not None
    assert {verdict.outcome for verdict in bench.recorded if verdict.check is Check.AGENT} == {Outcome.PASS}
