"""Reading a cluster's API over TLS: pages, refusals, and servers that mean harm."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.api_server import TOKEN, ApiServer, api_server, forbidden, status
from tests.support.transcripts import read_transcript
from validator.clock import FakeClock
from validator.cluster_api.reader import MAX_BYTES, MAX_CALLS, ClusterReader, Refused, segments
from validator.credentials import Credential
from validator.net.dialer import Dialer, StageDeadlines
from validator.net.failure import ProbeFailure
from validator.net.resolver import CaresResolver
from validator.net.tls import TlsContexts
from validator.reasons import Reason

PODS = "/api/v1/namespaces/velero/pods"


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with api_server() as double:
        yield double


@pytest.fixture
async def resolver() -> AsyncIterator[CaresResolver]:
    one = CaresResolver()
    yield one
    await one.close()


def reader(server: ApiServer, resolver: CaresResolver, timeout_s: float = 10.0, token: str = TOKEN) -> ClusterReader:
    dialer = Dialer(resolver, TlsContexts(), StageDeadlines())
    return ClusterReader(server.endpoint, Credential(token), dialer=dialer, clock=FakeClock(), timeout_s=timeout_s)


def pods(count: int, padding: int = 0) -> list[dict[str, Any]]:
    return [{"metadata": {"name": f"pod-{number}"}, "padding": "x" * padding} for number in range(count)]


async def test_one_connection_serves_all_calls_and_each_is_told(server: ApiServer, resolver: CaresResolver) -> None:
    server.put("/api/v1/namespaces/velero", {"kind": "Namespace", "metadata": {"name": "velero"}})
    look = reader(server, resolver)
    for _ in range(3):
        assert (await look.get("/api/v1/namespaces/velero", "Namespace"))["metadata"]["name"] == "velero"
    look.close()
    assert server.connections == 1
    assert [(call.path, call.status) for call in look.calls] == [("/api/v1/namespaces/velero", 200)] * 3


async def test_a_list_is_read_page_after_page(server: ApiServer, resolver: CaresResolver) -> None:
    server.list(PODS, "PodList", pods(60))
    look = reader(server, resolver)
    listed = await look.items(PODS, "PodList", 100, [("fieldSelector", "")])
    look.close()
    assert len(listed.items) == 60
    assert listed.whole
    assert len(look.calls) == 3
    assert "continue=25" in server.asked[1]


async def test_more_than_wanted_is_cut_and_said(server: ApiServer, resolver: CaresResolver) -> None:
    server.list(PODS, "PodList", pods(60))
    look = reader(server, resolver)
    listed = await look.items(PODS, "PodList", 30)
    look.close()
    assert len(listed.items) == 30
    assert not listed.whole


async def test_a_page_that_is_too_large_is_asked_for_in_pieces(server: ApiServer, resolver: CaresResolver) -> None:
    server.list(PODS, "PodList", pods(30, padding=100_000))
    look = reader(server, resolver)
    listed = await look.items(PODS, "PodList", 100)
    look.close()
    assert len(listed.items) == 30
    assert listed.whole


async def test_an_endless_list_ends(server: ApiServer, resolver: CaresResolver) -> None:
    body = json.dumps({"kind": "PodList", "metadata": {"continue": "again"}, "items": [{}]}).encode()
    server.put(PODS, lambda _: (200, body))
    look = reader(server, resolver)
    with pytest.raises(ProbeFailure, match="do not end"):
        await look.items(PODS, "PodList", 10_000)
    look.close()
    assert len(look.calls) == MAX_CALLS


async def test_all_answers_together_are_bounded(server: ApiServer, resolver: CaresResolver) -> None:
    big = {"kind": "PodList", "metadata": {"continue": "again"}, "items": [{"x": "y" * 900_000}]}
    server.put(PODS, lambda _: (200, json.dumps(big).encode()))
    look = reader(server, resolver)
    with pytest.raises(ProbeFailure, match="do not end"):
        await look.items(PODS, "PodList", 10_000)
    look.close()
    assert len(look.calls) <= MAX_BYTES // 900_000 + 1


async def test_a_list_that_expires_in_the_middle_is_kept_as_far_as_it_was_read(
    server: ApiServer, resolver: CaresResolver
) -> None:
    first = {"kind": "PodList", "metadata": {"continue": "2"}, "items": pods(3)}
    gone = status(410, "Expired", "The provided continue parameter is too old")
    server.put(PODS, lambda query: gone if "continue" in query else (200, json.dumps(first).encode()))
    look = reader(server, resolver)
    listed = await look.items(PODS, "PodList", 100)
    look.close()
    assert (len(listed.items), listed.whole) == (3, False)


async def test_a_refusal_says_whom_the_server_takes_us_for(server: ApiServer, resolver: CaresResolver) -> None:
    server.put("/api/v1/nodes", forbidden("nodes"))
    look = reader(server, resolver)
    with pytest.raises(Refused) as refused:
        await look.items("/api/v1/nodes", "NodeList", 1)
    look.close()
    assert refused.value.status == 403
    assert refused.value.user == "oidc:jane@acme.example"
    assert refused.value.call == "GET /api/v1/nodes?limit=1"


def test_the_recorded_403_of_a_real_server_names_its_user() -> None:
    record = read_transcript("kube-apiserver-1.36.http")["kube-system, anonymous (403)"]
    look = ClusterReader.__new__(ClusterReader)
    with pytest.raises(Refused) as refused:
        look._judged("/api/v1/namespaces/kube-system", record.answer)
    assert refused.value.user == "system:anonymous"


async def test_a_refused_credential_is_no_object(server: ApiServer, resolver: CaresResolver) -> None:
    look = reader(server, resolver, token="another-token-0123456789")
    with pytest.raises(ProbeFailure) as failure:
        await look.get("/api/v1/namespaces/velero", "Namespace")
    look.close()
    assert failure.value.reason is Reason.CREDENTIAL_REJECTED
    assert "another-token" not in str(failure.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'{"kind": "Secret"}',
        b'{"kind": ["PodList"]}',
        b'{"kind": "\\u001b[31mPodList"}',
        b"[" * 200_000,
        b'{"kind": "PodList", "items": {"a": 1}}',
        b"\xff\xfe",
    ],
)
async def test_what_is_no_list_of_pods_is_refused_in_printable_words(
    server: ApiServer, resolver: CaresResolver, body: bytes
) -> None:
    server.put(PODS, lambda _: (200, body))
    look = reader(server, resolver)
    with pytest.raises(ProbeFailure) as failure:
        await look.items(PODS, "PodList", 10)
    look.close()
    assert failure.value.reason is Reason.UNEXPECTED_ANSWER
    assert failure.value.message.isprintable()
    assert len(failure.value.message) < 400


async def test_items_that_are_no_objects_are_left_out(server: ApiServer, resolver: CaresResolver) -> None:
    body = json.dumps({"kind": "PodList", "metadata": [], "items": [1, None, "x", {"a": 1}]}).encode()
    server.put(PODS, lambda _: (200, body))
    look = reader(server, resolver)
    assert (await look.items(PODS, "PodList", 10)).items == ({"a": 1},)
    look.close()


async def test_a_server_that_hangs_costs_the_deadline_and_no_more(server: ApiServer, resolver: CaresResolver) -> None:
    server.put(PODS, lambda _: None)
    look = reader(server, resolver, timeout_s=0.4)
    started = time.monotonic()
    with pytest.raises(ProbeFailure) as failure:
        await look.items(PODS, "PodList", 10)
    with pytest.raises(ProbeFailure):
        await look.items(PODS, "PodList", 10)
    look.close()
    assert failure.value.reason is Reason.ANSWER_TIMEOUT
    assert time.monotonic() - started < 1.5
    assert look.calls[0].status == 0


def test_names_can_not_lead_out_of_their_path() -> None:
    assert segments("api", "../secrets?x#y") == "/api/..%2Fsecrets%3Fx%23y"
