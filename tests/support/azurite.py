"""Azurite over HTTPS with OAuth, as a process of its own, and the files that it keeps."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.support.need import need

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

ROOT = Path(__file__).parents[2]
ACCOUNT = "backups"
START_S = 20.0


@pytest.fixture(scope="session")
def cloud_ca() -> trustme.CA:
    """Signs every server of the pretended cloud."""
    return trustme.CA()


@pytest.fixture(scope="session")
def azurite_main() -> str:
    """Azurite's blob server, installed into the user's cache where it is not there yet."""
    need(os.geteuid() == 0 or shutil.which("npm"), "npm, or root to install it")
    found = subprocess.run([ROOT / "scripts/azurite"], capture_output=True, text=True, timeout=300, check=False)
    need(found.returncode == 0, f"Azurite: {found.stderr[-500:]}")
    return found.stdout.strip()


@dataclass(slots=True)
class Azurite:
    """One server. `start` again after `stop`: its files stay."""

    main: str
    folder: Path
    ca: trustme.CA
    key: str = field(default_factory=lambda: base64.b64encode(secrets.token_bytes(64)).decode(), repr=False)
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Path-style: the account is in the path."""
        return f"https://127.0.0.1:{self.port}/{{account}}"

    def start(self) -> None:
        """Returns once it answers."""
        certificate = self.ca.issue_cert("127.0.0.1", "localhost")
        cert, key = self.folder / "cert.pem", self.folder / "key.pem"
        cert.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        key.write_bytes(certificate.private_key_pem.bytes())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = f"--blobHost 127.0.0.1 --blobPort {self.port} --oauth basic --cert {cert} --key {key} "
        options += f"--location {self.folder} --disableTelemetry --silent --skipApiVersionCheck"
        self._process = subprocess.Popen(
            ["node", self.main, *options.split()],
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        pytest.fail("Azurite did not start")

    def stop(self) -> None:
        """Gently: it writes its database at the end."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def service(self) -> BlobServiceClient:
        """With the account's key: what only its owner has."""
        from azure.storage.blob import BlobServiceClient  # noqa: PLC0415 - most tests want no SDK

        url = self.url.replace("{account}", ACCOUNT)
        return BlobServiceClient(url, self.key, connection_verify=self._ca_file(), retry_total=0)

    def set_container(self, name: str, **properties: bool) -> None:
        """Change properties that Azurite has no request for; it must be stopped."""
        path = self.folder / "__azurite_db_blob__.json"
        database = json.loads(path.read_text())
        for collection in database["collections"]:
            if collection["name"] == "$CONTAINERS_COLLECTION$":
                for each in collection["data"]:
                    if each["name"] == name:
                        each["properties"] |= properties
        path.write_text(json.dumps(database))

    def _ca_file(self) -> str:
        path = self.folder / "ca.pem"
        path.write_bytes(self.ca.cert_pem.bytes())
        return str(path)


@pytest.fixture(scope="session")
def azurite(azurite_main: str, cloud_ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """One server for a whole run; tests make containers of their own."""
    server = Azurite(azurite_main, tmp_path_factory.mktemp("azurite"), cloud_ca)
    server.start()
    try:
        yield server
    finally:
        server.stop()
