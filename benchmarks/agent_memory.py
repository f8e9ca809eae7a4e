"""Resident memory of one real agent process, with one cloud SDK in it and every location asked.

Hub and cloud are the doubles of the tests: they are in this process, and nothing of theirs is counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psutil
import trustme

from tests.support import pretended_azure
from tests.support.hub_double import CLUSTER, HubDouble
from tests.support.pretended_azure import Entra, PretendedServer, healthy

LOCATIONS = 20
WITHIN_S = 30.0


async def agent_rss_mb() -> float:
    """In MB. Raises TimeoutError where it does not answer for all locations in time."""
    ca = trustme.CA()
    where = [replace(pretended_azure.location(f"c-{number}"), id=uuid4()) for number in range(LOCATIONS)]
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        directory = Path(name)
        (directory / "token").write_text("a token")
        (directory / "ca.pem").write_bytes(ca.cert_pem.bytes())
        (directory / "assertion").write_text(pretended_azure.assertion())
        async with (
            HubDouble(ca).running() as hub,
            PretendedServer(ca, Entra().answer).running() as entra,
            PretendedServer(ca, healthy).running() as storage,
        ):
            hub.assign(*where)
            options = {
                "hub": hub.url,
                "cluster": str(CLUSTER),
                "token_file": str(directory / "token"),
                "ca_file": str(directory / "ca.pem"),
                "authority": entra.url,
                "blob_url": f"{storage.url}/{{account}}",
            }
            identity = {
                "AZURE_CLIENT_ID": pretended_azure.CLIENT,
                "AZURE_TENANT_ID": pretended_azure.TENANT,
                "AZURE_FEDERATED_TOKEN_FILE": str(directory / "assertion"),
            }
            with (directory / "log").open("wb") as log:
                agent = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "tests.support.agent_child",
                    json.dumps(options),
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **identity},
                )
            try:
                await hub.until(lambda: hub.reports, WITHIN_S)
                for each in where:
                    hub.ask(each.id)
                await hub.until(lambda: not hub.document["requests"], WITHIN_S)
                resident = psutil.Process(agent.pid).memory_info().rss / 1e6
            finally:
                agent.kill()
                await agent.wait()
    print(f"an agent with one SDK and {LOCATIONS} locations: {resident:.0f} MB", flush=True)
    return resident
