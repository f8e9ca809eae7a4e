"""The API's own certificate, with real clients: taken up, renewed under a kept connection, broken, about to end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
import trustme
from cryptography import x509

from muster.access.tls import ServerTls, TlsFilesError
from muster.api.server import ApiServer
from tests.support.hub import MadeUpHub, made_up_access, no_metrics
from validator.clock import FakeClock, HubClock


class Pair:
    """The two files, and the CA that clients trust."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.certificate, self.key = directory / "tls.crt", directory / "tls.key"
        self.renew()

    def renew(self, ends: datetime | None = None) -> int:
        """A new pair in the files; gives its serial number."""
        issued = self.ca.issue_cert("127.0.0.1", not_after=ends)
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self.key.write_bytes(issued.private_key_pem.bytes())
        return x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()).serial_number

    def client(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


@pytest.fixture
def tls(pair: Pair) -> ServerTls:
    return ServerTls(pair.certificate, pair.key, HubClock())


@pytest.fixture
async def server(tls: ServerTls) -> AsyncIterator[ApiServer]:
    hub = MadeUpHub()
    server = ApiServer(hub, no_metrics, "127.0.0.1", 0, access=made_up_access(hub), tls=tls.context)
    await server.start()
    yield server
    await server.stop()


class Connection:
    """One, kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, server: ApiServer, context: ssl.SSLContext) -> Connection:
        return cls(*await asyncio.open_connection(*server.address, ssl=context))

    @property
    def serial(self) -> int:
        certificate = self.writer.get_extra_info("ssl_object").getpeercert()
        return int(certificate["serialNumber"], 16)

    async def healthy(self) -> bool:
        self.writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        head = await self.reader.readuntil(b"\r\n\r\n")
        await self.reader.readexactly(3)
        return head.startswith(b"HTTP/1.1 200")

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def test_a_renewed_certificate_is_shown_and_kept_connections_stay(
    server: ApiServer, tls: ServerTls, pair: Pair
) -> None:
    assert server.url.startswith("https://127.0.0.1:")
    kept = await Connection.to(server, pair.client())
    assert await kept.healthy()
    serial = pair.renew()
    tls.look()
    fresh = await Connection.to(server, pair.client())
    assert fresh.serial == serial != kept.serial
    assert await kept.healthy()
    assert await fresh.healthy()
    await kept.close()
    await fresh.close()


async def test_a_broken_renewal_keeps_the_old_pair_and_is_told_once(
    server: ApiServer, tls: ServerTls, pair: Pair
) -> None:
    other_key = pair.key.read_bytes()
    pair.renew()
    tls.look()
    with structlog.testing.capture_logs() as logs:
        pair.key.write_bytes(other_key)  # a new certificate, and not yet its key
        tls.look()
        assert logs == []  # two files are never replaced at the same moment
        for _ in range(5):
            tls.look()
        pair.certificate.write_text("-----BEGIN CERTIFICATE-----\nhalf a")
        for _ in range(5):
            tls.look()
        pair.key.unlink()
        for _ in range(5):
            tls.look()
    assert [log["log_level"] for log in logs] == ["error"] * 3
    assert str(pair.key) in logs[-1]["error"]
    connection = await Connection.to(server, pair.client())
    assert await connection.healthy()
    await connection.close()
    serial = pair.renew()
    tls.look()
    connection = await Connection.to(server, pair.client())
    assert connection.serial == serial
    await connection.close()


async def test_nothing_older_than_tls_1_2_is_spoken(server: ApiServer, pair: Pair) -> None:
    context = pair.client()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        await Connection.to(server, context)


async def test_plain_http_on_a_tls_port_gets_no_answer(server: ApiServer) -> None:
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert b"200" not in await asyncio.wait_for(reader.read(), 5)
    writer.close()


def test_files_that_do_not_fit_are_refused_at_the_start_with_their_names(pair: Pair) -> None:
    other_key = pair.key.read_bytes()
    pair.renew()
    pair.key.write_bytes(other_key)
    with pytest.raises(TlsFilesError, match="MUSTER_TLS_CERTIFICATE"):
        ServerTls(pair.certificate, pair.key, HubClock())
    pair.key.unlink()
    with pytest.raises(TlsFilesError, match=r"tls\.key: No such file"):
        ServerTls(pair.certificate, pair.key, HubClock())


def test_a_key_with_a_password_is_refused_and_does_not_ask_for_it(pair: Pair) -> None:
    from cryptography.hazmat.primitives import serialization as s  # noqa: PLC0415 - here alone

    key = s.load_pem_private_key(pair.key.read_bytes(), None)
    pair.key.write_bytes(
        key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"hunter2"))
    )
    with pytest.raises(TlsFilesError, match="without a password"):
        ServerTls(pair.certificate, pair.key, HubClock())


def test_a_certificate_that_ends_soon_is_told_at_each_mark_once(pair: Pair) -> None:
    clock = FakeClock(datetime.now(UTC).timestamp())
    pair.renew(datetime.now(UTC) + timedelta(days=20))
    tls = ServerTls(pair.certificate, pair.key, clock)
    with structlog.testing.capture_logs() as logs:
        for _ in range(22 * 4):
            tls.look()
            clock.advance(86_400 / 4)
    assert [log["event"] for log in logs] == ["TLS certificate expires soon"] * 2 + ["TLS certificate has expired"]
