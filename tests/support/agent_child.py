"""`muster agent` as a child process over pretended clouds: what its options can't say, since no real agent may have it.

`python -m tests.support.agent_child '{"hub": …}'`. Loopback may be connected to, and the clouds are stubs.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

from muster.agent import Agent, run_agent
from muster.agent_settings import AgentSettings
from muster.logs import configure_logs
from validator.agent.clouds import CloudSettings
from validator.locations import Environment
from validator.net.policy import ConnectPolicy
from validator.probes.azure_clouds import AzureCloud


def main(options: Mapping[str, str]) -> int:
    """Options: hub, cluster, token_file, ca_file (for everything), authority, blob_url."""
    configure_logs("info", "json")
    settings = AgentSettings(
        hub=options["hub"],
        cluster_id=UUID(options["cluster"]),
        token_file=Path(options["token_file"]),
        ca_file=Path(options["ca_file"]),
        storage_ca_file=Path(options["ca_file"]),
    )
    cloud = AzureCloud(
        authority=options["authority"],
        blob_url=options["blob_url"],
        management="https://localhost:1",
        audience="api://AzureADTokenExchange",
    )
    clouds = CloudSettings(azure={Environment.PUBLIC: cloud})
    agent = Agent(settings, clouds=clouds, policy=ConnectPolicy(allow_loopback=True), environ=os.environ)
    return run_agent(agent)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
