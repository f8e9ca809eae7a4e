"""A cluster that the hub can't reach: registered, installed, reporting to a real service, also across a restart."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from muster.demo.pki import Authority, Certificate
from tests.support.agents import Issuer
from tests.support.service import Json, Service, own_directory, running_service, simulated, until


class Reporter:
    """One agent, as far as the wire goes."""

    def __init__(self, service: Service, ca_pem: str, cluster_id: str, token: str) -> None:
        self.tls = ssl.create_default_context(cadata=ca_pem)
        self.headers = {
            "Authorization": f"Bearer {token}",
            "Muster-Cluster": cluster_id,
            "Content-Type": "application/json",
        }
        self.boot, self.sequence = str(uuid4()), 0
        self.use(service)

    def use(self, service: Service) -> None:
        [told] = service.events("listening for agents")
        self.address = str(urlsplit(told["url"]).netloc)

    def report(self, *verdicts: Json, again: bool = False) -> tuple[int, Json]:
        self.sequence += not again
        body = {"boot": self.boot, "sequence": self.sequence, "sent_at": time.time(), "verdicts": verdicts, "syncs": []}
        return self._ask("POST", "/agent/v1/report", json.dumps({**body, "agent": {"version": "0.1.0"}, "dropped": 0}))

    def assignment(self) -> Json:
        status, document = self._ask("GET", "/agent/v1/assignment")
        assert status == 200
        return dict(document)

    def _ask(self, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
        with closing(http.client.HTTPSConnection(self.address, timeout=10, context=self.tls)) as connection:
            connection.request(method, path, body, self.headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())


@contextmanager
def listening(directory: Path) -> Iterator[tuple[dict[str, str], str]]:
    """Variables of a service that agents may report to, and who vouches for it."""
    authority = Authority("agents", datetime.now(UTC))
    pair = authority.serving(Certificate.GOOD, "127.0.0.1", "agents.example")
    (directory / "agents.crt").write_text(pair.certificate_pem)
    (directory / "agents.key").write_text(pair.key_pem)
    yield (
        {
            "MUSTER_AGENT_LISTEN": "127.0.0.1:0",
            "MUSTER_AGENT_TLS_CERTIFICATE": str(directory / "agents.crt"),
            "MUSTER_AGENT_TLS_KEY": str(directory / "agents.key"),
        },
        authority.pem,
    )


def test_a_cluster_that_only_has_an_agent_is_part_of_the_fleet_across_a_restart() -> None:
    issuer = Issuer()
    with simulated((1, "healthy")) as fleet, own_directory() as directory, listening(directory) as (variables, ca_pem):
        keys = directory / "keys.json"
        keys.write_text(json.dumps(issuer.jwks))
        start = ("--static", fleet.source)
        with running_service(*start, data_dir=directory / "data", environ=variables) as service:
            until(lambda: service.health("healthy-00001") == "Healthy", 15, "the fleet is known")
            added = service.cli("clusters", "add", "--agent", "edge", "--jwks", str(keys), "-o", "json")
            assert added.code == 0, added.err
            install = json.loads(added.out)["install"]
            until(lambda: service.health("edge") == "Unknown", 5, "it is in the fleet")
            token = issuer.token(install["audience"], time.time())
            agent = Reporter(service, ca_pem, install["cluster_id"], token)

            made = service.cli(
                "locations", "create", "daily", "--provider", "s3", "--bucket", "acme", "--cluster", "edge"
            )
            assert made.code == 0, made.err
            location = until(lambda: agent.assignment()["locations"], 5, "its location")[0]
            assert location["name"] == "daily"
            verdict = {
                "location_id": location["id"],
                "check": "location",
                "outcome": "pass",
                "observed_at": time.time(),
                "age_s": 1.0,
                "period_s": 900.0,
            }
            assert agent.report(verdict, {**verdict, "location_id": str(uuid4())})[1]["accepted"] == 1
            until(lambda: service.health("edge") == "Healthy", 5, "it is what its agent says")
            shown = service.cluster("edge")
            assert (shown["source"], shown["endpoint"]) == ("agent", "agent:edge")
            located = json.loads(service.cli("locations", "show", "daily", "-o", "json").out)
            assert (located["status"], located["clusters"][0]["health"]) == ("Valid", "Healthy")
            refused = service.cli("validate", "edge")
            assert "its agent reports" in refused.out + refused.err
            assert agent.report(again=True)[1]["duplicate"]

        with running_service(*start, data_dir=directory / "data", environ=variables) as service:
            agent.use(service)
            until(lambda: service.health("healthy-00001") == "Healthy", 15, "the fleet is known")
            assert service.health("edge") == "Healthy", "nobody could report while the hub was down"
            status, replayed = agent.report(verdict, again=True)
            assert (status, replayed["duplicate"]) == (200, True)
            assert agent.report(verdict)[1]["accepted"] == 1
            listed = json.loads(service.cli("clusters", "agents", "-o", "json").out)["agents"]
            assert [(each["cluster"], each["version"], each["reachable"]) for each in listed] == [
                ("edge", "0.1.0", False)
            ]
            assert service.cli("locations", "unassign", "daily", "edge").code == 0
            assert service.cli("clusters", "remove", "edge").code == 0
            assert agent.report()[0] == 403
            until(lambda: "edge" not in service.clusters(), 5, "it has left")
            assert token not in service.log
