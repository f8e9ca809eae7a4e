"""What does telemetry cost? Muster's uplink against OpenTelemetry for Python's own OTLP/HTTP exporter.

The same records (health and inventory of the same clusters, and transitions) go to the same real receiver over mTLS
with gzip, in turns. Muster: gather, encode by the dictionary with keyed hashes, keep in PostgreSQL, read back, keep a
copy in `sent/`, send, delete on acknowledgement. The peer: its own objects from the same facts, its exporter; it keeps
nothing. CPU is user + system of each side's own process, all threads, from the first fact gathered to the last record
acknowledged, after one round that is not counted; the receiver and PostgreSQL are other processes, and the facts are
there before. Then an outage of 88 hours is simulated (`uplink_outage`), and the service's own probes are timed with
telemetry off, and on at an endpoint that hangs (`uplink_lateness`).

`--quick`: three rounds in place of ten, a look every 15 minutes of the outage in place of every five, and 300 clusters
for some seconds in place of 1,000 for minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit
from uuid import NAMESPACE_OID, uuid5

import asyncpg
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from benchmarks.harness import machine, result
from benchmarks.uplink_client import Spec
from benchmarks.uplink_lateness import FULL, QUICK, Plan, lateness
from benchmarks.uplink_outage import HOURS, outage
from benchmarks.uplink_sides import CHANGES, CLUSTERS, muster, opentelemetry
from muster.logs import configure_logs
from store.embedded import EmbeddedPostgres
from uplink.client.network.transport import Question, Transport
from uplink.client.network.trust import Trust
from uplink.receiver.activations import Activations
from uplink.receiver.app import Receiver
from uplink.receiver.authority import Authority
from uplink.receiver.settings import load_settings
from uplink.receiver.storing import Store
from uplink.wire import est

SIDES = ("muster", "opentelemetry")


# -- the receiver, and turns


async def enrol(url: str, authority: Authority, token: str) -> tuple[str, str, str]:
    """Anchors, chain and key of a new installation."""
    key, installation = ec.generate_private_key(ec.SECP256R1()), uuid5(NAMESPACE_OID, "installation")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(installation))])
    san = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:uuid:{installation}")])
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(san, critical=False)
        .sign(key, SHA256())
    )
    anchors = "".join(each.public_bytes(Encoding.PEM).decode() for each in authority.bundle)
    trust = Trust(anchors)
    transport = Transport(lambda: True)
    basic = base64.b64encode(f"acme:{token}".encode()).decode()
    try:
        headers = {"Content-Type": est.CSR_TYPE, "Authorization": f"Basic {basic}"}
        answer = await transport.ask(Question("POST", url + est.ENROLL, headers, est.encode_csr(csr)), trust)
    finally:
        await transport.close()
    (certificate,) = est.decode_certificates(answer.body)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return anchors, certificate.public_bytes(Encoding.PEM).decode(), secret


async def side(name: str, spec: Spec) -> float:
    """Records a CPU second of a side, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.uplink", "--side", name]
    # The peer's `requests` would prefer a bundle of the machine's to the one that it is given.
    environ = {k: v for k, v in os.environ.items() if k not in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environ
    )
    async with asyncio.timeout(300):
        out, _ = await process.communicate(json.dumps(asdict(spec)).encode())
    if process.returncode:
        raise SystemExit(f"{name} has ended with {process.returncode}")
    cpu_s, records = json.loads(out.splitlines()[-1])
    return float(records / cpu_s)


async def main(*, rounds: int, turns: int, looks: int, plan: Plan) -> None:
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as directory:
        here = Path(directory)
        here.chmod(0o711)  # noqa: ASYNC240 - once
        postgres = EmbeddedPostgres(here / "data")
        url = await postgres.start()
        try:
            await measure(here, url, rounds, turns, looks, plan)
        finally:
            await postgres.stop()


async def measure(here: Path, url: str, rounds: int, turns: int, looks: int, plan: Plan) -> None:
    connection = await asyncpg.connect(url)
    names = ["receiver", "outage", *(f"client{number}" for number in range(turns))]
    for name in names:
        await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    urls = {name: urlsplit(url)._replace(path=f"/{name}").geturl() for name in names}
    store = await Store.open(urls["receiver"])
    settings = load_settings(data_dir=here / "receiver", listen="127.0.0.1:0")
    authority = Authority.create(settings.authority_dir, "Benchmark", time.time())
    seen: dict[str, list[float]] = {name: [] for name in SIDES}
    try:
        receiver = Receiver(settings, authority, store)
        async with receiver.serving() as where:
            _, token = await Activations(store).create("acme", time.time(), 3600)
            anchors, chain, key = await enrol(where, authority, token)

            def spec_of(name: str) -> Spec:
                own = here / name
                own.mkdir(mode=0o700)
                return Spec(urls[name], where, str(own), anchors, chain, key, rounds)

            for turn in range(turns):
                spec = spec_of(f"client{turn}")
                for name in SIDES:
                    seen[name].append(await side(name, spec))
                    print(f"{name:14} {seen[name][-1]:10.0f} records a CPU second", flush=True)
            ended = await outage(spec_of("outage"), looks)
            print(
                f"{HOURS} hours without the endpoint: {ended.made} batches, {ended.inside} inside the bound", flush=True
            )
            port = urlsplit(where).port or 0
            delayed = await lateness(plan, Activations(store), time.time(), port, anchors)
    finally:
        await store.close()
    ours, theirs = (statistics.median(seen[name]) for name in SIDES)
    print(f"{machine()}; {rounds} rounds of {2 * CLUSTERS + CHANGES} records, {turns} turns, medians")
    result(
        records_per_cpu_s_ratio=ours / theirs,
        muster_records_per_cpu_s=ours,
        opentelemetry_records_per_cpu_s=theirs,
        outage_delivered_in_order_ratio=ended.delivered_ratio,
        outage_counted_ratio=ended.counted_ratio,
        **delayed,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--side", choices=SIDES)
    chosen = parser.parse_args()
    configure_logs("error")
    if chosen.side is None:
        rounds, looks = (3, HOURS * 4) if chosen.quick else (10, HOURS * 12)
        asyncio.run(main(rounds=rounds, turns=3, looks=looks, plan=QUICK if chosen.quick else FULL))
    else:
        given_ = Spec(**json.load(sys.stdin))
        print(json.dumps(uvloop.run(muster(given_)) if chosen.side == "muster" else opentelemetry(given_)))
