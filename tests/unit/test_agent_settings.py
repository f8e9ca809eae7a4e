"""Options of `muster agent`, what it imports, and how it answers the kubelet."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from muster.agent_health import Health
from muster.agent_settings import AgentSettings, AgentSettingsError, settings_from
from tests.support.hub_double import CLUSTER
from validator.locations import Environment


def settings(environ: dict[str, str] | None = None, **changes: Any) -> AgentSettings:
    usual: dict[str, Any] = {
        "hub": "https://hub.example:8647/",
        "cluster": str(CLUSTER),
        "token_file": Path("/token"),
        "ca_file": None,
        "storage_ca_file": None,
        "allow_endpoint": (),
        "azure_environment": (),
        "buffer": 5000,
        "health_listen": "",
        "log_level": "info",
        "log_format": "json",
        "environ": environ or {},
    }
    return settings_from(**(usual | changes))


def test_what_makes_sense_is_taken() -> None:
    found = settings(allow_endpoint=["https://minio.example:9000/"], health_listen=":8646")
    assert (found.hub, found.cluster_id) == ("https://hub.example:8647", CLUSTER)
    assert found.allowed_endpoints == {"https://minio.example:9000"}
    assert found.health_listen == (None, 8646)
    assert settings(health_listen="[::1]:80").health_listen == ("::1", 80)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hub": "http://hub.example"}, "--hub: give https://"),
        ({"hub": "hub.example:8647"}, "--hub"),
        ({"hub": "https://"}, "--hub"),
        ({"hub": "https://hub.example?token=x"}, "--hub"),
        ({"hub": "https://me:secretcanary@hub.example"}, "without a user or password"),
        ({"hub": "https://[::1"}, "--hub"),
        ({"cluster": "prod"}, "--cluster: 'prod' is no UUID"),
        ({"allow_endpoint": ["http://minio.example"]}, "--allow-endpoint"),
        ({"azure_environment": ["AzureMoonCloud"]}, "--azure-environment"),
        ({"buffer": 0}, "--buffer"),
        ({"buffer": 10**9}, "--buffer"),
        ({"health_listen": "8646"}, "--health-listen"),
        ({"log_level": "loud"}, "--log-level"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_option(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(AgentSettingsError) as refused:
        settings(**changes)
    (problem,) = refused.value.problems
    assert says in problem
    assert "secretcanary" not in problem


def test_the_clouds_of_azure_are_those_where_the_pods_identity_is_at_home() -> None:
    assert settings().azure == (Environment.PUBLIC,)
    at_home = settings({"AZURE_AUTHORITY_HOST": "https://login.chinacloudapi.cn/"})
    assert at_home.azure == (Environment.CHINA,)
    assert settings({"AZURE_AUTHORITY_HOST": "https://evil.example/"}).azure == (Environment.PUBLIC,)
    both = settings(azure_environment=["AzurePublicCloud", "azure-china"])
    assert set(both.azure) == set(Environment)


def test_an_agent_imports_no_database_no_service_settings_and_no_sdk() -> None:
    code = (
        "import sys, muster.cli.app, muster.cli.agent, muster.agent, muster.logs\n"
        "heavy = {'asyncpg', 'jinja2', 'pydantic', 'pydantic_settings', 'yaml', 'opentelemetry', 'prometheus_client',\n"
        "  'azure', 'botocore', 'aiobotocore', 'gcloud', 'google', 'kubernetes', 'store', 'collector', 'dashboards'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=20).strip() == "[]"


async def answer(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


async def test_the_kubelet_is_told_whether_it_lives_and_whether_the_hub_takes_it() -> None:
    state = [False]
    health = Health(lambda: (state[0], "report: the hub answers 403"))
    port = await health.start("127.0.0.1", 0)
    try:
        assert (await answer(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        waiting = await answer(port, b"GET /readyz?verbose HTTP/1.1\r\n\r\n")
        assert waiting.startswith(b"HTTP/1.1 503 ")
        assert waiting.endswith(b"\r\n\r\nreport: the hub answers 403\n")
        state[0] = True
        assert (await answer(port, b"GET /readyz HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert (await answer(port, b"HEAD /healthz HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n")
        assert (await answer(port, b"POST /healthz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        assert await answer(port, b"\x16\x03\x01" + b"x" * 5000) == b""
    finally:
        health.close()
