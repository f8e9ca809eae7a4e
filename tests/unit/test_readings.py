"""What an answer means: every recorded answer of a real kube-apiserver, and what no server should say but some do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.transcripts import Record, read_transcript
from validator.net.failure import ProbeFailure
from validator.net.http1 import HttpAnswer
from validator.probes import readings
from validator.probes.readings import HEALTH_PATHS, MAX_FAILING_CHECKS, NAMESPACE_PATH, Standing
from validator.reasons import Reason, Stage

KUBE = read_transcript("kube-apiserver-1.36.http")
RECORDED_AT = 1_795_230_669.0  # 2026-11-21 03:11:09 UTC
READY, DENIED, ABSENT = Standing.READY, Standing.DENIED, Standing.ABSENT


def answer(status: int, body: bytes = b"", headers: Mapping[bytes, bytes] | None = None) -> HttpAnswer:
    return HttpAnswer(status, dict(headers or {}), body, keep_alive=True)


def health(recorded: Record | HttpAnswer, path: str = "/readyz") -> Standing | ProbeFailure:
    given_answer = recorded.answer if isinstance(recorded, Record) else recorded
    try:
        return readings.read_health(path, given_answer, RECORDED_AT)
    except ProbeFailure as failure:
        return failure


def reason(recorded: Record | HttpAnswer, path: str = "/readyz") -> Standing | Reason:
    found = health(recorded, path)
    return found.reason if isinstance(found, ProbeFailure) else found


HEALTH = {
    "readyz, anonymous": READY,
    "healthz": READY,
    "version": READY,
    "bad bearer token (401)": DENIED,
    "token with a foreign audience used as a credential (401)": DENIED,
    "readyz beside it": READY,
    "etcd frozen: readyz again": READY,
    "etcd frozen: livez": Reason.NOT_READY,
    "etcd frozen: version": READY,
    "etcd thawed: readyz": READY,
}
"""Every recorded GET of a health path that was answered."""

NOT_HEALTH = {
    "root, anonymous (403 is reachable)": DENIED,
    "kube-system, anonymous (403)": DENIED,
    "JWKS, anonymous": DENIED,
    "unknown path": ABSENT,
    "absent custom resource group (Velero not installed)": ABSENT,
    "call it (503 while the server itself is ready)": Reason.SERVICE_UNAVAILABLE,
    "malformed JSON": Reason.UNEXPECTED_ANSWER,
    "TokenRequest under 10 minutes": Reason.UNEXPECTED_ANSWER,
    "kube-system namespace (cluster UID)": Reason.UNEXPECTED_ANSWER,
    "OIDC discovery": Reason.UNEXPECTED_ANSWER,
}
"""Answers of the same server to other questions, as if a health path had been answered so."""


class TestRecorded:
    @pytest.mark.parametrize("title", HEALTH)
    def test_a_health_path(self, title: str) -> None:
        record = KUBE[title]
        assert record.whole
        assert reason(record, record.target) is HEALTH[title]

    def test_no_recorded_health_answer_is_left_out(self) -> None:
        """But for those to `?verbose`, which the probe never sends: it shows the failing checks without."""
        asked = {title for title, record in KUBE.items() if record.target in HEALTH_PATHS and record.status}
        assert asked == set(HEALTH)

    @pytest.mark.parametrize("title", NOT_HEALTH)
    def test_any_other_path(self, title: str) -> None:
        assert reason(KUBE[title]) is NOT_HEALTH[title]

    def test_the_failing_checks_are_named(self) -> None:
        failure = health(KUBE["etcd frozen: livez"], "/livez")
        assert isinstance(failure, ProbeFailure)
        assert (failure.stage, failure.unanswered) == (Stage.HTTP, False)
        assert failure.evidence == {"failing_checks": "etcd"}
        assert failure.message == "500 to /livez; failing: etcd"

    def test_the_namespace_and_its_uid(self) -> None:
        recorded = KUBE["kube-system namespace (cluster UID)"].answer
        readings.read_namespace(recorded, RECORDED_AT)
        assert readings.namespace_uid(recorded) == "eae5ffd4-4b56-4afa-a588-932ea562b33e"
        assert json.loads(recorded.body)["metadata"]["uid"] == readings.namespace_uid(recorded)

    @pytest.mark.parametrize("title", ["unknown path", "absent custom resource group (Velero not installed)"])
    def test_a_namespace_that_is_absent_is_an_answer_of_storage_all_the_same(self, title: str) -> None:
        readings.read_namespace(KUBE[title].answer, RECORDED_AT)

    @pytest.mark.parametrize(
        ("title", "expected"),
        [
            ("etcd frozen: livez", Reason.READ_FAILED),
            ("call it (503 while the server itself is ready)", Reason.READ_FAILED),
            ("malformed JSON", Reason.UNEXPECTED_ANSWER),
        ],
    )
    def test_a_namespace_read_that_fails(self, title: str, expected: Reason) -> None:
        with pytest.raises(ProbeFailure) as caught:
            readings.read_namespace(KUBE[title].answer, RECORDED_AT)
        assert caught.value.reason is expected

    @pytest.mark.parametrize("title", ["version", "etcd frozen: version"])
    def test_the_version(self, title: str) -> None:
        assert readings.read_version(KUBE[title].answer) == "v1.36.2"

    def test_the_clock(self) -> None:
        recorded = KUBE["readyz, anonymous"].answer
        assert readings.skew_s(recorded, RECORDED_AT + 0.5) == 0.0
        assert readings.skew_s(recorded, RECORDED_AT - 3600.0) == 3600.5
        assert readings.skew_s(recorded, RECORDED_AT + 120.0) == -119.5

    def test_none_asks_for_a_pause(self) -> None:
        assert {readings.retry_after_s(record.answer, RECORDED_AT) for record in KUBE.values() if record.status} == {
            None
        }


class TestStatuses:
    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            (200, Reason.UNEXPECTED_ANSWER),  # no body
            (204, Reason.UNEXPECTED_ANSWER),
            (301, Reason.UNEXPECTED_REDIRECT),
            (308, Reason.UNEXPECTED_REDIRECT),
            (400, Reason.UNEXPECTED_ANSWER),
            (401, DENIED),
            (403, DENIED),
            (404, ABSENT),
            (429, Reason.THROTTLED),
            (500, Reason.SERVER_ERROR),
            (502, Reason.SERVER_ERROR),
            (503, Reason.SERVICE_UNAVAILABLE),
            (504, Reason.SERVER_ERROR),
            (599, Reason.SERVER_ERROR),
        ],
    )
    def test_each_has_its_reading(self, status: int, expected: Standing | Reason) -> None:
        assert reason(answer(status)) is expected

    @given(st.integers(100, 999), st.binary(max_size=300), st.sampled_from(HEALTH_PATHS))
    def test_whatever_comes_is_a_standing_or_a_failure_with_a_bounded_message(
        self, status: int, body: bytes, path: str
    ) -> None:
        found = health(answer(status, body, {b"content-type": body, b"location": body, b"retry-after": body}), path)
        if isinstance(found, ProbeFailure):
            assert found.message.isprintable()
            assert len(found.message) < 300
            assert found.retry_after_s is None or found.retry_after_s >= 0

    def test_a_portal_that_says_200_to_everything_is_not_ready(self) -> None:
        failure = health(answer(200, b"<html>Sign in", {b"content-type": b"text/html"}))
        assert isinstance(failure, ProbeFailure)
        assert failure.message == "200 to /readyz, but the body is not `ok`: text/html, 13 bytes"

    def test_a_redirect_names_the_host_and_nothing_that_may_be_secret(self) -> None:
        location = b"https://user:canary-1@login.example:8443/sso?token=canary-2#canary-3"
        failure = health(answer(302, b"", {b"location": location}))
        assert isinstance(failure, ProbeFailure)
        assert failure.message == "302 to /readyz, leading to login.example"

    @pytest.mark.parametrize("location", [b"", b"/sso", b"http://[::1", b"\xff\xfe", b"//\x1b[31mred"])
    def test_a_redirect_to_nonsense_is_a_redirect(self, location: bytes) -> None:
        failure = health(answer(302, b"", {b"location": location}))
        assert isinstance(failure, ProbeFailure)
        assert failure.reason is Reason.UNEXPECTED_REDIRECT
        assert failure.message.isprintable()

    def test_many_failing_checks_are_counted(self) -> None:
        names = [f"check-{number}" for number in range(MAX_FAILING_CHECKS + 5)]
        body = "\n".join(f"[-]{name} failed: reason withheld" for name in names).encode()
        failure = health(answer(500, body))
        assert isinstance(failure, ProbeFailure)
        assert failure.evidence["failing_checks"] == ", ".join(names[:MAX_FAILING_CHECKS]) + " and 5 more"

    def test_the_list_of_checks_counts_with_503_too(self) -> None:
        """Some front ends turn a failing `/readyz` into 503 and keep the body."""
        failure = health(answer(503, b"[+]ping ok\n[-]etcd failed: reason withheld\n", {b"retry-after": b"3"}))
        assert isinstance(failure, ProbeFailure)
        assert (failure.reason, failure.retry_after_s) == (Reason.SERVICE_UNAVAILABLE, 3.0)

    @pytest.mark.parametrize(
        "body",
        [b"", b"ok", b"[]", b"{}", b'{"gitVersion":7}', b'{"gitVersion":"v1\\n"}', b"[" * 100_000, b"\xff", b'"x"'],
    )
    def test_a_version_that_is_none(self, body: bytes) -> None:
        assert reason(answer(200, body), "/version") is Reason.UNEXPECTED_ANSWER


class TestNamespace:
    def test_a_uid_within_an_annotation_is_not_taken_for_the_cluster_s(self) -> None:
        planted = '{"uid":"00000000-0000-0000-0000-000000000000"}'
        namespace = {
            "kind": "Namespace",
            "metadata": {"annotations": {"a": planted}, "uid": "EAE5FFD4-4b56-4afa-a588-932ea562b33e"},
        }
        body = json.dumps(namespace).encode()
        assert readings.namespace_uid(answer(200, body)) == "eae5ffd4-4b56-4afa-a588-932ea562b33e"

    @pytest.mark.parametrize("body", [b"", b"{}", b'{"metadata":{"uid":""}}', b'{"metadata":{"uid":"short"}}', b"\xff"])
    def test_without_a_uid_there_is_none(self, body: bytes) -> None:
        assert readings.namespace_uid(answer(200, body)) is None

    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            (302, Reason.UNEXPECTED_REDIRECT),
            (429, Reason.THROTTLED),
            (500, Reason.READ_FAILED),
            (503, Reason.READ_FAILED),
        ],
    )
    def test_refusals(self, status: int, expected: Reason) -> None:
        with pytest.raises(ProbeFailure) as caught:
            readings.read_namespace(answer(status, b"", {b"retry-after": b"7"}), RECORDED_AT)
        assert caught.value.reason is expected
        assert NAMESPACE_PATH in caught.value.message
        assert caught.value.retry_after_s == (7.0 if status in (429, 503) else None)


class TestTimes:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (b"0", 0.0),
            (b" 20 ", 20.0),
            (b"999999999", 999_999_999.0),
            (b"9999999999999999999999", None),
            (b"-1", None),
            (b"1.5", None),
            (b"\xb2", None),  # a digit to `isdigit`, not to `float`
            (b"soon", None),
            (b"", None),
            (formatdate(RECORDED_AT + 30, usegmt=True).encode(), 30.0),
            (formatdate(RECORDED_AT - 30, usegmt=True).encode(), 0.0),
            (b"Mon, 99 Foo 2026 99:99:99 GMT", None),
            (b"Sat, 21 Nov 99999 03:11:09 GMT", None),
        ],
    )
    def test_retry_after_in_both_forms(self, value: bytes, expected: float | None) -> None:
        assert readings.retry_after_s(answer(429, b"", {b"retry-after": value}), RECORDED_AT) == expected

    def test_retry_after_is_absent(self) -> None:
        assert readings.retry_after_s(answer(429), RECORDED_AT) is None

    @given(st.one_of(st.binary(max_size=60), st.text("0123456789 :,+-GMTSatNov", max_size=40).map(str.encode)))
    def test_no_date_can_break_it(self, value: bytes) -> None:
        readings.skew_s(answer(200, b"", {b"date": value}), RECORDED_AT)
        readings.retry_after_s(answer(200, b"", {b"retry-after": value}), RECORDED_AT)

    @pytest.mark.parametrize("headers", [{}, {b"date": b""}, {b"date": b"yesterday"}])
    def test_without_a_readable_date_nothing_is_known_of_the_clock(self, headers: dict[bytes, bytes]) -> None:
        assert readings.skew_s(answer(200, b"", headers), RECORDED_AT) is None

    @pytest.mark.parametrize("text", ["Nov 20 03:11:09 2027 GMT", "Nov  2 03:11:09 2027 GMT"])
    def test_the_end_of_a_certificate(self, text: str) -> None:
        assert readings.certificate_end(text) in (1_826_680_269.0, 1_825_125_069.0)
