"""The OpenAPI document holds for the running service: no answer that it does not describe, and no defect.

schemathesis asks every operation with what the document allows and with what it forbids. Streams it can't end, so
those are read here.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema_rs
import pytest

from tests.support.runtime import local_bearer
from tests.support.service import Json, Service, running_service, simulated, until

EXAMPLES = 25
"""For each operation and phase; beside them come those that schemathesis computes, some forty an operation."""

CONFIG = """\
headers = { Authorization = "${MUSTER_BEARER}" }
continue-on-failure = true
request-timeout = 10
workers = 2

[generation]
deterministic = true
no-shrink = true
database = "none"

# No schema can say that a window begins before it ends, that a cursor is one of ours, or that `until` is not over.
[checks.positive_data_acceptance]
enabled = false

# A list with too many items is refused by its size before anybody counts them.
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429"]
"""

NO_STREAMS = "/events$|cluster}/validate$"
LEFT_OUT = {"GET /api/v1/events", "POST /api/v1/clusters/{cluster}/validate", "GET /openapi.json"}
"""The streams; and the document itself, which schemathesis leaves out."""
NEVER_WELL = {
    "POST /api/v1/session",
    "GET /",
    "PUT /api/v1/locations/{location}",
    "PATCH /api/v1/locations/{location}",
    "POST /api/v1/locations/{location}/validate",
    "PUT /api/v1/locations/{location}/assignment",
    "PATCH /api/v1/locations/{location}/assignment",
    "PUT /api/v1/telemetry",
    "POST /api/v1/telemetry/forget",
    "POST /api/v1/telemetry/export",
    "GET /api/v1/matrix/{cluster}/{location}",
    "POST /api/v1/locations/{location}/sync",
    "GET /api/v1/locations/{location}/inventory",
    "POST /api/v1/agents",
    "GET /api/v1/agents/{cluster}",
    "DELETE /api/v1/agents/{cluster}",
}
"""A code works once, and nobody gives schemathesis one; `/` is for browsers; a location never changes, and its
assignment takes names of clusters and the ETag of before; no cluster uses the location that there is; an
agent takes a cluster's name or its keys; a consent takes the digest of what was read, and an organisation."""


PYTHONS_OWN = "AST constructor recursion depth mismatch"
"""Python 3.11 says so now and then where two threads parse at once, as schemathesis' do; no fault of what it tests."""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with (
        simulated((4, "healthy"), (2, "refuse"), (1, "expired")) as fleet,
        running_service("--static", fleet.source) as service,
    ):
        until(lambda: service.fleet()["counts"]["Healthy"] == 4, 20, "the fleet is known")
        made = service.cli("locations", "create", "seen", "--provider", "gcs", "--bucket", "seen-by-all")
        assert made.code == 0, made.err
        yield service


@pytest.fixture(scope="module")
def described(service: Service) -> Json:
    return service.json("/openapi.json")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_every_operation_answers_as_described_whatever_is_sent(
    service: Service, described: Json, tmp_path: Path
) -> None:
    config, report = tmp_path / "schemathesis.toml", tmp_path / "report.ndjson"
    config.write_text(CONFIG)
    program = ["schemathesis.cli", "--config-file", str(config), "run", f"{service.url}/openapi.json"]
    options = [
        "--max-examples",
        str(EXAMPLES),
        "--workers",
        "1",
        "--exclude-path-regex",
        NO_STREAMS,
        "--warnings",
        "off",
    ]
    reported = ["--report", "ndjson", "--report-ndjson-path", str(report)]
    for _ in range(3):
        ran = subprocess.run(
            [sys.executable, "-m", *program, *options, *reported],
            cwd=tmp_path,
            env={**os.environ, "MUSTER_BEARER": local_bearer(service.url)["Authorization"]},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        if PYTHONS_OWN not in ran.stdout:
            break
    assert ran.returncode == 0, ran.stdout + ran.stderr
    statuses = _statuses(report)
    operations = {f"{method.upper()} {path}" for path, methods in described["paths"].items() for method in methods}
    assert statuses.keys() >= operations - LEFT_OUT
    refused = {each for each in operations - LEFT_OUT if not any(200 <= status < 400 for status in statuses[each])}
    assert refused == NEVER_WELL, "of each operation also what goes well was looked at"
    assert service.events("API defect") == []
    assert service.process.poll() is None


def _statuses(report: Path) -> dict[str, set[int]]:
    """Which answers each operation gave."""
    found: dict[str, set[int]] = defaultdict(set)
    for line in report.read_text().splitlines():
        recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
        for number, case in recorder.get("cases", {}).items():
            answer = recorder["interactions"].get(number, {}).get("response")
            if answer is not None:
                found[f"{case['value']['method']} {case['value']['path']}"].add(answer["status_code"])
    return found


# -- streams


def test_each_line_of_a_validation_is_as_described(service: Service, described: Json) -> None:
    content = described["paths"]["/api/v1/clusters/{cluster}/validate"]["post"]["responses"]["200"]["content"]
    line_of = _validator(described, content["application/x-ndjson"]["x-itemSchema"])
    for name in ("healthy-00001", "refuse-00001", "expired-00001"):
        status, headers, lines = _read(service, "POST", f"/api/v1/clusters/{name}/validate")
        assert (status, headers["Content-Type"]) == (200, "application/x-ndjson")
        events = [json.loads(line) for line in lines]
        assert (events[0]["event"], events[-1]["event"]) == ("asking", "done")
        for event in events:
            line_of.validate(event)


def test_each_event_is_as_described(service: Service, described: Json) -> None:
    operation = described["paths"]["/api/v1/events"]["get"]
    described_by = {
        each["properties"]["event"]["const"]: _validator(described, each["properties"]["data"]["contentSchema"])
        for each in operation["responses"]["200"]["content"]["text/event-stream"]["x-itemSchema"]["oneOf"]
    }
    seen: set[str] = set()
    with closing(http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=10)) as connection:
        connection.request("GET", "/api/v1/events?after=0", headers=local_bearer(service.url))
        response = connection.getresponse()
        assert response.headers["Content-Type"] == "text/event-stream"
        event = ""
        while not {"hello", "transition", "fleet"} <= seen:
            field, _, value = response.readline().decode().rstrip("\n").partition(": ")
            event = value if field == "event" else event
            if field == "data":
                described_by[event].validate(json.loads(value))
                seen.add(event)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/events?typ=hello", "400"),
        ("GET", "/api/v1/events?cluster=nobody", "404"),
        ("POST", "/api/v1/clusters/nobody/validate", "404"),
        ("POST", "/api/v1/clusters/healthy-00001/validate?x=y", "400"),
        ("HEAD", "/api/v1/events", "200"),
        ("PUT", "/api/v1/events", "405"),
    ],
)
def test_a_stream_that_does_not_begin_ends_with_a_described_problem(
    service: Service, described: Json, method: str, path: str, status: str
) -> None:
    got, headers, lines = _read(service, method, path)
    assert str(got) == status
    if status in {"400", "404"}:
        template = path.partition("?")[0].replace("nobody", "{cluster}").replace("healthy-00001", "{cluster}")
        content = described["paths"][template][method.lower()]["responses"][status]["content"]
        assert headers["Content-Type"] == "application/problem+json"
        _validator(described, content["application/problem+json"]["schema"]).validate(json.loads(b"".join(lines)))


def _validator(described: Json, schema: Json) -> jsonschema_rs.Draft202012Validator:
    """For what the document calls `schema`."""
    return jsonschema_rs.Draft202012Validator({**schema, "components": described["components"]})


def _read(service: Service, method: str, path: str) -> tuple[int, http.client.HTTPMessage, list[bytes]]:
    with closing(http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=20)) as connection:
        connection.request(method, path, headers=local_bearer(service.url))
        response = connection.getresponse()
        return response.status, response.headers, response.read().splitlines()
