"""Enrolment at peers that are not of its own making: the receiver, a CA of openssl's, a TLS server of openssl's."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support import uplink_fronts
from tests.support.enrolling import TOKEN, Bench, bench, bond, eventually
from tests.support.est_server import Vendor, vending
from tests.support.receiving import Desk, receiving
from tests.support.uplink_fronts import Circle, alerting
from uplink.client.enrolment.enrolment import Word
from uplink.client.enrolment.identity import Bond
from uplink.client.network.transport import Question, Transport
from uplink.client.network.unreached import Obstacle, Unreached
from uplink.receiver.revoking import revoke
from uplink.wire.identity import installation_of, organisation_of

TIMEOUT_S = 20


# -- our receiver


@pytest.fixture
async def desk(receiver_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with receiving(receiver_url, tmp_path / "receiver", ask_again_s=1) as desk:
        yield desk


@asynccontextmanager
async def client_of(desk: Desk, directory: Path) -> AsyncIterator[Bench]:
    anchors = "".join(each.public_bytes(Encoding.PEM).decode() for each in desk.authority.bundle)
    async with bench(directory, f"https://localhost:{desk.port}", anchors) as client:
        yield client


def cert(client: Bench) -> x509.Certificate:
    trust = client.enroller.trust()
    assert trust is not None
    return x509.load_pem_x509_certificates(trust.chain_pem.encode())[0]


async def test_enrols_and_renews_at_the_receiver(desk: Desk, tmp_path: Path) -> None:
    async with client_of(desk, tmp_path / "identity") as client:
        await client.begin(await desk.token())
        async with client.running():
            await client.until(Word.ACTIVE)
            first = cert(client)
            assert (organisation_of(first), installation_of(first)) == ("acme", client.bond.installation_id)
            client.enroller.not_accepted(1)
            await eventually(lambda: client.enroller.state().generation == 2)
        assert cert(client).subject == first.subject
        assert cert(client).serial_number != first.serial_number


async def test_h11_waits_for_approval_across_a_restart(desk: Desk, tmp_path: Path) -> None:
    made, token = await desk.activations.create("acme", desk.clock.now(), 3600, needs_approval=True)
    async with client_of(desk, tmp_path / "identity") as client:
        await client.begin(token)
        async with client.running():
            await client.until(Word.ENROLLING, detail="approve")
        assert await desk.activations.approve(made.id, desk.clock.now())
        await client.begin(None)
        async with client.running():
            client.clock.advance(2)
            client.enroller._woken.set()
            await client.until(Word.ACTIVE)


async def test_h13_a_token_that_is_used_or_of_another_organisation_is_refused_for_good(
    desk: Desk, tmp_path: Path
) -> None:
    for organisation in ("acme", "other"):
        token = await desk.token(organisation)
        if organisation == "acme":
            await desk.activations.create("acme", desk.clock.now(), 3600)
            async with client_of(desk, tmp_path / "first") as first:
                await first.begin(token)
                async with first.running():
                    await first.until(Word.ACTIVE)
        async with client_of(desk, tmp_path / organisation) as client:
            await client.begin(token)
            async with client.running():
                state = await client.until(Word.HELD)
            assert "activation token is unknown, used, expired" in state.detail
            assert token not in state.detail


async def test_h17_revoked_it_asks_for_another_once_and_says_so(desk: Desk, tmp_path: Path) -> None:
    async with client_of(desk, tmp_path / "identity") as client:
        await client.begin(await desk.token())
        async with client.running():
            await client.until(Word.ACTIVE)
            await revoke(desk.store, str(client.bond.installation_id), desk.clock.now())
            client.enroller.not_accepted(1)
            state = await client.until(Word.DEGRADED)
            assert "403: This certificate was revoked" in state.detail
            client.enroller.not_accepted(1)
            await asyncio.sleep(0.05)
            assert client.kept().failures == 1


# -- a CA of openssl's


async def run(*command: str | Path, stdin: bytes = b"") -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(TIMEOUT_S):
        out, said = await process.communicate(stdin)
    assert process.returncode == 0, said.decode()
    return out


async def test_h12_openssl_reads_our_csr_and_we_read_its_certificates(tmp_path: Path) -> None:
    """The CA, the check of the CSR, the certificate and the PKCS#7 are openssl's; base64 is wrapped as it writes it."""
    openssl = uplink_fronts.openssl()
    ca_key, ca = tmp_path / "ca.key", tmp_path / "ca.crt"
    await run(openssl, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", ca_key)
    await run(openssl, "req", "-new", "-x509", "-key", ca_key, "-subj", "/CN=Independent", "-days", "30", "-out", ca)
    extensions = tmp_path / "ext"
    extensions.write_text("basicConstraints=critical,CA:false\nextendedKeyUsage=clientAuth\n")

    def sign(csr: x509.CertificateSigningRequest) -> bytes:
        request, made = tmp_path / "csr.pem", tmp_path / "leaf.crt"
        request.write_bytes(csr.public_bytes(Encoding.PEM))
        files = ("-in", request, "-out", made, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial")
        commands: list[tuple[str | Path, ...]] = [
            (openssl, "req", "-verify", "-noout", "-in", request),
            (openssl, "x509", "-req", *files, "-days", "7", "-copy_extensions", "copyall", "-extfile", extensions),
            (openssl, "crl2pkcs7", "-nocrl", "-certfile", made, "-certfile", ca, "-out", tmp_path / "answer.p7"),
        ]
        for command in commands:
            status = os.spawnv(os.P_WAIT, openssl, [str(each) for each in command])
            assert status == 0, command
        return (tmp_path / "answer.p7").read_bytes()

    async with vending() as vendor:
        vendor.sign = sign
        vendor.cacerts = lambda: [x509.load_pem_x509_certificate(ca.read_bytes())]
        async with bench(tmp_path / "identity", vendor.url, vendor.anchors_pem + ca.read_text()) as client:
            await client.begin()
            async with client.running():
                await eventually(lambda: client.kept().candidate)
            candidate = client.kept().candidate
            assert candidate is not None
            got = x509.load_pem_x509_certificates(candidate.chain_pem.encode())
            assert [each.issuer.rfc4514_string() for each in got] == ["CN=Independent"]
            key = tmp_path / "our.pem"
            key.write_text(candidate.key_pem)
            text = await run(openssl, "pkey", "-in", key, "-noout", "-text")
            assert b"prime256v1" in text
            (tmp_path / "got.crt").write_text(candidate.chain_pem)
            await run(openssl, "verify", "-purpose", "sslclient", "-CAfile", ca, tmp_path / "got.crt")


# -- alerts of openssl's server


ALERTS = {
    "revoked": "certificate revoked",
    "foreign": "unknown ca",
    "missing": "certificate required",
    "ended": "certificate expired",
}


@pytest.mark.parametrize("version", ["-tls1_3", "-tls1_2"])
@pytest.mark.parametrize("what", ALERTS)
async def test_h17_an_alert_about_our_certificate_is_known_as_one(tmp_path: Path, what: str, version: str) -> None:
    """Which alert it is differs with the version of TLS; that it is about our certificate does not."""
    circle = Circle()
    trust, transport = circle.trust(what), Transport(lambda: True)
    async with alerting(tmp_path, circle, version) as url:
        try:
            with pytest.raises(Unreached) as caught:
                await transport.ask(Question("GET", url), trust)
        finally:
            await transport.close()
    if version == "-tls1_2" and what == "missing":
        assert caught.value.obstacle is Obstacle.TLS, "TLS 1.2 has no alert of its own for it"
        return
    assert caught.value.obstacle is Obstacle.IDENTITY, caught.value
    assert ALERTS[what] in str(caught.value)


# -- kill -9


CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from uuid import UUID
from tests.support.enrolling import TOKEN, bench
from uplink.client.enrolment.identity import Bond
from uplink.client.enrolment.enrolment import Word

directory, url, anchors, bond, event, nth = sys.argv[1:]
passed = 0

def hook(name, args):
    global passed
    if name == event and str(directory) in str(args[0]):
        passed += 1
        if passed == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)

async def main():
    bound = Bond.model_validate_json(bond)
    async with bench(Path(directory), url, Path(anchors).read_text(), bound=bound) as client:
        first = not client.files()
        sys.addaudithook(hook)
        await client.begin(TOKEN if first else None)
        async with client.running():
            await client.until(Word.ACTIVE, Word.HELD)
        print(client.enroller.state())

asyncio.run(main())
"""


async def child(vendor: Vendor, tmp_path: Path, bound: Bond, event: str, nth: int) -> int:
    (tmp_path / "anchors.pem").write_text(vendor.anchors_pem)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CHILD, str(tmp_path / "identity"), vendor.url, str(tmp_path / "anchors.pem")),
        *(bound.model_dump_json(), event, str(nth)),
    )
    async with asyncio.timeout(TIMEOUT_S):
        return await process.wait()


@pytest.mark.parametrize(
    ("event", "nth"),
    [("os.rename", 1), ("os.rename", 2), ("os.rename", 3), ("os.rename", 4), ("open", 3), ("open", 8)],
)
async def test_h19_killed_while_it_writes_it_goes_on_with_the_same_key_and_token(
    tmp_path: Path, event: str, nth: int
) -> None:
    """Renames 1 to 4 put the token, the CSR, the candidate and the promotion into place; opens are around them."""
    async with vending() as vendor:
        bound = bond(vendor.url)
        assert await child(vendor, tmp_path, bound, event, nth) == -signal.SIGKILL
        async with bench(tmp_path / "identity", vendor.url, vendor.anchors_pem, bound=bound) as client:
            began = (client.directory / "identity.json").exists()
            await client.begin(None if began else TOKEN)
            async with client.running():
                await client.until(Word.ACTIVE)
            assert [path.name for path in client.files()] == ["identity.json"], "what the crash left is gone"
            kept = client.kept()
        assert (kept.token, kept.asking, kept.candidate) == (None, None, None)
        csrs = {each.body for each in vendor.asked if each.path.endswith("simpleenroll")}
        assert len(csrs) == 1, "a token is good for one CSR"
        assert TOKEN.encode() not in (tmp_path / "identity" / "identity.json").read_bytes()
