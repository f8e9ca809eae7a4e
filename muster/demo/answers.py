"""What a kube-apiserver 1.36 answers, byte for byte: status lines, headers and bodies as recorded from a real one.

Pure: no socket, and the time is an argument. One cluster's facts (UID, tokens) are an `ApiServer`.
"""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import NamedTuple

TEXT = b"text/plain; charset=utf-8"
JSON = b"application/json"

NAMESPACE_PATH = b"/api/v1/namespaces/kube-system"
HEALTH_PATHS = (b"/readyz", b"/livez", b"/healthz")

_FLOW_SCHEMA = b"db178516-af0b-44f7-a561-6cc7cf1ccd72"
_PRIORITY_LEVEL = b"b837deb4-1948-4106-93e8-37cbca67b51a"

_PHRASES = {
    200: b"OK",
    302: b"Found",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}

VERSION = b"""{
  "major": "1",
  "minor": "36",
  "emulationMajor": "1",
  "emulationMinor": "36",
  "minCompatibilityMajor": "1",
  "minCompatibilityMinor": "35",
  "gitVersion": "v1.36.2",
  "gitCommit": "8e16b12fda5b1dccc41a6de48b3e356cc7d5048b",
  "gitTreeState": "clean",
  "buildDate": "2026-08-21T00:00:00Z",
  "goVersion": "go1.26.6",
  "compiler": "gc",
  "platform": "linux/amd64"
}"""

_CHECKS = (
    "ping",
    "log",
    "etcd",
    "informer-sync",
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/priority-and-fairness-config-consumer",
    "poststarthook/priority-and-fairness-filter",
    "poststarthook/storage-object-count-tracker-hook",
    "poststarthook/start-apiextensions-informers",
    "poststarthook/start-apiextensions-controllers",
    "poststarthook/crd-informer-synced",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/bootstrap-controller",
    "poststarthook/start-kube-aggregator-informers",
    "poststarthook/apiservice-registration-controller",
    "autoregister-completion",
    "poststarthook/apiservice-openapiv3-controller",
    "shutdown",
)
"""A selection of the recorded list, with upstream's `etcd` (the recorded server, a fork, lists it in /livez only)."""

_NAMESPACE = (
    b'{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":"%b","resourceVersion":"513",'
    b'"creationTimestamp":"2026-11-21T03:09:35Z","labels":{"kubernetes.io/metadata.name":"kube-system"},'
    b'"managedFields":[{"manager":"kube-apiserver","operation":"Update","apiVersion":"v1",'
    b'"time":"2026-11-21T03:09:35Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},'
    b'"f:kubernetes.io/metadata.name":{}}}}}]},"spec":{"finalizers":["kubernetes"]},"status":{"phase":"Active"}}\n'
)

_CREDENTIALED = "system:serviceaccount:muster:muster-viewer"
_ANONYMOUS = "system:anonymous"


class Request(NamedTuple):
    """The little that an answer depends on."""

    method: bytes
    path: bytes
    """Without the query."""
    query: bytes
    token: bytes | None
    """Bearer token; None = anonymous."""
    certified: bool = False
    """Whether TLS has verified a client certificate of the cluster's CA."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """What tells one cluster's API server from another's."""

    uid: str
    """Of its kube-system namespace."""
    token: bytes = field(repr=False)
    """The bearer token that its clients have."""
    next_token: bytes = field(repr=False)
    """The one that follows at the next rotation; let in already, as two service-account tokens are."""
    resources: Mapping[bytes, Callable[[float], bytes]] = field(default_factory=dict, repr=False)
    """By path: the JSON that it has there at a moment (seconds since the epoch)."""

    def answer(self, request: Request, at_s: float) -> bytes:
        """The whole answer of a healthy server; `at_s` (seconds since the epoch) goes into `Date`."""
        if request.method != b"GET":
            return status_answer(405, "the server does not allow this method on the requested resource", at_s)
        if request.token not in (None, self.token, self.next_token):
            return unauthorized(at_s)
        path = request.path
        if path in HEALTH_PATHS:
            body = health_list(path, frozenset()) if b"verbose" in request.query else b"ok"
            return render(200, TEXT, body, at_s)
        if path == b"/version":
            return render(200, JSON, VERSION, at_s)
        if request.token is None and not request.certified:
            return forbidden(path, at_s, _ANONYMOUS)
        if path == NAMESPACE_PATH:
            return render(200, JSON, _NAMESPACE % self.uid.encode(), at_s)
        if (resource := self.resources.get(path)) is not None:
            return render(200, JSON, resource(at_s), at_s)
        return not_found(at_s)


def render(status: int, content_type: bytes, body: bytes, at_s: float, extra: bytes = b"") -> bytes:
    """Status line, a real server's headers (and `extra`, whole lines), and the body."""
    return head(status, content_type, at_s, b"%bContent-Length: %d\r\n" % (extra, len(body))) + body


def head(status: int, content_type: bytes, at_s: float, extra: bytes = b"") -> bytes:
    """The same without a body; `extra` says how the body's end is known."""
    return (
        b"HTTP/1.1 %d %b\r\nAudit-Id: %b\r\nCache-Control: no-cache, private\r\nContent-Type: %b\r\n"
        b"%bDate: %b\r\n%b\r\n"
        % (
            status,
            _PHRASES[status],
            str(uuid.uuid4()).encode(),
            content_type,
            _classified(status, content_type),
            _date(int(at_s)),
            extra,
        )
    )


@functools.cache
def _classified(status: int, content_type: bytes) -> bytes:
    """A 401 is refused before priority and fairness classify it; `nosniff` goes with text and with 403."""
    if status == 401:
        return b""
    nosniff = b"X-Content-Type-Options: nosniff\r\n" if content_type == TEXT or status == 403 else b""
    return b"%bX-Kubernetes-Pf-Flowschema-Uid: %b\r\nX-Kubernetes-Pf-Prioritylevel-Uid: %b\r\n" % (
        nosniff,
        _FLOW_SCHEMA,
        _PRIORITY_LEVEL,
    )


@functools.lru_cache(maxsize=4)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


def health_list(path: bytes, failing: frozenset[str]) -> bytes:
    """The verbose body of a health path, which is also the body of its 500."""
    lines = [f"[-]{name} failed: reason withheld" if name in failing else f"[+]{name} ok" for name in _CHECKS]
    verdict = "failed" if failing else "passed"
    return "\n".join([*lines, f"{path.decode().strip('/')} check {verdict}\n"]).encode()


def unhealthy(path: bytes, failing: frozenset[str], at_s: float) -> bytes:
    """500 with the list of checks: the recorded answer of `/livez` with a frozen etcd."""
    return render(500, TEXT, health_list(path, failing), at_s)


def not_found(at_s: float) -> bytes:
    """The 404 of an unknown path."""
    return render(404, TEXT, b"404 page not found\n", at_s)


def unauthorized(at_s: float) -> bytes:
    """The 401: no details, whatever the path."""
    return status_answer(401, "Unauthorized", at_s)


def forbidden(path: bytes, at_s: float, user: str = _CREDENTIALED) -> bytes:
    """The 403 of a namespace read or of any other path."""
    if path == NAMESPACE_PATH:
        what = 'cannot get resource "namespaces" in API group "" in the namespace "kube-system"'
        message = f'namespaces "kube-system" is forbidden: User "{user}" {what}'
        return status_answer(403, message, at_s, {"name": "kube-system", "kind": "namespaces"})
    message = f'forbidden: User "{user}" cannot get path "{path.decode("latin-1")}"'
    return status_answer(403, message, at_s, {})


_STATUS_REASONS = {401: "Unauthorized", 403: "Forbidden", 405: "MethodNotAllowed", 500: "InternalError"}


def status_answer(status: int, message: str, at_s: float, details: dict[str, str] | None = None) -> bytes:
    """A `Status` object, as the API machinery words every refusal."""
    body: dict[str, object] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": _STATUS_REASONS[status],
    }
    if details is not None:
        body["details"] = details
    body["code"] = status
    return render(status, JSON, json.dumps(body, separators=(",", ":")).encode() + b"\n", at_s)
