"""Without a consent not one packet leaves for the endpoints: by the kernel's word, on the shipped loop and resolver.

An audit hook or a patched socket would see what Python asks for; c-ares and uvloop ask the kernel themselves.
"""

from __future__ import annotations

import json
import shutil
import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.support.kubeconfigs import ca_pem
from tests.support.need import need
from tests.support.postgres import PostgresServer
from tests.support.service import Service, own_directory, running_service, simulated, until
from tests.support.traced import Trace

LABEL = "muster-telemetry-canary"
"""In the names of the endpoints, and nowhere else."""

SILENT_S = 4.0
"""Several rounds of everything that the service does by itself."""


@pytest.fixture(autouse=True)
def _strace() -> None:
    need(shutil.which("strace"), "strace shows what a process asks of the kernel")


def ask_everything(service: Service) -> None:
    """All that people can ask of telemetry without consenting."""
    for arguments in (("status",), ("preview", "--stream", "logs"), ("terms",), ("audit", "--verify"), ("off",)):
        ran = service.cli("telemetry", *arguments)
        assert ran.code == 0, ran.err


def strangers(trace: Trace, after: int = 0) -> set[str]:
    """Addresses that are not this machine's: the fleet and the database are on loopback."""
    return {each.address for each in trace.called(after) if not ip_address(each.address).is_loopback}


def switch_on(service: Service, token: Path) -> None:
    token.write_text("canary-token-0123456789abcdef")
    sha = json.loads(service.cli("telemetry", "terms", "-o", "json").out)["commitments_sha256"]
    on = ("--stream", "metrics", "--activation-token-file", str(token), "--commitments", sha)
    ran = service.cli("telemetry", "on", *on)
    assert ran.code == 0, ran.err


def test_off_asks_no_name_server_and_connects_nowhere_and_the_trace_is_not_blind(
    postgres: PostgresServer,
) -> None:
    database_url = postgres.create_database()
    with own_directory() as directory, simulated((3, "healthy"), (1, "refuse")) as fleet:
        trace = Trace(directory / "trace")
        (directory / "ca.pem").write_text(ca_pem())
        environ = {
            "MUSTER_TELEMETRY_ORGANISATION": "acme",
            "MUSTER_TELEMETRY_REGISTER_URL": f"https://register.{LABEL}.test",
            "MUSTER_TELEMETRY_INGEST_URL": f"https://ingest.{LABEL}.test",
            "MUSTER_TELEMETRY_CA_FILE": str(directory / "ca.pem"),
        }
        with running_service(
            "--static",
            fleet.source,
            data_dir=directory / "data",
            database_url=database_url,
            environ=environ,
            wrapped=trace.command,
        ) as service:
            until(lambda: service.fleet()["counts"]["Healthy"] >= 3, 15, "the fleet is being asked")
            ask_everything(service)
            time.sleep(SILENT_S)
            assert trace.called(), "the fleet's own connections are seen"
            assert strangers(trace) == set()
            assert trace.asked_for(LABEL) == []

            before = trace.size()
            switch_on(service, directory / "token")
            until(lambda: trace.asked_for(LABEL, before), 10, "the control: with a consent it is seen")

            assert service.cli("telemetry", "off").code == 0
            after = trace.size()
            fleet.set("healthy-00001", "refuse")  # its connection is kept as long as it answers
            time.sleep(SILENT_S)
            until(lambda: trace.called(after), 10, "the fleet is asked on, and that is seen")
            assert trace.asked_for(LABEL, after) == []
            assert strangers(trace, after) == set()
    postgres.drop_database(database_url)
