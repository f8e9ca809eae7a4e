"""Clients that others have written, at the receiver: strongSwan's `pki`, curl and openssl.

What they share with us is the RFC. `pki --estca` trusts the CA by its file, `pki --est` enrols, polls and renews.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.need import need
from tests.support.receiving import Desk, basic, logs, make_csr, metrics, new_key, receiving
from uplink.receiver.revoking import revoke
from uplink.wire import est, names
from uplink.wire.identity import installation_of, organisation_of
from uplink.wire.otlp import CONTENT_TYPE, Signal, pack

TIMEOUT_S = 20


@pytest.fixture
async def desk(receiver_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with receiving(receiver_url, tmp_path / "receiver", ask_again_s=1) as desk:
        (tmp_path / "ca.pem").write_bytes(desk.authority.issuer.public_bytes(Encoding.PEM))
        yield desk


@pytest.fixture
def pki() -> str:
    found = shutil.which("pki")
    need(found, "strongswan-pki (Debian) is not installed: scripts/system-packages strongswan-pki")
    assert found is not None
    made = subprocess.run([found, "--gen", "--type", "ecdsa", "--size", "256"], capture_output=True, check=False)
    need(made.returncode == 0, "strongSwan has no ECDSA: scripts/system-packages libstrongswan-standard-plugins")
    return found


async def run(*command: str | Path, stdin: bytes = b"") -> tuple[int, bytes, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, said = await process.communicate(stdin)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, out, said.decode()


async def good(*command: str | Path, stdin: bytes = b"") -> bytes:
    code, out, said = await run(*command, stdin=stdin)
    assert code == 0, said
    return out


async def strongswan_csr(pki: str, directory: Path, name: str, dn: str) -> Path:
    key = directory / f"{name}.key"
    key.write_bytes(await good(pki, "--gen", "--type", "ecdsa", "--size", "256"))
    csr = directory / f"{name}.csr"
    csr.write_bytes(await good(pki, "--req", "--in", key, "--type", "ecdsa", "--dn", dn))
    return csr


def written(directory: Path, pattern: str) -> list[x509.Certificate]:
    return [x509.load_pem_x509_certificate(path.read_bytes()) for path in directory.glob(pattern)]


async def test_strongswan_learns_the_ca_enrols_and_enrols_again(desk: Desk, pki: str, tmp_path: Path) -> None:
    at, ca = f"https://localhost:{desk.port}", tmp_path / "ca.pem"
    bundle = tmp_path / "learned"
    await good(pki, "--estca", "--url", at, "--cacert", ca, "--caout", bundle, "--outform", "pem", "--force")
    assert written(tmp_path, "learned*") == [desk.authority.issuer]

    installation = uuid4()
    dn = f"O=acme, CN={installation}"
    csr = await strongswan_csr(pki, tmp_path, "first", dn)
    login = f"acme:{await desk.token()}"
    command = (pki, "--est", "--url", at, "--cacert", ca, "--outform", "der")
    der = await good(*command, "--in", csr, "--userpass", login)
    leaf = x509.load_der_x509_certificate(der)
    assert (organisation_of(leaf), installation_of(leaf)) == ("acme", installation)
    old = tmp_path / "first.crt"
    old.write_bytes(der)

    again = await strongswan_csr(pki, tmp_path, "second", dn)
    code, _, said = await run(*command, "--in", again, "--userpass", login)
    assert code != 0, "the token is used up"
    renewal = (*command, "--in", again, "--cert", old, "--key", tmp_path / "first.key")
    renewed = x509.load_der_x509_certificate(await good(*renewal))
    assert renewed.subject.rfc4514_string() == leaf.subject.rfc4514_string()
    assert renewed.public_key() != leaf.public_key()
    assert installation_of(renewed) == installation

    await revoke(desk.store, str(installation), desk.clock.now())
    code, _, said = await run(*renewal)
    assert code != 0, said


async def test_strongswan_waits_for_approval(desk: Desk, pki: str, tmp_path: Path) -> None:
    csr = await strongswan_csr(pki, tmp_path, "waits", f"CN={uuid4()}")
    made, token = await desk.activations.create("acme", desk.clock.now(), 3600, needs_approval=True)
    command = [pki, "--est", "--url", f"https://localhost:{desk.port}", "--cacert", str(tmp_path / "ca.pem")]
    command += ["--in", str(csr), "--userpass", f"acme:{token}", "--interval", "1", "--maxpolltime", "10"]
    polling = asyncio.create_task(run(*command))
    async with asyncio.timeout(10):
        while not await desk.activations.approve(made.id, desk.clock.now()):  # noqa: ASYNC110 - `pki` tells nobody
            await asyncio.sleep(0.05)
    code, der, said = await polling
    assert code == 0, said
    assert organisation_of(x509.load_der_x509_certificate(der)) == "acme"


@pytest.fixture
def curl() -> str:
    found = shutil.which("curl")
    need(found, "curl is not installed")
    assert found is not None
    return found


async def curls(curl: str, tmp_path: Path, *arguments: str | Path) -> str:
    """The status, content type and number of bytes."""
    out = "%{http_code} %{content_type} %{size_download}"
    common = ("-sS", "--max-time", "10", "--cacert", tmp_path / "ca.pem", "-o", tmp_path / "answer", "-w", out)
    return (await good(curl, *common, *arguments)).decode()


async def test_openssl_and_curl_enrol_and_upload(desk: Desk, curl: str, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    need(openssl, "openssl is not installed")
    assert openssl is not None
    at = f"https://localhost:{desk.port}"
    cacerts = await curls(curl, tmp_path, f"{at}{est.CACERTS}")
    assert cacerts.startswith(f"200 {est.CERTIFICATES_TYPE} ")
    der = await good(openssl, "base64", "-d", "-A", "-in", tmp_path / "answer")
    told = await good(openssl, "pkcs7", "-inform", "DER", "-print_certs", stdin=der)
    assert x509.load_pem_x509_certificate(told) == desk.authority.issuer
    await curls(curl, tmp_path, f"{at}{est.CSRATTRS}")
    der = await good(openssl, "base64", "-d", "-A", "-in", tmp_path / "answer")
    asn1 = (await good(openssl, "asn1parse", "-inform", "DER", stdin=der)).decode()
    assert "id-ecPublicKey" in asn1
    assert "prime256v1" in asn1

    key, installation = tmp_path / "key.pem", uuid4()
    await good(openssl, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    subject = (
        "-new",
        "-key",
        key,
        "-subj",
        f"/CN={installation}",
        "-addext",
        f"subjectAltName=URI:urn:uuid:{installation}",
    )
    csr = await good(openssl, "req", *subject, "-outform", "DER")
    (tmp_path / "csr").write_bytes(
        await good(openssl, "base64", stdin=csr)
    )  # wrapped at 64 columns, as many clients do
    login = f"acme:{await desk.token()}"
    sent = ("--data-binary", f"@{tmp_path / 'csr'}", "-H", f"Content-Type: {est.CSR_TYPE}", "-u", login)
    assert (await curls(curl, tmp_path, *sent, f"{at}{est.ENROLL}")).startswith("200 application/pkcs7-mime")
    der = await good(openssl, "base64", "-d", "-A", "-in", tmp_path / "answer")
    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(await good(openssl, "pkcs7", "-inform", "DER", "-print_certs", stdin=der))
    purpose = ("-purpose", "sslclient", "-x509_strict", "-CAfile", tmp_path / "ca.pem")
    assert b": OK" in await good(openssl, "verify", *purpose, leaf)

    (tmp_path / "batch").write_bytes(pack(metrics({"uid-1": "Healthy"}).SerializeToString()))
    mine = ("--cert", leaf, "--key", key)
    upload = (
        "--data-binary",
        f"@{tmp_path / 'batch'}",
        "-H",
        f"Content-Type: {CONTENT_TYPE}",
        "-H",
        "Content-Encoding: gzip",
    )
    batch = ("-H", f"{names.BATCH_ID}: {uuid4()}")
    for _ in range(2):
        assert (
            await curls(curl, tmp_path, *mine, *upload, *batch, f"{at}{Signal.METRICS.path}") == f"200 {CONTENT_TYPE} 0"
        )
    assert await desk.store.db.fetchval("SELECT count(*) FROM receiver_batches") == 1
    assert (await curls(curl, tmp_path, *upload, f"{at}{Signal.METRICS.path}")).startswith(f"401 {CONTENT_TYPE}")
    forget = ("-X", "DELETE", f"{at}{names.FORGET_PATH}")
    assert (await curls(curl, tmp_path, *mine, *forget)).startswith("204")
    assert await desk.store.db.fetchval("SELECT count(*) FROM receiver_batches") == 0


async def test_openssl_finds_the_servers_certificate_good(desk: Desk, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    need(openssl, "openssl is not installed")
    assert openssl is not None
    told = await good(
        openssl,
        *("s_client", "-connect", f"127.0.0.1:{desk.port}", "-CAfile", tmp_path / "ca.pem"),
        *("-verify_hostname", "localhost", "-verify_return_error", "-x509_strict"),
    )
    assert b"Verify return code: 0 (ok)" in told


async def test_a_handmade_request_of_a_collector_without_batch_ids_is_taken(desk: Desk) -> None:
    identity = await desk.enrol()
    raw = logs("x").SerializeToString()
    for _ in range(2):
        assert (await desk.send(identity, raw, Signal.LOGS)).status == 200
    assert await desk.store.db.fetchval("SELECT count(*) FROM receiver_batches") == 2, "their repeats can't be told"


async def test_a_proxy_that_unwraps_tls_lets_nobody_in(desk: Desk) -> None:
    """Without the client's own handshake there is no certificate, whatever a header says."""
    claims = {"Content-Type": CONTENT_TYPE, "X-Client-Cert": "acme", "X-SSL-Client-S-DN": "O=acme"}
    answer = await desk.ask("POST", Signal.LOGS.path, None, body=b"", **claims)
    assert answer.status == 401
    csr = make_csr(new_key(), uuid4())
    answer = await desk.post_csr(est.ENROLL, csr, Authorization=basic("acme", "guess"))
    assert answer.status == 401
