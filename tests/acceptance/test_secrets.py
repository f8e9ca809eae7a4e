"""Canaries: what is secret is planted wherever people put it, and must be found nowhere else."""

from __future__ import annotations

import base64
import gzip
import http.server
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import psutil
import pytest
import trustme
import yaml

from tests.support.kubeconfigs import answer, authority, b64, ca_pem, client_pair, entry, jwt, kubeconfig, plugin, write
from tests.support.receiver_process import ORGANISATION, ReceiverProcess, receiver_process
from tests.support.relay import Relay, relay
from tests.support.service import Service, embedded_url, own_directory, rows, running_service, simulated, until

API_VERSION = "client.authentication.k8s.io/v1"

CHAIN, KEY = client_pair()

CANARIES = {
    "a token in a kubeconfig": "canary-inline-token",
    "a token that a server repeats": "canary-repeated-token",
    "a token in a file": "canary-file-token",
    "a token in a file that is broken": "canary-broken file-token",
    "a client key": "".join(KEY.splitlines()[1:-1])[:40],
    "a client key in base64": b64(KEY)[100:140],
    "a client key that is broken": "canary-broken-key",
    "a proxy password": "canary-proxy-password",
    "a proxy password as it is sent": b64("user:canary-proxy-password"),
    "a plugin's token": "canary-plugin-token",
    "a plugin's variable": "canary-plugin-variable",
    "what a failing plugin printed": "canary-plugin-output",
    "a token that a failing plugin complains of": jwt(sub="canary"),
    "basic authentication": "canary-basic-password",
    "a password in a server URL": "canary-url-password",
}


class Parrot(http.server.BaseHTTPRequestHandler):
    """An API server that answers with the credential that it was shown, each time elsewhere."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        self.asked.append(token)
        status, headers, body = (
            (500, {}, f"[+]ping ok\n[-]{token} failed: {token}\nreadyz check failed\n"),
            (302, {"Location": f"https://{token}.example/{token}?token={token}"}, ""),
            (200, {"Content-Type": token}, token),
            (401, {"WWW-Authenticate": f'Bearer realm="{token}"'}, token),
            (429, {"Retry-After": token, "Content-Type": f"text/{token}"}, token),
            (418, {"Content-Type": f"text/{token}"}, token),
        )[len(self.asked) % 6]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        pass


@contextmanager
def parrot() -> Iterator[str]:
    """Its URL."""
    certificate: trustme.LeafCert = authority(0).issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Parrot)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, name="parrot", daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def planted(directory: Path, server: str, good: str, good_ca: str) -> Path:
    """A kubeconfig with every canary in its place."""
    (directory / "token").write_text(CANARIES["a token in a file"])
    (directory / "broken-token").write_text(CANARIES["a token in a file that is broken"])
    gives = plugin(directory / "gives", answer(token=CANARIES["a plugin's token"]))
    fails = plugin(
        directory / "fails",
        f"print({CANARIES['what a failing plugin printed']!r})\n"
        f"print('denied: ' + {CANARIES['a token that a failing plugin complains of']!r}, file=sys.stderr)\n"
        "sys.exit(1)",
    )
    env = [{"name": "SECRET", "value": CANARIES["a plugin's variable"]}]
    users: dict[str, dict[str, object]] = {
        "inline": {"token": CANARIES["a token in a kubeconfig"]},
        "repeated": {"token": CANARIES["a token that a server repeats"]},
        "file": {"tokenFile": str(directory / "token")},
        "broken-file": {"tokenFile": str(directory / "broken-token")},
        "certificate": {"client-certificate-data": b64(CHAIN), "client-key-data": b64(KEY)},
        "broken-key": {
            "client-certificate-data": b64(CHAIN),
            "client-key-data": b64(CANARIES["a client key that is broken"]),
        },
        "bad-base64": {
            "client-certificate-data": b64(CHAIN),
            "client-key-data": CANARIES["a client key that is broken"],
        },
        "plugin": {"exec": {"apiVersion": API_VERSION, "command": str(gives), "env": env}},
        "failing-plugin": {"exec": {"apiVersion": API_VERSION, "command": str(fails), "env": env}},
        "basic": {"username": "admin", "password": CANARIES["basic authentication"]},
    }
    ca = b64(good_ca)
    entries = [entry(name, user, server=good, certificate_authority_data=ca) for name, user in users.items()]
    # Each a cluster of its own, so that none is taken for another name of the first.
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    for number, one in enumerate(entries):
        cluster = one["clusters"][0]["cluster"]
        assert isinstance(cluster, dict)
        cluster["tls-server-name"] = names[number % len(names)]
    parrot_ca, proxy = b64(ca_pem(0)), f"user:{CANARIES['a proxy password']}@127.0.0.1:1"
    token: dict[str, object] = {"token": CANARIES["a token that a server repeats"]}
    entries += [
        entry("parrot", token, server=server, certificate_authority_data=parrot_ca),
        entry("proxied", token, server="https://10.9.9.9:443", proxy_url=f"http://{proxy}"),
        entry("bad-proxy", token, proxy_url=f"socks5://{proxy}"),
        entry("url", token, server=f"https://user:{CANARIES['a password in a server URL']}@10.9.9.8"),
    ]
    return write(directory / "config", kubeconfig(*entries))


@pytest.mark.slow
def test_no_secret_is_anywhere_but_where_people_put_it(database_url: str, receiver_url: str) -> None:
    """H27, H30: with telemetry of the widest scope, through a proxy that wants a password."""
    password = urlsplit(database_url).password
    assert password
    canaries = {**CANARIES, "the database's password": password}
    with (
        simulated((1, "healthy")) as fleet,
        own_directory() as directory,
        parrot() as parrot_url,
        receiver_process(directory / "receiver", receiver_url) as receiver,
        relay(None) as proxy,
    ):
        (directory / "private").mkdir(mode=0o700)
        (directory / "temporary").mkdir(mode=0o700)
        [good] = fleet.clusters.values()
        path = planted(directory / "private", parrot_url, good.server, ca_of(fleet.source))
        canaries["a simulated token"] = fleet.token(good.name)
        options = ("--kubeconfig", path, "--static", fleet.source, "--log-level", "debug")
        canaries["an activation token"] = (token := receiver.token())
        environ = {"TMPDIR": str(directory / "temporary"), **telemetry(receiver, proxy)}
        with running_service(
            *options, data_dir=directory / "data", database_url=database_url, environ=environ
        ) as service:
            found = Found(canaries)
            consent(service, directory / "private" / "activation-token", token)
            until(lambda: len(Parrot.asked) > 3, 15, "the parrot is asked")
            ends = time.monotonic() + 8
            while time.monotonic() < ends:
                found.look("the API", everything_of(service))
                found.look("command lines", "\n".join(command_lines()))
                time.sleep(0.3)
            names = set(service.clusters())
            assert names >= {"parrot", "proxied"}
            for name in sorted(names):
                found.look("muster cluster", service.cli("cluster", name).out)
            for arguments in (("status", "--all", "-o", "wide"), ("status", "-o", "yaml"), ("history",)):
                ran = service.cli(*arguments)
                found.look(f"muster {arguments[0]}", ran.out + ran.err)
            until(lambda: service.json("/api/v1/telemetry")["link"]["state"] == "active", 10, "telemetry is sent")
            fleet.set(good.name, "refuse")  # or there may be nothing to tell since the consent
            until(lambda: streams_of(directory / "data") == {"metrics", "logs", "inventory"}, 25, "all of it has left")
            found.look("muster telemetry", service.cli("telemetry", "status", "-o", "json").out)
            service.stop()
            found.look("the log", service.log)
            found.look("the receiver's log", receiver.log)
            found.look("what support sees", json.dumps(receiver.show()))
        assert CANARIES["a token that a server repeats"] in Parrot.asked, "or nothing was put to the test"
        wanted = b64(f"user:{CANARIES['a proxy password']}").encode()
        assert wanted in b"".join(proxy.heads), "or nothing was put to the test"
        found.look("the database", dump(database_url))
        found.look("the receiver's database", dump(receiver_url))
        for file in sent(directory / "data"):
            found.look("a batch", gzip.decompress(file.read_bytes()).decode(errors="replace"))
        for file in (directory / "data" / "telemetry").rglob("*"):
            found.look("a file of telemetry", (file.is_file() and file.read_text(errors="replace")) or "-")
        for file in (directory / "temporary").rglob("*"):
            found.look("a temporary file", file.read_text(errors="replace") if file.is_file() else "")
    assert found.leaks == set()


def telemetry(receiver: ReceiverProcess, proxy: Relay) -> dict[str, str]:
    """Settings for it."""
    url = f"https://localhost:{receiver.port}"
    return {
        "MUSTER_TELEMETRY_ORGANISATION": ORGANISATION,
        "MUSTER_TELEMETRY_REGISTER_URL": url,
        "MUSTER_TELEMETRY_INGEST_URL": url,
        "MUSTER_TELEMETRY_CA_FILE": str(receiver.ca_file),
        "MUSTER_TELEMETRY_PROXY": f"http://user:{CANARIES['a proxy password']}@127.0.0.1:{proxy.port}",
    }


def consent(service: Service, path: Path, token: str) -> None:
    """To everything that there is to consent to."""
    path.write_text(token)
    sha = json.loads(service.cli("telemetry", "terms", "-o", "json").out)["commitments_sha256"]
    streams = [part for name in ("metrics", "logs", "inventory") for part in ("--stream", name)]
    widest = ("--plain-names", "--free-text", "--commitments", sha, "--activation-token-file", str(path))
    ran = service.cli("telemetry", "on", *streams, *widest)
    assert ran.code == 0, ran.err


def sent(data_dir: Path) -> list[Path]:
    return [path for path in (data_dir / "telemetry" / "sent").glob("*") if path.is_file()]


def streams_of(data_dir: Path) -> set[str]:
    """Of which there are copies."""
    return {name for name in ("metrics", "logs", "inventory") if any(name in path.name for path in sent(data_dir))}


class Found:
    """Where which canary was seen."""

    def __init__(self, canaries: dict[str, str]) -> None:
        self._canaries = canaries
        self.leaks: set[tuple[str, str]] = set()

    def look(self, where: str, text: str) -> None:
        assert text or where == "a temporary file", f"nothing to look at: {where}"
        self.leaks |= {(what, where) for what, canary in self._canaries.items() if canary in text}


def ca_of(source: Path) -> str:
    [known] = yaml.safe_load(source.read_text())["clusters"]
    return base64.b64decode(known["certificate-authority-data"]).decode()


def everything_of(service: Service) -> str:
    """All that the API says."""
    paths = ["/readyz", "/metrics", "/api/v1/fleet", "/api/v1/clusters?limit=5000", "/api/v1/transitions?limit=1000"]
    paths += [f"/api/v1/clusters/{cluster['id']}" for cluster in service.clusters().values()]
    return "\n".join(service.get(path)[1].decode() for path in paths)


def command_lines() -> Iterator[str]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            yield " ".join(process.cmdline())


def dump(url: str) -> str:
    """Every column of every table, as text."""
    sql = "SELECT relname AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    tables = [row["name"] for row in rows(url, sql)]
    return "\n".join(row["text"] for table in tables for row in rows(url, f"SELECT t::text AS text FROM {table} t"))


def test_the_password_of_the_embedded_database_stays_in_its_file() -> None:
    with own_directory() as data_dir, running_service("--log-level", "debug", data_dir=data_dir) as service:
        password = urlsplit(embedded_url(data_dir)).password
        assert password
        lines = list(command_lines())
        assert any(str(data_dir / "postgresql") in line for line in lines), "or nothing was put to the test"
        assert not any(password in line for line in lines)
        for process in service.tree()[1:]:
            assert password not in str(process.environ())
        service.stop()
        assert password not in service.log
        home = data_dir / "postgresql"
        holding = [p for p in home.rglob("*") if p.is_file() and password.encode() in p.read_bytes()]
        assert holding == [home / "password"]
        assert (home / "password").stat().st_mode & 0o077 == 0
