"""A vendor that does as it is told: EST and ingest behind one TLS port, with a CA that signs whatever a test wants."""

from __future__ import annotations

import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from uplink.client.network.trust import Trust
from uplink.receiver.authority import Authority
from uplink.wire import est
from uplink.wire.identity import urn
from uplink.wire.otlp import CONTENT_TYPE

Made = bytes | Sequence[x509.Certificate] | web.Response
Sign = Callable[[x509.CertificateSigningRequest], Made]


@dataclass(slots=True)
class Asked:
    """One request."""

    path: str
    body: bytes
    authorization: str
    peer: x509.Certificate | None


@dataclass(slots=True)
class Vendor:
    """`sign`, `cacerts` and `ingest` may be exchanged at any time."""

    authority: Authority
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    sign: Sign = lambda _: b""
    cacerts: Callable[[], Made] = lambda: b""
    ingest: Callable[[Asked], web.Response] = lambda _: web.Response(content_type=CONTENT_TYPE)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def anchors_pem(self) -> str:
        return self.authority.issuer.public_bytes(Encoding.PEM).decode()

    @property
    def trust(self) -> Trust:
        return Trust(self.anchors_pem)

    def paths(self) -> list[str]:
        return [each.path.rpartition("/")[2] for each in self.asked]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        tls = request.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True)
        peer = x509.load_der_x509_certificate(der) if der else None
        asked = Asked(request.path, await request.read(), request.headers.get("Authorization", ""), peer)
        self.asked.append(asked)
        if request.path.startswith("/v1/"):
            return self.ingest(asked)
        if request.path == est.CACERTS:
            return _answer(self.cacerts())
        return _answer(self.sign(est.decode_csr(asked.body)))


def _answer(made: Made) -> web.Response:
    if isinstance(made, web.Response):
        return made
    body = made if isinstance(made, bytes) else est.encode_certificates(made)
    return web.Response(body=body, headers={"Content-Type": est.CERTS_ONLY_TYPE})


@asynccontextmanager
async def vending(authority: Authority | None = None) -> AsyncIterator[Vendor]:
    """A vendor that signs what is asked of it, as it should."""
    vendor = Vendor(authority or Authority.new("Vendor", time.time()))
    vendor.cacerts = lambda: vendor.authority.bundle
    vendor.sign = lambda csr: [leaf(vendor.authority, csr.public_key())(csr)]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=vendor.anchors_pem)
    with tempfile.NamedTemporaryFile() as file:
        file.write(vendor.authority.sign_server(("localhost", "127.0.0.1"), time.time()))
        file.flush()
        context.load_cert_chain(file.name)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", vendor.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    vendor.port = runner.addresses[0][1]
    try:
        yield vendor
    finally:
        await runner.cleanup()


def leaf(
    authority: Authority,
    key: Any,
    *,
    installation: UUID | None = None,
    subject: x509.Name | None = None,
    san: x509.SubjectAlternativeName | None = None,
    usages: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH,),
    ca: bool = False,
    begins: float = -3600,
    days: float = 7,
    signer: ec.EllipticCurvePrivateKey | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
) -> Callable[[x509.CertificateSigningRequest], x509.Certificate]:
    """Signs a certificate with what is wrong with it; what is not said is as the CSR has it."""

    def sign(csr: x509.CertificateSigningRequest) -> x509.Certificate:
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if installation is not None:
            names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(urn(installation))])
        start = datetime.fromtimestamp(int(time.time() + begins), UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject or csr.subject)
            .issuer_name(authority.issuer.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(san or names, critical=False)
        )
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(signer or authority.key, SHA256())

    return sign
