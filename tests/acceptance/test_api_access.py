"""Access to the running service: every operation with every kind of token, computed from its own document; what it
knows of secrets is looked for wherever it writes; every write is in the audit log.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from muster.access.roles import Role
from muster.access.secret import digest
from tests.support.runtime import bearer, local_bearer
from tests.support.service import (
    Json,
    Service,
    embedded_url,
    muster,
    own_directory,
    rows,
    running_service,
    simulated,
    until,
)

TOKENS, SESSION, AUDIT = "/api/v1/tokens", "/api/v1/session", "/api/v1/audit"
CLUSTER = "healthy-00001"


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def document(self) -> Json:
        return dict(json.loads(self.body))


class Running(NamedTuple):
    """A service and its database."""

    service: Service
    database_url: str

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        body: Json | None = None,
        read: bool = True,
    ) -> Answer:
        """With the local token unless there are other headers; without `read` the head is all that is waited for."""
        given = local_bearer(self.service.url) if headers is None else headers
        content = {} if body is None else {"Content-Type": "application/json"}
        with closing(http.client.HTTPConnection(urlsplit(self.service.url).netloc, timeout=10)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body), {**given, **content})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read() if read else b"")

    def token(self, name: str, role: Role, **more: object) -> Json:
        """A new one, with its secret."""
        answer = self.ask("POST", TOKENS, body={"name": name, "role": role, **more})
        assert answer.status == 201, answer.body
        return answer.document

    def audited(self, query: str = "") -> list[Json]:
        """Entries of the audit log, newest first."""
        return list(self.ask("GET", f"{AUDIT}?limit=1000{query}").document["entries"])


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with (
        simulated((1, "healthy")) as fleet,
        own_directory() as data_dir,
        running_service("--static", fleet.source, data_dir=data_dir) as service,
    ):
        until(lambda: service.health(CLUSTER) == "Healthy", 15, "the cluster is known")
        yield Running(service, embedded_url(data_dir))


def operations(running: Running) -> list[tuple[str, str, Role | None]]:
    """Method, a path, and the role that it takes."""
    paths = running.service.json("/openapi.json")["paths"]
    return [
        (method.upper(), filled(path), operation.get("x-muster-role"))
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]


def filled(path: str) -> str:
    return path.replace("{cluster}", CLUSTER).replace("{token}", "none").replace("{location}", "none")


def test_every_operation_takes_exactly_its_role_and_no_token_that_is_over(running: Running) -> None:
    tokens = {role: running.token(f"matrix-{role}", role) for role in Role}
    revoked, expired = running.token("over-1", Role.ADMIN), running.token("over-2", Role.ADMIN, expires_in_s=60)
    assert running.ask("DELETE", f"{TOKENS}/{revoked['id']}").status == 200
    rows(running.database_url, "UPDATE api_tokens SET expires_at = now() - interval '1 s' WHERE name = 'over-2'")
    fleet = "/api/v1/fleet"
    until(lambda: running.ask("GET", fleet, bearer(expired["secret"])).status == 401, 5, "it has expired")
    nobody = {"none": {}, "revoked": bearer(revoked["secret"]), "expired": bearer(expired["secret"])}
    table = operations(running)
    assert len(table) > 20
    for method, path, needed in table:
        for what, headers in nobody.items():
            answer = running.ask(method, path, headers, read=False)
            if needed is not None:
                assert answer.status == 401, (method, path, what)
                assert answer.headers["WWW-Authenticate"] == 'Bearer realm="muster"'
            else:
                assert answer.status not in {403, 500}, (method, path, what)
        for role, token in tokens.items():
            status = running.ask(method, path, bearer(token["secret"]), read=False).status
            refused = needed is not None and not role.may(Role(needed))
            assert (status == 403) == refused, (method, path, role, status)
            assert status not in {401, 500} or path == SESSION, (method, path, role, status)


def test_a_secret_is_nowhere_but_in_the_one_answer_that_gives_it(running: Running) -> None:
    token = running.token("canary", Role.ADMIN)["secret"]
    code = running.ask("POST", f"{SESSION}/code").document["code"]
    opened = running.ask("POST", SESSION, {}, body={"code": code})
    cookie, csrf = opened.headers["Set-Cookie"].partition(";")[0], opened.document["csrf"]
    local = local_bearer(running.service.url)["Authorization"].split()[1]
    secrets = {"token": token, "local": local, "code": code, "cookie": cookie.partition("=")[2], "csrf": csrf}

    for mistake in (f"/api/v1/fleet?token={token}", f"/api/v1/fleet?cluster={token}", f"/{token}", f"/healthz?{token}"):
        running.ask("GET", mistake, bearer(token))
    for method, path, headers, body in (
        ("DELETE", f"{TOKENS}/{token}", None, None),  # the secret where its id belongs
        ("POST", f"/api/v1/clusters/{token}/pause", None, {"reason": "x"}),
        ("POST", f"/api/v1/clusters/{token}/validate", None, None),
        ("POST", TOKENS, None, {"name": token, "role": "viewer"}),
        ("POST", TOKENS, None, {token: token}),
        ("POST", SESSION, {}, {"code": token}),
        ("DELETE", SESSION, {"Cookie": cookie}, None),
        ("DELETE", SESSION, {"Cookie": cookie, "X-Muster-CSRF": csrf[:-1]}, None),
        ("GET", AUDIT, {"Authorization": f"Basic {token}"}, None),
        ("GET", AUDIT, {"Authorization": token, "Cookie": f"x={token}", "User-Agent": token, "Referer": token}, None),
    ):
        running.ask(method, path, headers, body=body)
    running.ask("GET", "/api/v1/fleet", {"Cookie": cookie})

    told = "\n".join(
        [
            running.service.log,
            *(str(running.ask("GET", path).body) for path in ("/metrics", "/openapi.json", "/api/v1/fleet", TOKENS)),
            json.dumps(running.audited()),
            *everything(running.database_url),
        ]
    )
    assert digest(token).hex() in told, "what is looked at is what was written"
    assert [name for name, secret in secrets.items() if secret in told] == []


def everything(url: str) -> Iterator[str]:
    """All rows of all tables, bytes as hexadecimal and as text."""
    for table in rows(url, "SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public'"):
        for row in rows(url, f"SELECT t.*, t::text AS as_text FROM {table['name']} t"):
            yield str(row["as_text"])
            yield from (value.decode(errors="replace") for value in row.values() if isinstance(value, bytes))


def test_every_write_is_in_the_audit_log_those_that_were_refused_too(running: Running) -> None:
    viewer, operator = running.token("audit-viewer", Role.VIEWER), running.token("audit-operator", Role.OPERATOR)
    last = running.audited()[0]["id"]
    writes = [each for each in operations(running) if each[0] != "GET" and not each[1].endswith(("validate", SESSION))]
    assert len(writes) >= 6
    for method, path, _ in writes:
        assert running.ask(method, path, bearer(viewer["secret"])).status == 403
    cluster = f"/api/v1/clusters/{CLUSTER}"
    huge, pause = {"reason": "x" * 100_000}, {"reason": "for the audit log"}
    for path, body, status in (
        (f"{cluster}/resume", None, 409),
        (f"{cluster}/pause", {}, 422),
        (f"{cluster}/pause", huge, 413),
        (f"{cluster}/pause", pause, 200),
        (f"{cluster}/pause", pause, 409),
        (f"{cluster}/resume", None, 200),
    ):
        assert running.ask("POST", path, bearer(operator["secret"]), body=body).status == status
    entries = [entry for entry in running.audited() if entry["id"] > last][::-1]
    refused, done = entries[: len(writes)], entries[len(writes) :]
    assert {(entry["who"], entry["role"], entry["outcome"]) for entry in refused} == {
        ("audit-viewer", "viewer", "/problems/forbidden")
    }
    assert all(entry["source"] == "127.0.0.1" for entry in entries)
    acts = {(path, method.replace("PATCH", "PUT")) for method, path, _ in writes}  # two ways of one action
    assert len({entry["action"] for entry in refused}) == len(acts)
    assert [(entry["action"], entry["outcome"].removeprefix("/problems/")) for entry in done] == [
        ("cluster.resume", "not-paused"),
        ("cluster.pause", "bad-body"),
        ("cluster.pause", "too-large"),
        ("cluster.pause", "done"),
        ("cluster.pause", "already-paused"),
        ("cluster.resume", "done"),
    ]
    assert done[3]["after"]["reason"] == done[5]["before"]["reason"] == "for the audit log"


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:8645"])
def test_it_starts_on_no_other_address_without_tls_or_a_proxy_and_says_why(listen: str) -> None:
    ran = muster("run", "--listen", listen)
    assert ran.code != 0
    for remedy in ("tls_certificate", "behind_proxy"):
        assert remedy in ran.out + ran.err
