"""A receiver in this process, on a database of its own, and clients of it, honest and not."""

from __future__ import annotations

import base64
import io
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.support.postgres import PostgresServer
from uplink.receiver.activations import Activations
from uplink.receiver.app import Receiver
from uplink.receiver.authority import Authority
from uplink.receiver.settings import load_settings
from uplink.receiver.storing import Store
from uplink.wire import est, names
from uplink.wire.identity import urn
from uplink.wire.otlp import CONTENT_TYPE, Signal, pack
from validator.clock import FakeClock
from validator.net.connections import Connections

Key = Any
"""A private key: P-256, or what a hostile client has in its place."""


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def make_csr(
    key: Key,
    installation: UUID | str,
    *,
    organisation: str | None = None,
    san: bool = True,
    extensions: tuple[x509.ExtensionType, ...] = (),
) -> x509.CertificateSigningRequest:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, str(installation))]
    if organisation is not None:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if san:
        names_ = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(urn(UUID(str(installation))))])
        builder = builder.add_extension(names_, critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, SHA256())


@dataclass(slots=True)
class Identity:
    """An installation that has a certificate."""

    organisation: str
    installation: UUID
    key: Key
    certificate: x509.Certificate

    def pem(self) -> bytes:
        secret = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return bytes(secret) + self.certificate.public_bytes(Encoding.PEM)


@dataclass(slots=True)
class Answer:
    status: int
    body: bytes
    headers: Any = field(repr=False)


@dataclass(slots=True)
class Desk:
    """A running receiver and all that a test asks of it."""

    url: str
    store: Store
    authority: Authority
    clock: FakeClock
    receiver: Receiver
    activations: Activations

    @property
    def port(self) -> int:
        return self.receiver.server.port

    def trust(self, identity: Identity | None = None) -> ssl.SSLContext:
        """A client's side of TLS: our CA and nothing else."""
        pem = "".join(each.public_bytes(Encoding.PEM).decode() for each in self.authority.bundle)
        context = ssl.create_default_context(cadata=pem)
        if identity is not None:
            with tempfile.NamedTemporaryFile() as file:
                file.write(identity.pem())
                file.flush()
                context.load_cert_chain(file.name)
        return context

    @asynccontextmanager
    async def session(self, identity: Identity | None = None) -> AsyncIterator[aiohttp.ClientSession]:
        connector = aiohttp.TCPConnector(ssl=self.trust(identity))
        async with aiohttp.ClientSession(
            self.url, connector=connector, timeout=aiohttp.ClientTimeout(total=10), auto_decompress=True
        ) as session:
            yield session

    async def token(self, organisation: str = "acme", **more: Any) -> str:
        _, secret = await self.activations.create(organisation, self.clock.now(), 3600, **more)
        return secret

    async def ask(
        self, method: str, path: str, identity: Identity | None = None, *, body: bytes | None = None, **headers: str
    ) -> Answer:
        data = None if body is None else io.BytesIO(body)
        async with (
            self.session(identity) as session,
            session.request(method, path, data=data, headers=headers, allow_redirects=False) as response,
        ):
            return Answer(response.status, await response.read(), response.headers)

    async def post_csr(
        self, path: str, csr: x509.CertificateSigningRequest | bytes, identity: Identity | None = None, **headers: str
    ) -> Answer:
        body = csr if isinstance(csr, bytes) else est.encode_csr(csr)
        return await self.ask("POST", path, identity, body=body, **{"Content-Type": est.CSR_TYPE, **headers})

    async def enrol_raw(
        self, csr: x509.CertificateSigningRequest | bytes, token: str, organisation: str = "acme"
    ) -> Answer:
        return await self.post_csr(est.ENROLL, csr, Authorization=basic(organisation, token))

    async def enrol(self, organisation: str = "acme", installation: UUID | None = None) -> Identity:
        installation, key = installation or uuid4(), new_key()
        answer = await self.enrol_raw(make_csr(key, installation), await self.token(organisation), organisation)
        assert answer.status == 200, answer
        (certificate,) = est.decode_certificates(answer.body)
        return Identity(organisation, installation, key, certificate)

    async def send(
        self,
        identity: Identity | None,
        raw: bytes,
        signal: Signal = Signal.METRICS,
        batch: UUID | str | None = None,
        **headers: str,
    ) -> Answer:
        given = {"Content-Type": CONTENT_TYPE, "Content-Encoding": "gzip"}
        if batch is not None:
            given[names.BATCH_ID] = str(batch)
        return await self.ask("POST", signal.path, identity, body=pack(raw), **{**given, **headers})


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


_TABLES = ("logs", "health", "clusters", "batches", "certificates", "installations", "activations", "orgs", "counts")


@pytest.fixture(scope="session")
def receiver_database(postgres: PostgresServer) -> Iterator[str]:
    """One for all tests of a worker: making and migrating one takes ten times as long as emptying it."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
async def receiver_url(receiver_database: str) -> str:
    """URL of an empty database with the receiver's schema."""
    store = await Store.open(receiver_database)
    await store.db.execute("".join(f"DELETE FROM receiver_{table};" for table in _TABLES))
    await store.db.execute(
        "ALTER TABLE receiver_audit DISABLE TRIGGER USER; TRUNCATE receiver_audit;"
        "ALTER TABLE receiver_audit ENABLE TRIGGER USER"
    )
    await store.close()
    return receiver_database


@asynccontextmanager
async def receiving(
    database_url: str, directory: Path, *, connections: Connections | None = None, **settings: Any
) -> AsyncIterator[Desk]:
    """A receiver that listens; its clock is the real one's time, and stands still."""
    clock = FakeClock(time.time())
    store = await Store.open(database_url)
    try:
        loaded = load_settings(data_dir=directory, listen="127.0.0.1:0", **settings)
        if (directory / "authority").exists():
            authority = Authority.load(loaded.authority_dir)
        else:
            authority = Authority.create(loaded.authority_dir, "Test receiver", clock.now())
        receiver = Receiver(loaded, authority, store, clock=clock, connections=connections)
        async with receiver.serving() as url:
            yield Desk(url, store, authority, clock, receiver, Activations(store))
    finally:
        await store.close()


def metrics(
    clusters: dict[str, str], *, at: float | None = None, organisation: str = "liar", driver: str = "gardener"
) -> ExportMetricsServiceRequest:
    """`uplink.cluster.info` and `uplink.cluster.health` of clusters (UID: health), of whoever says so."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key=names.ORGANISATION).value.string_value = organisation
    resource.resource.attributes.add(key="service.name").value.string_value = "muster"
    scope = resource.scope_metrics.add()
    for name in (names.CLUSTER_INFO, names.CLUSTER_HEALTH):
        metric = scope.metrics.add(name=name)
        for uid, health in clusters.items():
            point = metric.gauge.data_points.add(as_int=1, time_unix_nano=int((at or time.time()) * 1e9))
            point.attributes.add(key=names.CLUSTER_UID).value.string_value = uid
            if name == names.CLUSTER_INFO:
                point.attributes.add(key="driver").value.string_value = driver
            else:
                point.attributes.add(key=names.HEALTH).value.string_value = health
    return request


def logs(*bodies: str, event: str = "cluster.unreachable") -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for body in bodies:
        record = scope.log_records.add(severity_text="WARN", event_name=event, time_unix_nano=time.time_ns())
        record.body.string_value = body
        record.attributes.add(key="reason").value.string_value = "ConnectTimeout"
    return request
