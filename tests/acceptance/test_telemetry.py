"""Telemetry of a running service at a running receiver: on, seen there, and off in whatever state it is.

What leaves is counted at a relay before the receiver: after off not one byte, and nobody connects.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.support.postgres import PostgresServer
from tests.support.receiver_process import ORGANISATION, ReceiverProcess, receiver_process
from tests.support.relay import Mode, Relay, relay
from tests.support.runtime import local_bearer
from tests.support.service import Fleet, Json, Service, own_directory, rows, running_service, simulated, until

OFF_S = 1.0
"""What is promised, with the start of the command that asks for it measured apart."""

QUIET_S = 2.5
"""Longer than any of our pauses while a consent holds and something waits."""


@dataclass
class Bench:
    directory: Path
    fleet: Fleet
    receiver: ReceiverProcess
    relay: Relay
    database_url: str

    def options(self) -> dict[str, str]:
        url = f"https://localhost:{self.relay.port}"
        return {
            "MUSTER_TELEMETRY_ORGANISATION": ORGANISATION,
            "MUSTER_TELEMETRY_REGISTER_URL": url,
            "MUSTER_TELEMETRY_INGEST_URL": url,
            "MUSTER_TELEMETRY_CA_FILE": str(self.receiver.ca_file),
        }

    @property
    def files(self) -> Path:
        return self.directory / "data" / "telemetry"

    def keys(self) -> list[Path]:
        """Files of the identity, and of whatever else has a key."""
        return [path for name in ("identity", "export-key") for path in (self.files / name).glob("*")]

    def spooled(self) -> int:
        (row,) = rows(self.database_url, "SELECT count(*) AS n FROM uplink_spool")
        return int(row["n"])

    def on(self, service: Service, *options: str, token: str | None = None) -> Json:
        """Consent to all three streams."""
        path = self.directory / "token"
        path.write_text(self.receiver.token() if token is None else token)
        sha = json.loads(service.cli("telemetry", "terms", "-o", "json").out)["commitments_sha256"]
        streams = [part for name in ("metrics", "logs", "inventory") for part in ("--stream", name)]
        told = service.cli(
            "telemetry", "on", *streams, "--activation-token-file", str(path), "--commitments", sha, *options
        )
        assert told.code == 0, told.err
        return self.status(service)

    def off(self, service: Service) -> float:
        """Switch off by the API; gives the seconds that it took."""
        request = Request(f"{service.url}/api/v1/telemetry", method="DELETE", headers=dict(local_bearer(service.url)))
        asked = time.monotonic()
        with urlopen(request, timeout=10) as answer:
            document = json.load(answer)
        took = time.monotonic() - asked
        assert (document["state"], document["link"]["state"]) == ("off", "off")
        return took

    def status(self, service: Service) -> Json:
        return service.json("/api/v1/telemetry")

    def link(self, service: Service) -> str:
        return str(self.status(service)["link"]["state"])

    def is_off(self, service: Service) -> None:
        """Within a second, with not a byte more, and with nothing left of it here."""
        assert self.off(service) < OFF_S
        assert self.relay.quiet_for(QUIET_S)
        assert self.spooled() == 0
        assert self.keys() == []


@pytest.fixture(scope="module")
def bench(postgres: PostgresServer) -> Iterator[Bench]:
    databases = postgres.create_database(), postgres.create_database()
    with (
        own_directory() as directory,
        simulated((3, "healthy"), (1, "refuse")) as fleet,
        receiver_process(directory / "receiver", databases[0]) as receiver,
        relay(receiver.port) as before,
    ):
        yield Bench(directory, fleet, receiver, before, databases[1])
    for url in databases:
        postgres.drop_database(url)


@pytest.fixture(scope="module")
def service(bench: Bench) -> Iterator[Service]:
    with running_service(
        "--static",
        bench.fleet.source,
        data_dir=bench.directory / "data",
        database_url=bench.database_url,
        environ=bench.options(),
    ) as service:
        until(lambda: service.fleet()["counts"]["Healthy"] >= 3, 15, "the healthy ones are known")
        yield service


@pytest.fixture(autouse=True)
def passing(bench: Bench) -> Iterator[None]:
    bench.relay.mode = Mode.PASS
    yield
    bench.relay.mode = Mode.PASS


def sent(bench: Bench) -> set[str]:
    """Digests of what left, by the copies of it."""
    return {sha256(gzip.decompress(path.read_bytes())).hexdigest() for path in (bench.files / "sent").iterdir()}


def test_on_shows_data_within_ten_seconds_and_off_is_silence(bench: Bench, service: Service) -> None:
    assert bench.relay.connections == 0, "nobody has consented yet"
    assert bench.on(service)["state"] == "on"
    until(lambda: bench.link(service) == "active", 10, "it is enrolled and sends")
    shown = until(bench.receiver.show, 10, "the receiver has something to show")
    assert len(shown["clusters"]) == 4, shown
    previewed = json.loads(service.cli("telemetry", "preview", "-o", "json").out)
    assert not previewed["placeholder"]
    until(lambda: previewed["sha256"] in sent(bench), 10, "what was shown is what is sent")
    bench.is_off(service)
    assert service.fleet()["counts"]["Healthy"] >= 3, "the fleet is watched on"


def test_h3_off_during_the_tls_handshake_of_an_enrolment(bench: Bench, service: Service) -> None:
    bench.relay.mode = Mode.HANG
    before = bench.relay.bytes
    bench.on(service)
    until(lambda: bench.relay.bytes > before, 5, "it has said hello")
    assert bench.link(service) == "enrolling"
    bench.is_off(service)


def test_h3_off_during_the_backoff_of_an_enrolment(bench: Bench, service: Service) -> None:
    bench.relay.mode = Mode.REFUSE
    before = bench.relay.connections
    bench.on(service)
    until(lambda: bench.relay.connections > before, 5, "it has tried")
    bench.is_off(service)


def test_h3_off_during_the_wait_for_an_approval(bench: Bench, service: Service) -> None:
    bench.on(service, token=bench.receiver.token("--approval"))
    until(lambda: "approv" in bench.status(service)["link"]["detail"], 5, "it waits for an approval")
    bench.is_off(service)


@pytest.fixture
def apart(bench: Bench, postgres: PostgresServer) -> Iterator[Bench]:
    """The same receiver, for services with a database of their own."""
    url = postgres.create_database()
    with own_directory() as directory:
        yield replace(bench, directory=directory, database_url=url)
    postgres.drop_database(url)


def test_h2_a_variable_beats_the_consent_and_h4_off_at_a_standby_silences_the_leader(apart: Bench) -> None:
    def running(name: str = "data", *, ready: bool = True, **more: str) -> AbstractContextManager[Service]:
        return running_service(
            "--static",
            apart.fleet.source,
            data_dir=apart.directory / name,
            database_url=apart.database_url,
            environ={**apart.options(), **more},
            ready=ready,
        )

    with running() as leader:
        apart.on(leader)
        until(lambda: apart.link(leader) == "active", 10, "it is enrolled")
        leader.kill()
    with running(DO_NOT_TRACK="1") as leader:
        assert apart.status(leader)["state"] == "off"
        assert "DO_NOT_TRACK=1" in apart.status(leader)["why"]
        assert apart.relay.quiet_for(QUIET_S)
    before = apart.relay.bytes
    with running() as leader:
        until(lambda: apart.link(leader) == "active", 10, "the consent holds again, and nobody enrolled anew")
        until(lambda: apart.relay.bytes > before, 10, "it sends")
        with running("standby", ready=False) as standby:
            until(standby.waits_for, 15, "the other one leads")
            assert apart.off(standby) < OFF_S
            assert apart.relay.quiet_for(QUIET_S)
            assert apart.spooled() == 0
            assert apart.status(leader)["state"] == "off", "its own file says so, too"
            assert apart.status(leader)["decided_by"] == "another instance"
            until(lambda: not apart.keys(), 3, "its key is destroyed")
