"""`muster receiver` as people use it: a process of its own with its own database, and commands beside it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner, Result

from muster.cli.app import app
from tests.support.logs import logging_restored
from tests.support.postgres import private_directory
from tests.support.receiving import basic, logs, make_csr, metrics, new_key
from uplink.receiver.audit import By
from uplink.wire import est, export
from uplink.wire.identity import organisation_of
from uplink.wire.otlp import CONTENT_TYPE, Signal, pack


@pytest.fixture
def data_dir() -> Iterator[Path]:
    directory = private_directory()
    directory.chmod(0o711)  # the embedded database's own user has to pass
    yield directory
    shutil.rmtree(directory)


@dataclass(frozen=True, slots=True)
class Line:
    """A command line with its settings, as variables."""

    data_dir: Path
    variables: dict[str, str]

    def __call__(self, *arguments: str | Path) -> Result:
        env = {"MUSTER_RECEIVER_DATA_DIR": str(self.data_dir), **self.variables}
        with logging_restored():
            return CliRunner().invoke(app, ["receiver", *map(str, arguments)], env=env)

    def good(self, *arguments: str | Path) -> str:
        result = self(*arguments)
        assert result.exit_code == 0, result.output
        return str(result.stdout)


@pytest.fixture
def line(data_dir: Path, receiver_url: str) -> Line:
    return Line(data_dir / "state", {"MUSTER_RECEIVER_DATABASE_URL": receiver_url})


class Running:
    """`muster receiver run`."""

    def __init__(self, data_dir: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "muster", "receiver", "run", "--listen", "127.0.0.1:0", *arguments]
        self._log: list[str] = []
        self.process = subprocess.Popen(
            [*command, "--data-dir", str(data_dir)], stderr=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        self.url = ""
        assert self.process.stderr is not None
        for text in self.process.stderr:
            self._log.append(text)
            if "receiver listens" in text:
                self.url = json.loads(text)["url"]
                return
        raise AssertionError("".join(self._log))

    def ask(
        self, context: ssl.SSLContext, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=headers)
        with urllib.request.urlopen(request, context=context, timeout=10) as response:
            return response.status, response.read()

    def end(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        _, rest = self.process.communicate(timeout=10)
        assert self.process.returncode == 0, rest
        return "".join(self._log) + rest


def test_from_nothing_to_a_batch_that_support_can_see(data_dir: Path) -> None:
    """With the embedded database, which the commands reach beside the process that runs."""
    line = Line(data_dir / "state", {})
    refused = line("run")
    assert refused.exit_code == 2
    assert "muster receiver init" in refused.stderr
    line.good("init", "--name", "Example Ltd")
    authority = data_dir / "state/authority"
    assert stat.S_IMODE(authority.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in authority.iterdir()} == {0o600}
    assert line("init").exit_code == 2, "a second CA would make every client a stranger"

    running = Running(data_dir / "state")
    try:
        token = line.good("token", "create", "acme").strip()
        context = ssl.create_default_context(cadata=(authority / "ca.crt").read_text())
        key, installation = new_key(), uuid4()
        login = {"Authorization": basic("acme", token), "Content-Type": est.CSR_TYPE}
        csr = est.encode_csr(make_csr(key, installation))
        _, body = running.ask(context, "POST", est.ENROLL, csr, **login)
        (leaf,) = est.decode_certificates(body)
        assert organisation_of(leaf) == "acme"
        pem = data_dir / "client.pem"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem.write_bytes(secret + leaf.public_bytes(Encoding.PEM))
        context.load_cert_chain(pem)
        sent = {"Content-Type": CONTENT_TYPE, "Content-Encoding": "gzip"}
        raw = metrics({"uid-1": "Unreachable"}).SerializeToString()
        assert running.ask(context, "POST", Signal.METRICS.path, pack(raw), **sent) == (200, b"")
        raw = logs("no answer").SerializeToString()
        assert running.ask(context, "POST", Signal.LOGS.path, pack(raw), **sent) == (200, b"")

        line.good("init", "--roll")  # is taken up while the following goes on
        shown = line.good("show", "acme")
        for words in (str(installation), "uid-1", "Unreachable", "driver=gardener", "cluster.unreachable", "no answer"):
            assert words in shown
        view = json.loads(line.good("show", "acme", "-o", "json"))
        assert [each["uid"] for each in view["clusters"]] == ["uid-1"]
        assert "acme" in line.good("show")
        (listed,) = json.loads(line.good("token", "list", "-o", "json"))["tokens"]
        assert listed["state"] == "used"
        assert token not in line.good("token", "list")
        deadline = time.monotonic() + 15
        while len(est.decode_certificates(running.ask(context, "GET", est.CACERTS)[1])) < 4:
            assert time.monotonic() < deadline, "the new generation is not taken up"
            time.sleep(0.2)
        assert running.ask(context, "POST", Signal.LOGS.path, pack(b""), **sent) == (200, b"")
        assert "1 certificate revoked" in line.good("revoke", "acme", "--erase")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            running.ask(context, "POST", Signal.METRICS.path, pack(b""), **sent)
        assert json.loads(line.good("show", "acme", "-o", "json"))["clusters"] == []
    finally:
        log = running.end()
    assert token not in log
    assert "PRIVATE KEY" not in log
    lines = json.loads(line.good("audit", "-o", "json"))["lines"]
    assert [each["action"] for each in reversed(lines)] == [
        "ca.create",
        "token.create",
        "certificate.issue",
        "ca.roll",
        "organisation.erase",
        "installation.forget",
    ]
    assert {each["who"] for each in lines if each["door"] == "command"} == {By.command().who}
    assert token not in str(lines)


def test_tokens_wait_are_approved_saved_and_revoked(line: Line, data_dir: Path) -> None:
    file = data_dir / "acme.token"
    line.good("token", "create", "acme", "--save", file, "--approval", "--expires", "2h")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().startswith("activate_")
    assert line("token", "create", "acme", "--save", file).exit_code == 2
    (listed,) = json.loads(line.good("token", "list", "acme", "-o", "json"))["tokens"]
    assert listed["needs_approval"]
    assert line("approve", listed["id"]).exit_code == 2, "nothing waits yet"
    line.good("token", "revoke", listed["id"])
    assert "revoked" in line.good("token", "list")
    assert line("token", "revoke", str(uuid4())).exit_code == 2


def test_the_audit_log_is_shown_for_people_and_programs_and_for_one_organisation(line: Line) -> None:
    assert "Nobody" in line.good("audit")
    for organisation in ("acme", "umbrella"):
        line.good("token", "create", organisation, "--expires", "2h")
    line.good("init")
    shown, wide = line.good("audit"), line.good("audit", "-o", "wide")
    assert re.findall(r"\b(?:ca|token)\.\w+", shown) == ["ca.create", "token.create", "token.create"]
    assert "lifetime_s=7200" in shown
    assert By.command().source in wide
    assert By.command().source not in shown
    assert "umbrella" not in line.good("audit", "acme", "-o", "yaml")
    (newest,) = json.loads(line.good("audit", "-n", "1", "-o", "json"))["lines"]
    assert newest["about"]["name"] == "Muster receiver"
    assert line("init").exit_code == 2
    assert len(line.good("audit").splitlines()) == 4, "what was refused to an operator changed nothing"


NONSENSE = (
    (["token", "create", "Not An Id"], "an organisation's id"),
    (["token", "create", "acme", "--expires", "31d"], "30 days"),
    (["token", "create", "acme", "--expires", "soon"], "--expires"),
    (["show", "nobody"], "no organisation"),
    (["revoke", "nobody"], "no certificate"),
    (["revoke", "nobody", "--erase"], "no organisation"),
    (["import", "/nowhere"], "init"),
    (["import", "/nowhere", "--org", "acme"], "go together"),
    (["run", "--listen", "example:1"], "LISTEN"),
    (["run", "--lifetime-days", "31"], "LIFETIME_DAYS"),
    (["run", "--tls-key", "/nowhere"], "go together"),
    (["run", "--forward-headers-file", "/nowhere"], "FORWARD_HEADERS_FILE needs"),
    (["init", "--roll"], "muster receiver init"),
    (["audit", "-n", "0"], "--limit"),
)


def test_what_makes_no_sense_is_said(line: Line) -> None:
    for arguments, says in NONSENSE:
        result = line(*arguments)
        assert result.exit_code in (1, 2)
        assert says in result.stderr, (arguments, result.output)


def test_a_ca_key_that_others_can_read_is_refused(line: Line) -> None:
    line.good("init")
    key = line.data_dir / "authority/ca.key"
    key.chmod(0o640)
    result = line("run")
    assert result.exit_code == 2
    assert "0640" in result.stderr
    key.chmod(0o600)
    key.parent.chmod(0o750)
    assert "chmod 700" in line("run").stderr


def _written(path: Path, installation: UUID, chain: list[x509.Certificate], key: ec.EllipticCurvePrivateKey) -> None:
    head = export.Head("acme", installation, uuid4(), "1", int(path.parent.stat().st_mtime))
    batches = [
        export.Batch(uuid4(), Signal.METRICS, metrics({"uid-1": "Healthy"}).SerializeToString()),
        export.Batch(uuid4(), Signal.LOGS, logs("carried by hand").SerializeToString()),
    ]
    with path.open("wb") as file:
        export.write_export(file, head, batches, key, chain)


def test_a_file_from_behind_an_air_gap_is_taken_once_and_only_for_its_signature(line: Line, data_dir: Path) -> None:
    line.good("init")
    key, file = new_key(), data_dir / "acme.jsonl"
    _written(file, uuid4(), [], key)
    told = line("import", file)
    fingerprint = export.fingerprint(key.public_key())
    assert told.exit_code == 2
    assert fingerprint in told.stderr
    assert "not with the one" in line("import", file, "--org", "acme", "--key-sha256", "0" * 64).stderr
    assert "another organisation" in line("import", file, "--org", "umbrella", "--key-sha256", fingerprint).stderr
    known = ("--org", "acme", "--key-sha256", fingerprint)
    assert line.good("import", file, *known) == "acme: 2 new.\n"
    assert line.good("import", file, *known) == "acme: 2 repeated.\n"
    assert "carried by hand" in line.good("show", "acme")
    changed = data_dir / "changed.jsonl"
    changed.write_bytes(file.read_bytes().replace(b"carried by hand", b"carried by land"))
    assert "line 2" in line("import", changed, *known).stderr
    changed.write_bytes(file.read_bytes()[:-40])
    assert line("import", changed, *known).exit_code == 2
