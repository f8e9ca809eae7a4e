"""What stands at the other end and is not ours: nginx, rotel, openssl's server, and a CA that all of them believe."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.est_server import leaf
from tests.support.need import need
from uplink.client.enrolment.keys import first_csr, new_key, write_key
from uplink.client.network.trust import Trust
from uplink.receiver.authority import Authority
from uplink.wire.otlp import CONTENT_TYPE

DAY = 86_400.0
BEGIN_S = 10


def nginx() -> str:
    """Its path. Debian has it in /usr/sbin, which is not on everybody's PATH."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    need(found, "nginx (Debian) is not installed: scripts/system-packages nginx")
    assert found is not None
    return found


def rotel() -> Path:
    """Its collector: the package's own start makes a daemon of it, which nobody would end."""
    spec = find_spec("rotel")
    need(spec, "rotel is not installed: it is of the extra `test`")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("rotel-agent")


def openssl() -> str:
    found = shutil.which("openssl")
    need(found, "openssl is not installed")
    assert found is not None
    return found


class Circle:
    """A CA, its list of what is revoked, and what it has signed."""

    def __init__(self) -> None:
        self.authority = Authority.new("Vendor", time.time())
        self.anchors = self.authority.issuer.public_bytes(Encoding.PEM).decode()
        self._revoked: list[int] = []

    def trust(self, what: str = "good", generation: int = 1) -> Trust:
        """Of a client whose certificate is so: good, missing, ended, foreign, or revoked from now on."""
        if what == "missing":
            return Trust(self.anchors, generation)
        signer = Authority.new("Stranger", time.time()) if what == "foreign" else self.authority
        key = new_key()
        begins = -8 * DAY if what == "ended" else -3600.0
        made = leaf(signer, key.public_key(), begins=begins)(first_csr(key, uuid4()))
        if what == "revoked":
            self._revoked.append(made.serial_number)
        return Trust(self.anchors, generation, made.public_bytes(Encoding.PEM).decode(), write_key(key))

    def crl(self) -> bytes:
        now = datetime.now(UTC)
        listed = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.authority.issuer.subject)
            .last_update(now - timedelta(hours=1))
            .next_update(now + timedelta(hours=1))
        )
        for serial in self._revoked:
            one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            listed = listed.add_revoked_certificate(one)
        return listed.sign(self.authority.key, SHA256()).public_bytes(Encoding.PEM)

    def write(self, directory: Path) -> None:
        """What a server needs: ca.pem, crl.pem, server.pem."""
        (directory / "ca.pem").write_text(self.anchors)
        (directory / "crl.pem").write_bytes(self.crl())
        (directory / "server.pem").write_bytes(self.authority.sign_server(("localhost",), time.time()))


@dataclass(slots=True)
class Backend:
    """Plain HTTP that takes OTLP, as one behind a proxy or a collector does. `answers` are given first."""

    where: str = ""
    got: list[tuple[str, bytes]] = field(default_factory=list)
    """Path and body, unpacked."""
    answers: list[web.Response] = field(default_factory=list)
    hangs: bool = False

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        if self.hangs:
            await asyncio.sleep(60)
        if self.answers:
            return self.answers.pop(0)
        self.got.append((request.path, body))
        return web.Response(content_type=CONTENT_TYPE)


@asynccontextmanager
async def backing() -> AsyncIterator[Backend]:
    backend = Backend()
    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("POST", "/{path:.*}", backend.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    backend.where = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield backend
    finally:
        await runner.cleanup()


CONF = """
daemon off; worker_processes 1; user root; pid {directory}/nginx.pid; error_log stderr warn;
events {{ worker_connections 64; }}
http {{
  access_log off; default_type text/plain; proxy_temp_path {directory}/proxy; client_body_temp_path {directory}/body;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {directory}/server.pem; ssl_certificate_key {directory}/server.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_client_certificate {directory}/ca.pem; ssl_crl {directory}/crl.pem; ssl_verify_client on;
    client_max_body_size {max_body}; proxy_read_timeout 200ms; proxy_connect_timeout 1s;
    location / {{ proxy_pass http://{backend}; }}
  }}
}}
"""


class Nginx:
    """Before a backend, with `ssl_verify_client on`. It is given its listening socket, so its port is its own."""

    def __init__(self, directory: Path, circle: Circle, backend: str) -> None:
        self._directory = directory
        self._circle = circle
        self._backend = backend
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(16)
        self.url = f"https://localhost:{self._listener.getsockname()[1]}"

    @contextmanager
    def running(self, *, max_body: str = "1m", away: bool = False) -> Iterator[None]:
        """With this bound of a body; `away`: its backend is."""
        self._directory.mkdir(exist_ok=True)
        self._circle.write(self._directory)
        conf = self._directory / "nginx.conf"
        port = self._listener.getsockname()[1]
        backend = "127.0.0.1:1" if away else self._backend
        conf.write_text(CONF.format(directory=self._directory, port=port, backend=backend, max_body=max_body))
        handle = self._listener.fileno()
        process = subprocess.Popen(
            [nginx(), "-c", conf, "-p", self._directory, "-e", "stderr"],
            env={"NGINX": f"{handle};"},
            pass_fds=[handle],
            stderr=subprocess.PIPE,
        )
        try:
            yield
            assert process.poll() is None, process.stderr and process.stderr.read()
        finally:
            process.terminate()  # it ends its worker; killed, it would leave it behind
            process.communicate(timeout=BEGIN_S)

    def close(self) -> None:
        self._listener.close()


@contextmanager
def fronting(directory: Path, circle: Circle, backend: str) -> Iterator[Nginx]:
    """An nginx that is not running yet, before a backend (host and port)."""
    nginx()
    made = Nginx(directory, circle, backend)
    try:
        yield made
    finally:
        made.close()


@asynccontextmanager
async def alerting(directory: Path, circle: Circle, version: str = "-tls1_3") -> AsyncIterator[str]:
    """openssl's server, which says in an alert what it has against a certificate, or in a page that it has nothing.

    Gives its URL.
    """
    circle.write(directory)
    (directory / "trusted.pem").write_bytes((directory / "ca.pem").read_bytes() + (directory / "crl.pem").read_bytes())
    server = await asyncio.create_subprocess_exec(
        *(openssl(), "s_server", "-accept", "127.0.0.1:0", version, "-www"),
        *("-cert", str(directory / "server.pem"), "-key", str(directory / "server.pem")),
        *("-Verify", "1", "-verify_return_error", "-CAfile", str(directory / "trusted.pem"), "-crl_check"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert server.stdout is not None
        async with asyncio.timeout(BEGIN_S):
            while b"ACCEPT" not in (line := await server.stdout.readline()):
                assert line
        yield f"https://localhost:{int(line.rpartition(b':')[2])}"
    finally:
        server.kill()
        await server.wait()


@asynccontextmanager
async def collecting(directory: Path, to: str) -> AsyncIterator[str]:
    """rotel, which sends on what it is given, by OTLP. Gives its host and port.

    It takes no port 0 (it panics), so it has an address of 127.0.0.0/8 to itself.
    """
    address = ".".join(["127", *(str(1 + number % 250) for number in os.urandom(3))])
    process = await asyncio.create_subprocess_exec(
        *(str(rotel()), "start", "--exporter", "otlp", "--otlp-exporter-protocol", "http"),
        *("--otlp-exporter-endpoint", f"http://{to}", "--batch-timeout", "20ms"),
        *("--otlp-grpc-endpoint", f"{address}:4317", "--otlp-http-endpoint", f"{address}:4318"),
        *("--pid-file", str(directory / "rotel.pid"), "--log-file", str(directory / "rotel.log")),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(BEGIN_S):
            while True:
                assert process.returncode is None
                try:
                    _, writer = await asyncio.open_connection(address, 4318)
                except OSError:
                    await asyncio.sleep(0.02)
                    continue
                writer.close()
                break
        yield f"{address}:4318"
    finally:
        process.kill()
        await process.wait()
