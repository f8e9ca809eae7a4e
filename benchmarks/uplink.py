"""What does telemetry cost? Muster's uplink against OpenTelemetry for Python's own OTLP/HTTP exporter.

The same records (health and inventory of the same clusters, and transitions) go to the same real receiver over mTLS
with gzip, in turns. Muster: gather, encode by the dictionary with keyed hashes, keep in PostgreSQL, read back, keep a
copy in `sent/`, send, delete on acknowledgement. The peer: its own objects from the same facts, its exporter; it keeps
nothing. CPU is user + system of each side's own process, all threads, from the first record gathered to the last
acknowledged, after one round that is not counted; the receiver and PostgreSQL are other processes. `--quick`: three
rounds of ten.
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
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import NAMESPACE_OID, uuid5

import asyncpg
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from benchmarks.harness import machine, result
from store.embedded import EmbeddedPostgres
from store.migrate import STORE_MIGRATIONS, migrate
from store.pool import Database
from uplink.client.commitments import commitments
from uplink.client.consent import Offer, Wanted, Who, decide, give
from uplink.client.copies import Copies
from uplink.client.dictionary import dictionary
from uplink.client.epochs import SPOOL_MIGRATIONS, Epochs
from uplink.client.facts import ChangeFact, ClusterFact, Facts, FleetFact
from uplink.client.filler import Filler
from uplink.client.gate import Gate
from uplink.client.line import IngestLine
from uplink.client.sender import Sender
from uplink.client.spool import Spool
from uplink.client.streams import Stream
from uplink.client.transport import Question, Transport
from uplink.client.trust import Trust
from uplink.receiver.activations import Activations
from uplink.receiver.app import Receiver
from uplink.receiver.authority import Authority
from uplink.receiver.settings import load_settings
from uplink.receiver.storing import Store
from uplink.wire import est
from validator.clock import HubClock

CLUSTERS = 2000
CHANGES = 2000
IDS = [uuid5(NAMESPACE_OID, f"cluster/{number}") for number in range(CLUSTERS)]
UIDS = [str(uuid5(NAMESPACE_OID, f"uid/{number}")) for number in range(CLUSTERS)]
SIDES = ("muster", "opentelemetry")


@dataclass(frozen=True)
class Spec:
    """What a side needs to know."""

    database: str
    receiver: str
    directory: str
    anchors: str
    chain: str
    key: str
    rounds: int


# -- the same records for both


class Fleet:
    """Facts that change in every round, so that the inventory is told each time."""

    def __init__(self, since: float) -> None:
        self._since = since
        self.round = 0

    def clusters(self, at: float) -> list[ClusterFact]:
        return [
            ClusterFact(
                id=IDS[number],
                external_uid=UIDS[number],
                name=f"customer-prod-{number}",
                source="kubeconfig",
                lifecycle="Active",
                health="Healthy" if number % 7 else "Unreachable",
                reason=None if number % 7 else "ConnectTimeout",
                heard_at=at,
                kubernetes_version=f"v1.{self.round % 100}.{number % 9}",
            )
            for number in range(CLUSTERS)
        ]

    async def facts(self) -> Facts:
        at = time.time()
        return Facts(at, FleetFact({"Healthy": CLUSTERS}, {}, 0), self.clusters(at))

    async def changes(self, since: float, after_id: int, limit: int) -> Sequence[ChangeFact]:
        first, at = self.round * CHANGES + 1, time.time()
        return [
            ChangeFact(
                id=first + number,
                at=at,
                cluster_id=IDS[number % CLUSTERS],
                external_uid=UIDS[number % CLUSTERS],
                cluster_name=f"customer-prod-{number % CLUSTERS}",
                check="apiserver",
                from_health="Healthy",
                to_health="Unreachable",
                reason="ConnectTimeout",
                stage="connect",
            )
            for number in range(CHANGES)
            if first + number > after_id
        ][:limit]


RECORDS = CLUSTERS * 2 + CHANGES
"""Of one round: each cluster's health, each cluster, each transition. Muster sends two more, of the fleet."""


async def muster(spec: Spec) -> tuple[float, int]:
    """CPU seconds and records."""
    db = await Database.open(spec.database)
    await migrate(db, [STORE_MIGRATIONS, SPOOL_MIGRATIONS], 1)
    offer = Offer(dictionary(), commitments(), "acme", None)
    wanted = Wanted(frozenset(Stream), offer.commitments.sha256, offer.dictionary.version)
    given = give(wanted, offer, {}, Who("benchmark", "cli"), 1, time.time() - 1)
    clock, fleet = HubClock(), Fleet(time.time())
    epochs, spool = Epochs(db), Spool(db)
    gate = Gate(epochs, lambda: transport.abort(), lambda _: None)  # noqa: PLW0108 - it is made below
    transport = Transport(gate.is_open)
    line = IngestLine(1, transport, spec.receiver, Trust(spec.anchors, 1, spec.chain, spec.key))
    copies = Copies(Path(spec.directory) / "telemetry" / "sent")
    sender = Sender(spool, gate, lambda: line, offer.dictionary, clock, copies)
    filler = Filler(fleet, spool, gate, offer.dictionary, clock, "0.1.0")
    await epochs.open(given)
    standing = decide(given, offer, {})
    gate.admit(standing)
    watching = asyncio.create_task(gate.run(), name="gate")
    began = sent = 0.0
    for number in range(spec.rounds + 1):
        if number == 1:
            began, sent = time.process_time(), sender.state.sent_records
        fleet.round = number
        await filler.fill(standing, now_all=True)
        while (wait_s := await sender.step()) is not None:
            if wait_s:
                raise SystemExit(f"not sent: {sender.state}")
    cpu_s, records = time.process_time() - began, sender.state.sent_records - int(sent)
    watching.cancel()
    await transport.close()
    await db.close()
    return cpu_s, records


def opentelemetry(spec: Spec) -> tuple[float, int]:
    """The same of the peer."""
    from opentelemetry._logs import LogRecord, SeverityNumber  # noqa: PLC0415 - the other side does not load it
    from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.sdk._logs import ReadableLogRecord  # noqa: PLC0415
    from opentelemetry.sdk.metrics import export as sdk  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415

    directory = Path(spec.directory)
    files = {name: str(directory / f"{name}.pem") for name in ("anchors", "chain", "key")}
    for name, path in files.items():
        Path(path).write_text(getattr(spec, name))
    anchors, chain, key = files["anchors"], files["chain"], files["key"]
    metrics = OTLPMetricExporter(f"{spec.receiver}/v1/metrics", anchors, key, chain, compression=Compression.Gzip)
    logs = OTLPLogExporter(f"{spec.receiver}/v1/logs", anchors, key, chain, compression=Compression.Gzip)
    resource = Resource(
        {"service.name": "muster", "service.version": "0.1.0", "service.instance.id": "i", "uplink.org.id": "acme"}
    )
    scope, fleet = InstrumentationScope("muster"), Fleet(time.time())

    def gauge(name: str, said: list[dict[str, str | None]], at: int) -> sdk.MetricsData:
        points = [sdk.NumberDataPoint({k: v for k, v in each.items() if v}, 0, at, 1) for each in said]
        metric = sdk.Metric(name, "", "1", sdk.Gauge(points))
        return sdk.MetricsData([sdk.ResourceMetrics(resource, [sdk.ScopeMetrics(scope, [metric], "")], "")])

    async def gathered() -> tuple[Facts, Sequence[ChangeFact]]:
        return await fleet.facts(), await fleet.changes(0, 0, CHANGES)

    began, sent = 0.0, 0
    for number in range(spec.rounds + 1):
        if number == 1:
            began, sent = time.process_time(), 0
        fleet.round = number
        facts, changes = asyncio.run(gathered())
        at = int(facts.at * 1e9)
        health = [
            {"k8s.cluster.uid": c.external_uid, "muster.cluster.id": str(c.id), "health": c.health, "reason": c.reason}
            for c in facts.clusters
        ]
        info = [
            {
                "k8s.cluster.uid": c.external_uid,
                "muster.cluster.id": str(c.id),
                "muster.cluster.name": c.name,
                "muster.cluster.source": c.source,
                "muster.cluster.lifecycle": c.lifecycle,
                "k8s.cluster.version": c.kubernetes_version,
            }
            for c in facts.clusters
        ]
        records = [
            ReadableLogRecord(
                LogRecord(
                    timestamp=int(c.at * 1e9),
                    severity_number=SeverityNumber.ERROR,
                    event_name="muster.transition",
                    attributes={
                        "k8s.cluster.uid": c.external_uid or "",
                        "muster.cluster.id": str(c.cluster_id),
                        "muster.cluster.name": c.cluster_name,
                        "check": c.check,
                        "from": c.from_health,
                        "to": c.to_health,
                        "reason": c.reason or "",
                        "stage": c.stage or "",
                        "flapping": c.flapping,
                        "collapsed": c.collapsed,
                    },
                ),
                resource,
                scope,
            )
            for c in changes
        ]
        for answer in (
            metrics.export(gauge("uplink.cluster.health", health, at)),
            metrics.export(gauge("uplink.cluster.info", info, at)),
            logs.export(records),
        ):
            if answer.name != "SUCCESS":
                raise SystemExit(f"not sent: {answer}")
        sent += RECORDS
    cpu_s = time.process_time() - began
    metrics.shutdown()
    logs.shutdown()  # type: ignore[no-untyped-call]  # theirs
    return cpu_s, sent


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


async def main(*, rounds: int, turns: int) -> None:
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as directory:
        here = Path(directory)
        here.chmod(0o711)  # noqa: ASYNC240 - once
        postgres = EmbeddedPostgres(here / "data")
        url = await postgres.start()
        try:
            await measure(here, url, rounds, turns)
        finally:
            await postgres.stop()


async def measure(here: Path, url: str, rounds: int, turns: int) -> None:
    connection = await asyncpg.connect(url)
    names = ["receiver", *(f"client{number}" for number in range(turns))]
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
            for turn in range(turns):
                own = here / f"client{turn}"
                own.mkdir(mode=0o700)
                spec = Spec(urls[f"client{turn}"], where, str(own), anchors, chain, key, rounds)
                for name in SIDES:
                    seen[name].append(await side(name, spec))
                    print(f"{name:14} {seen[name][-1]:10.0f} records a CPU second", flush=True)
    finally:
        await store.close()
    ours, theirs = (statistics.median(seen[name]) for name in SIDES)
    print(f"{machine()}; {rounds} rounds of {RECORDS} records, {turns} turns, medians")
    result(
        records_per_cpu_s_ratio=ours / theirs,
        muster_records_per_cpu_s=ours,
        opentelemetry_records_per_cpu_s=theirs,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--side", choices=SIDES)
    chosen = parser.parse_args()
    if chosen.side is None:
        asyncio.run(main(rounds=3 if chosen.quick else 10, turns=3))
    else:
        given_ = Spec(**json.load(sys.stdin))
        print(json.dumps(asyncio.run(muster(given_)) if chosen.side == "muster" else opentelemetry(given_)))
