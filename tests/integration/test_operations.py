"""The service as its manager, its operators and its supporters see it: a real process, a real database."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.postgres import frozen
from tests.support.runtime import local_bearer
from tests.support.service import (
    GONE_S,
    Service,
    embedded_url,
    muster,
    own_directory,
    postgres_of_its_own,
    rows,
    running_service,
    until,
)

NAME = "acme-canary-prod"
HOST = "canary.acme.test"


@pytest.fixture
def clusters(tmp_path: Path) -> Path:
    path = tmp_path / "clusters.yaml"
    path.write_text(
        f"clusters:\n- name: {NAME}\n  server: https://{HOST}:9\n  insecure-skip-tls-verify: true\n"
        "  labels: {team: canary-team}\n"
    )
    return path


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with own_directory() as directory:
        yield directory / "data"


class Manager:
    """A service manager's socket, and what came there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(20)
        self.heard: list[dict[str, str]] = []

    def until(self, field: str) -> dict[str, str]:
        while True:
            message = dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())
            self.heard.append(message)
            if field in message:
                return message


def test_a_service_manager_hears_ready_alive_reloading_and_stopping(tmp_path: Path, clusters: Path) -> None:
    manager = Manager(tmp_path / "notify")
    environ = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}
    with running_service("--static", clusters, environ=environ, ready=False) as service:
        assert manager.until("READY")["READY"] == "1"
        assert any("EXTEND_TIMEOUT_USEC" in message for message in manager.heard), "it was ready before it could be"
        assert service.ready()
        manager.until("WATCHDOG")
        service.send(signal.SIGHUP)
        assert int(manager.until("RELOADING")["MONOTONIC_USEC"]) > 0
        manager.until("READY")
        service.send(signal.SIGTERM)
        assert manager.until("STOPPING")["STATUS"] == "stopping"
        service.process.wait(GONE_S)
        assert service.process.returncode == 0
    statuses = [message["STATUS"] for message in manager.heard if "STATUS" in message]
    assert statuses[-1] == "stopping"
    assert any(status.startswith("leading, ") for status in statuses)
    manager.socket.close()


def test_after_sigterm_it_is_not_ready_at_once_and_a_request_under_way_is_answered(clusters: Path) -> None:
    with (
        postgres_of_its_own() as postgres,
        running_service("--static", clusters, database_url=postgres.url) as service,
    ):
        address = urlsplit(service.url).netloc
        under_way = http.client.HTTPConnection(address, timeout=10)
        answers: list[int] = []

        def ask() -> None:
            under_way.request("GET", "/api/v1/transitions", headers=local_bearer(service.url))
            answers.append(under_way.getresponse().status)

        kept = http.client.HTTPConnection(address, timeout=10)
        assert status(kept, "/readyz") == 200
        with frozen(postgres.pid):  # the last flush takes as long as it may, and so does the answer
            asking = threading.Thread(target=ask)
            asking.start()
            time.sleep(0.2)
            service.send(signal.SIGTERM)
            until(lambda: status(kept, "/readyz") == 503, 1, "it is not ready")
            assert status(kept, "/healthz") == 200
            time.sleep(0.3)
        asking.join(5)
        assert answers == [200]
        under_way.close()
        kept.close()
        service.process.wait(GONE_S)
        assert service.process.returncode == 0


def status(connection: http.client.HTTPConnection, path: str) -> int:
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    return response.status


def doctor(data_dir: Path, service: Service | None = None, **environ: str) -> tuple[int, dict[str, dict[str, str]]]:
    variables = {"MUSTER_DATA_DIR": str(data_dir), "MUSTER_LISTEN": urlsplit(service.url).netloc if service else ""}
    ran = muster("doctor", "self", "-o", "json", environ={**variables, **environ})
    assert ran.out, ran.err
    return ran.code, {finding["check"]: finding for finding in json.loads(ran.out)}


def test_the_doctor_beside_the_service_and_without_it(data_dir: Path, clusters: Path) -> None:
    static = {"MUSTER_STATIC": str(clusters)}
    with running_service("--static", clusters, data_dir=data_dir) as service:
        code, findings = doctor(data_dir, service, **static)
        assert "Muster listens on" in findings["port"]["seen"]
        assert f"process {service.pid}," in findings["port"]["seen"]
        assert findings["database"]["level"] == "ok", findings["database"]
        assert "beside the service: PostgreSQL" in findings["database"]["seen"]
        assert findings["schema"]["level"] == "ok"
        assert findings["clock"]["seen"] == "the database's is in step with ours, the service's is in step with ours"
        assert "1 clusters need" in findings["descriptors"]["seen"]
        assert findings["local token"]["level"] == "ok", findings["local token"]
        assert HOST in findings["dns"]["seen"]
        assert (code, findings["dns"]["level"]) == (1, "problem")
        service.stop()
    code, findings = doctor(data_dir)
    assert "does not run, since no service does" in findings["database"]["seen"]
    assert not (data_dir / "postgresql/data/postmaster.pid").exists(), "it was started for a look"
    assert "no service runs there" in findings["port"]["seen"]


def test_the_doctor_says_what_is_wrong(data_dir: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        busy = f"127.0.0.1:{other.getsockname()[1]}"
        away = "postgresql://m:canary-secret@127.0.0.1:1/muster"
        code, findings = doctor(data_dir, MUSTER_LISTEN=busy, MUSTER_DATABASE_URL=away)
    assert code == 1
    assert findings["port"]["level"] == findings["database"]["level"] == "problem"
    assert "something else listens" in findings["port"]["seen"]
    assert "canary-secret" not in json.dumps(findings)
    code, findings = doctor(data_dir, MUSTER_INTERVAL_S="never")
    assert code == 1
    assert "MUSTER_INTERVAL_S" in findings["settings"]["seen"]
    code, findings = doctor(data_dir, MUSTER_INTERVALL_S="3")
    assert "did you mean MUSTER_INTERVAL_S" in findings["settings"]["seen"]


def test_a_support_bundle_of_a_real_service_names_nobody(data_dir: Path, clusters: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "b.tar.gz"
    with running_service("--static", clusters, data_dir=data_dir) as service:
        until(lambda: service.health(NAME) == "Unreachable", 15, "a change of health to tell of")
        environ = {
            "MUSTER_DATA_DIR": str(data_dir),
            "MUSTER_STATIC": str(clusters),
            "MUSTER_LISTEN": urlsplit(service.url).netloc,
        }
        made = muster("support-bundle", "-o", str(bundle), environ=environ)
        assert made.code == 0, made.err
        preview = muster("support-bundle", "--preview", environ=environ)
        with_names = muster("support-bundle", "--names", "-o", str(tmp_path / "n.tar.gz"), environ=environ)
        assert with_names.code == 0, with_names.err
        secrets = [
            local_bearer(service.url)["Authorization"].removeprefix("Bearer "),
            (data_dir / "postgresql/password").read_text().strip(),
        ]
        assert rows(embedded_url(data_dir), "SELECT count(*) FROM clusters")[0]["count"] == 1
    assert bundle.stat().st_mode & 0o777 == 0o600
    text = unpacked(bundle)
    assert [found for found in (NAME, HOST, "canary", str(clusters), str(data_dir), *secrets) if found in text] == []
    assert "Unreachable" in text
    assert "DNSNameNotFound" in text or "DNS" in text
    assert "muster_lane_slots" in text
    assert '"0001_fleet"' in text
    assert not [secret for secret in secrets if secret in unpacked(tmp_path / "n.tar.gz")]
    assert NAME in unpacked(tmp_path / "n.tar.gz")
    assert "=== clusters.jsonl" in preview.out
    assert NAME not in preview.out


def unpacked(path: Path) -> str:
    with tarfile.open(path) as archive:
        files = [archive.extractfile(member) for member in archive.getmembers()]
        return "\n".join(file.read().decode() for file in files if file is not None)
