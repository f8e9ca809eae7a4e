"""The simulated API server's answers, against lengths and headers recorded from a real kube-apiserver 1.36."""

from __future__ import annotations

import json

import pytest

from muster.demo.answers import NAMESPACE_PATH, ApiServer, Request, forbidden, health_list
from muster.demo.connection import request_from

UID = "eae5ffd4-4b56-4afa-a588-932ea562b33e"
SERVER = ApiServer(UID, b"now", b"next")
AT_S = 1_795_230_669.4  # 2026-11-21T03:11:09Z


def split(answer: bytes) -> tuple[bytes, list[bytes], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    return status, headers, body


def get(path: bytes, token: bytes | None = b"now", query: bytes = b"") -> tuple[bytes, list[bytes], bytes]:
    return split(SERVER.answer(Request(b"GET", path, query, token), AT_S))


@pytest.mark.parametrize(
    ("path", "token", "status", "length"),
    [
        (b"/readyz", None, b"200 OK", 2),
        (b"/healthz", b"now", b"200 OK", 2),
        (b"/version", b"now", b"200 OK", 379),
        (b"/", None, b"403 Forbidden", 185),
        (b"/openid/v1/jwks", None, b"403 Forbidden", 199),
        (b"/readyz", b"not-a-token", b"401 Unauthorized", 129),
        (NAMESPACE_PATH, b"next", b"200 OK", 528),
        (NAMESPACE_PATH, None, b"403 Forbidden", 319),
        (b"/nope", b"now", b"404 Not Found", 19),
    ],
)
def test_an_answer_is_as_long_as_the_recorded_one(path: bytes, token: bytes | None, status: bytes, length: int) -> None:
    line, headers, body = get(path, token)
    assert line == b"HTTP/1.1 " + status
    assert len(body) == length
    assert headers[-1] == b"Content-Length: %d" % length


def test_the_headers_are_the_recorded_ones_in_their_order() -> None:
    _, headers, _ = get(b"/readyz", None)
    assert [header.split(b":")[0] for header in headers] == [
        b"Audit-Id",
        b"Cache-Control",
        b"Content-Type",
        b"X-Content-Type-Options",
        b"X-Kubernetes-Pf-Flowschema-Uid",
        b"X-Kubernetes-Pf-Prioritylevel-Uid",
        b"Date",
        b"Content-Length",
    ]
    assert b"Date: Sat, 21 Nov 2026 03:11:09 GMT" in headers


def test_a_401_was_refused_before_priority_and_fairness_saw_it() -> None:
    _, headers, _ = get(b"/readyz", b"not-a-token")
    assert not [header for header in headers if header.startswith((b"X-Kubernetes", b"X-Content"))]


def test_every_answer_has_an_audit_id_of_its_own() -> None:
    assert get(b"/readyz")[1][0] != get(b"/readyz")[1][0]


def test_the_namespace_carries_the_clusters_uid() -> None:
    _, _, body = get(NAMESPACE_PATH)
    assert json.loads(body)["metadata"]["uid"] == UID


def test_a_token_that_may_not_read_the_namespace_is_told_so_by_name() -> None:
    message = json.loads(split(forbidden(NAMESPACE_PATH, AT_S))[2])["message"]
    assert message.startswith('namespaces "kube-system" is forbidden: User "system:serviceaccount:')


def test_a_failing_check_is_listed_with_its_reason_withheld() -> None:
    body = health_list(b"/livez", frozenset({"etcd"})).decode()
    assert "\n[-]etcd failed: reason withheld\n" in body
    assert body.endswith("\nlivez check failed\n")
    assert get(b"/readyz", query=b"verbose")[2].endswith(b"\nreadyz check passed\n")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET /readyz?verbose HTTP/1.1\r\nHost: x", Request(b"GET", b"/readyz", b"verbose", None)),
        (b"GET / HTTP/1.1\r\nauthorization: bearer abc", Request(b"GET", b"/", b"", b"abc")),
        (b"GET / HTTP/1.1\r\nAuthorization: Basic abc", Request(b"GET", b"/", b"", None)),
        (b"\x16\x03\x01", Request(b"\x16\x03\x01", b"", b"", None)),
        (b"", Request(b"", b"", b"", None)),
    ],
)
def test_a_request_is_read_from_its_head(head: bytes, expected: Request) -> None:
    assert request_from(head) == expected


def test_what_is_no_get_is_refused() -> None:
    assert split(SERVER.answer(request_from(b"\x16\x03\x01"), AT_S))[0] == b"HTTP/1.1 405 Method Not Allowed"
