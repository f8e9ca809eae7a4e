"""Telemetry over the real API, and by the command line."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from typer.testing import Result

from muster.access.audit import Audit
from muster.access.principal import Principal
from muster.api.server import ApiServer
from store.errors import StoreUnavailable
from store.pool import Statements
from tests.support.cli import muster
from tests.support.hub import LOCAL_TOKEN, TOKENS, MadeUpHub, made_up_access, no_metrics, running
from tests.support.runtime import bearer
from tests.support.telemetry import OFFER, Bench, change, facts

PATH = "/api/v1/telemetry"


class ListAudit(Audit):
    """The service's audit log, in a list; or away."""

    def __init__(self, access: Any, clock: Any) -> None:
        super().__init__(access.store, clock)
        self.written: list[tuple[str, str, Any, Any]] = []
        self.away = False

    async def write(
        self,
        by: Principal,
        action: str,
        subject: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
        outcome: str = "done",
        *,
        within: Statements | None = None,
        timeout_s: float | None = None,
    ) -> None:
        if self.away:
            raise StoreUnavailable("database 127.0.0.1/muster: connection refused. It is tried again.")
        if outcome == "done":
            self.written.append((action, subject, before, after))


class Served:
    """The API on a bench."""

    def __init__(self, directory: Path) -> None:
        hub = MadeUpHub()
        self.bench = Bench(directory / "telemetry", facts(), [change()])
        access = made_up_access(hub)
        self.audit = access.audit = ListAudit(access, hub.clock)
        self.server = ApiServer(hub, no_metrics, "127.0.0.1", 0, access=access, telemetry=self.bench.telemetry)
        self.session: aiohttp.ClientSession

    async def ask(
        self, method: str, path: str = "", *, status: int = 200, token: str = LOCAL_TOKEN, **rest: Any
    ) -> Any:
        async with self.session.request(method, PATH + path, headers=bearer(token), **rest) as response:
            assert response.status == status, await response.text()
            return await response.json(content_type=None)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    made = Served(tmp_path)
    await made.server.start()
    async with aiohttp.ClientSession(made.server.url) as made.session:
        yield made
    await made.server.stop()


def consent(*streams: str, **more: object) -> dict[str, object]:
    return {
        "streams": list(streams) or ["metrics", "logs", "inventory"],
        "commitments_sha256": OFFER.commitments.sha256,
        "dictionary_version": OFFER.dictionary.version,
        **more,
    }


async def test_off_is_said_with_its_reason_and_looking_makes_nothing(served: Served) -> None:
    state = await served.ask("GET", token=TOKENS_VIEWER)
    assert (state["state"], state["why"], state["epoch"], state["consent"]) == ("off", "nobody has consented", 0, None)
    assert state["place"].endswith("/telemetry/consent.json")
    assert {name: each["allowed"] for name, each in state["streams"].items()} == dict.fromkeys(
        ["metrics", "logs", "inventory"], False
    )
    assert not served.bench.desk.place.parent.exists()


TOKENS_VIEWER = next(token for role, token in TOKENS.items() if role == "viewer")


async def test_on_and_off_with_who_and_a_receipt_that_the_other_audit_log_has_too(served: Served) -> None:
    state = await served.ask("PUT", json=consent("metrics", plain_names=["metrics"], interface="console"))
    assert (state["state"], state["epoch"], state["interface"]) == ("on", 1, "console")
    assert state["consent"]["commitments_sha256"] == OFFER.commitments.sha256
    assert state["streams"]["metrics"] == {
        "consented": True,
        "allowed": True,
        "why": "",
        "plain_names": True,
        "free_text": False,
    }
    assert [action for action, *_ in served.audit.written] == ["telemetry.on", "telemetry.on.receipt"]
    assert served.audit.written[1][3] == {"receipt": state["receipt"]}
    off = await served.ask("DELETE")
    assert (off["state"], off["why"], off["epoch"], off["consent"]) == ("off", "it was switched off", 2, None)
    log = await served.ask("GET", "/audit")
    assert (log["intact"], log["head"], [e["action"] for e in log["entries"]]) == (True, off["receipt"], ["on", "off"])


async def test_the_activation_token_is_in_no_answer_no_log_and_no_file(served: Served) -> None:
    state = await served.ask("PUT", json=consent(activation_token="canary-token"))
    assert served.bench.link.tokens == ["canary-token"]
    assert "canary" not in json.dumps([state, served.audit.written, await served.ask("GET", "/audit")])
    key = json.loads(served.bench.desk.place.read_text())["record"]["pseudonym_key"]
    assert key not in json.dumps([state, served.audit.written, await served.ask("GET", "/audit")])
    assert not any(b"canary" in path.read_bytes() for path in served.bench.desk.place.parent.iterdir())


async def test_where_the_database_is_away_nothing_is_switched_on_and_off_works(served: Served) -> None:
    served.audit.away = True
    problem = await served.ask("PUT", json=consent(), status=503)
    assert problem["type"] == "/problems/store-unavailable"
    assert (await served.ask("GET"))["state"] == "off"
    served.audit.away = False
    await served.ask("PUT", json=consent())
    served.audit.away = True
    assert (await served.ask("DELETE"))["state"] == "off"


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (consent() | {"commitments_sha256": "0" * 64}, 409, "telemetry-terms-changed"),
        (consent() | {"dictionary_version": "0"}, 409, "telemetry-terms-changed"),
        (consent("metrics", free_text=["logs"]), 409, "telemetry-impossible"),
        (consent() | {"streams": []}, 422, "bad-body"),
        (consent("everything"), 422, "bad-body"),
        (consent(endpoint="https://elsewhere.example"), 422, "bad-body"),
        ({}, 422, "bad-body"),
    ],
)
async def test_a_consent_that_makes_no_sense_changes_nothing(
    served: Served, body: object, status: int, kind: str
) -> None:
    problem = await served.ask("PUT", json=body, status=status)
    assert problem["type"] == f"/problems/{kind}"
    assert (await served.ask("GET"))["epoch"] == 0
    assert served.audit.written == []


async def test_a_variable_forbids_it_with_its_name(served: Served) -> None:
    served.bench.environ["MUSTER_TELEMETRY"] = "off"
    problem = await served.ask("PUT", json=consent(), status=409)
    assert problem["detail"].startswith("MUSTER_TELEMETRY=off forbids")
    assert (await served.ask("GET"))["why"] == "MUSTER_TELEMETRY=off forbids it on this host"


async def test_deciding_takes_an_admin_and_looking_a_viewer(served: Served) -> None:
    for role, token in TOKENS.items():
        for method, path, needed in (
            ("PUT", "", "admin"),
            ("DELETE", "", "admin"),
            ("GET", "/audit", "admin"),
            ("POST", "/forget", "admin"),
            ("POST", "/export", "admin"),
            ("GET", "", "viewer"),
            ("GET", "/terms", "viewer"),
            ("GET", "/preview", "viewer"),
        ):
            if needed == "admin" and role != "admin":
                await served.ask(method, path, status=403, token=token, json=consent() if method == "PUT" else None)
            elif needed == "viewer":
                await served.ask(method, path, token=token)


async def test_the_preview_is_the_bytes_and_what_they_mean(served: Served) -> None:
    shown = await served.ask("GET", "/preview?stream=metrics")
    raw = await served.ask("GET", "/preview?stream=metrics&raw=true")
    assert (shown["placeholder"], shown["batch_id"], shown["raw"], raw["request"]) == (True, None, None, None)
    content = base64.b64decode(raw["raw"])
    assert hashlib.sha256(content).hexdigest() == raw["sha256"]
    assert ExportMetricsServiceRequest.FromString(content).resource_metrics
    assert "muster.fleet.clusters" in json.dumps(shown["request"])
    assert (shown["path"], shown["records"] > 0, 0 < shown["packed_bytes"] < shown["raw_bytes"]) == (
        "/v1/metrics",
        True,
        True,
    )
    await served.ask("PUT", json=consent())
    now = await served.ask("GET", "/preview?stream=metrics")
    assert not now["placeholder"]
    assert now["batch_id"] is not None
    assert (await served.ask("GET", "/preview?stream=metrics"))["sha256"] == now["sha256"]
    await served.ask("GET", "/preview?stream=nothing", status=400)


async def test_one_stream_less(served: Served) -> None:
    await served.ask("PUT", json=consent())
    state = await served.ask("DELETE", "?stream=logs,inventory")
    assert {name: each["allowed"] for name, each in state["streams"].items()} == {
        "metrics": True,
        "logs": False,
        "inventory": False,
    }


async def test_forget_then_off(served: Served) -> None:
    problem = await served.ask("POST", "/forget", status=409)
    assert problem["detail"] == "Nothing was ever sent from here."
    await served.ask("PUT", json=consent())
    assert (await served.ask("POST", "/forget"))["state"] == "off"
    assert served.bench.link.told[-4:] == ["forget", "silence", "silence", "ended"]


async def test_a_damaged_log_is_told(served: Served) -> None:
    await served.ask("PUT", json=consent())
    log = served.bench.desk.place.parent / "audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"by":"', b'"by":"not-'))
    checked = await served.ask("GET", "/audit")
    assert not checked["intact"]
    assert "edited" in checked["problem"]
    state = await served.ask("DELETE")
    assert (state["state"], state["receipt"]) == ("off", None)
    assert "damaged" in state["trouble"]


# -- the command line


def telemetry(url: str, *arguments: str, **variables: str) -> Result:
    return muster("telemetry", *arguments, server=url, **variables)


@pytest.fixture
def commanded(tmp_path: Path) -> Iterator[tuple[Served, str]]:
    made = Served(tmp_path)
    with running(made.server) as url:
        yield made, url


ON = ("on", "--stream", "metrics", "--commitments", OFFER.commitments.sha256)


def test_a_person_looks_consents_and_switches_off(commanded: tuple[Served, str], tmp_path: Path) -> None:
    made, url = commanded
    assert "Telemetry is off: nobody has consented." in telemetry(url, "status").stdout
    terms = telemetry(url, "terms").stdout
    assert OFFER.commitments.sha256 in terms
    assert "metric:uplink.cluster.health:health" in terms
    preview = telemetry(url, "preview", "--stream", "inventory").stdout
    assert "is forgotten already" in preview
    assert "uplink.cluster.info" in preview
    result = telemetry(url, *ON)
    assert result.exit_code == 0, result.output
    assert "Telemetry is on." in result.stdout
    assert "Receipt:" in result.stdout
    assert json.loads(telemetry(url, "status", "-o", "json").stdout)["interface"] == "cli"
    raw = telemetry(url, "preview", "--raw").stdout_bytes
    assert hashlib.sha256(raw).hexdigest() in telemetry(url, "preview").stdout
    file = tmp_path / "export.jsonl"
    assert telemetry(url, "export", str(file)).exit_code == 0
    assert file.read_bytes() == raw
    assert file.stat().st_mode & 0o777 == 0o600
    assert telemetry(url, "export", str(file)).exit_code == 2
    off = telemetry(url, "off")
    assert (off.exit_code, "it was switched off" in off.stdout) == (0, True)
    audit = telemetry(url, "audit", "--verify")
    assert (audit.exit_code, "3 lines, none changed" in audit.stdout) == (0, True)
    assert [e["action"] for e in json.loads(telemetry(url, "audit", "-o", "json").stdout)["entries"]] == [
        "on",
        "export",
        "off",
    ]
    log = made.bench.desk.place.parent / "audit.jsonl"
    log.write_bytes(log.read_bytes().partition(b"\n")[0] + b"\n")
    cut = telemetry(url, "audit", "--verify")
    assert cut.exit_code == 1
    assert "cut off" in cut.stderr


def test_without_a_terminal_nobody_is_asked(commanded: tuple[Served, str]) -> None:
    _, url = commanded
    result = telemetry(url, "on", "--stream", "metrics")
    assert result.exit_code == 2
    assert "--commitments" in result.stderr
    assert telemetry(url, "on").exit_code == 2
    wrong = telemetry(url, "on", "--stream", "logs", "--commitments", "0" * 64)
    assert (wrong.exit_code, "muster telemetry terms" in wrong.stderr) == (2, True)
    assert "Telemetry is off" in telemetry(url, "status").stdout


def test_the_activation_token_comes_from_a_file(commanded: tuple[Served, str], tmp_path: Path) -> None:
    made, url = commanded
    (tmp_path / "token").write_text("canary-token\n")
    result = telemetry(url, *ON, "--activation-token-file", str(tmp_path / "token"))
    assert (result.exit_code, made.bench.link.tokens) == (0, ["canary-token"])
    assert "canary" not in result.output
    assert telemetry(url, *ON, "--activation-token-file", str(tmp_path / "missing")).exit_code == 2


def test_a_file_that_others_could_read_is_off_and_says_so(commanded: tuple[Served, str]) -> None:
    made, url = commanded
    telemetry(url, *ON)
    made.bench.desk.place.chmod(0o644)
    text = telemetry(url, "status").stdout
    assert "Telemetry is off" in text
    assert "chmod 600" in text
