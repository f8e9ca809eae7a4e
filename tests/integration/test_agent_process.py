"""`muster agent` as a process of its own: started, killed, frozen out, ended; and how much memory it takes."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
import trustme

from tests.support import pretended_azure
from tests.support.clouds import bucket
from tests.support.hub_double import CLUSTER, HubDouble
from tests.support.pretended_azure import Entra, PretendedServer, healthy
from tests.support.service import dying_with_us, environment
from validator.locations import Provider

FOREIGN = replace(bucket(Provider.S3), endpoint="https://minio.example:9000")
"""Answered with a fact, and without any traffic."""

MEMORY_MB = 140


@pytest.fixture
async def hub(cloud_ca: trustme.CA) -> AsyncIterator[HubDouble]:
    async with HubDouble(cloud_ca).running() as double:
        yield double


@asynccontextmanager
async def child(*arguments: str, log: Path, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m` with these arguments; ended with the block."""
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            *dying_with_us(sys.executable, "-m", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env=environment(environ),
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
def variables(hub: HubDouble, tmp_path: Path) -> dict[str, str]:
    """What the chart sets."""
    (tmp_path / "token").write_text("hub-token-canary")
    (tmp_path / "ca.pem").write_bytes(hub.ca.cert_pem.bytes())
    return {
        "MUSTER_AGENT_HUB": hub.url,
        "MUSTER_AGENT_CLUSTER": str(CLUSTER),
        "MUSTER_AGENT_TOKEN_FILE": str(tmp_path / "token"),
        "MUSTER_AGENT_CA_FILE": str(tmp_path / "ca.pem"),
        "MUSTER_AGENT_HEALTH_LISTEN": "127.0.0.1:0",
    }


def events(log: Path, event: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


async def readiness(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


async def test_an_agent_lives_is_killed_begins_anew_and_ends_in_order(
    hub: HubDouble, variables: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "agent.log"
    hub.assign(FOREIGN)
    async with child("muster", "agent", log=log, **variables) as agent:
        await hub.until(lambda: hub.reports, 20)
        request = hub.ask(FOREIGN.id)
        await hub.until(lambda: hub.verdicts)
        (port,) = [int(str(line["port"])) for line in events(log, "listening")]
        assert (await readiness(port)).startswith(b"HTTP/1.1 200 ")
        assert {verdict["reason"] for verdict in hub.verdicts} == {"EndpointRefused"}
        await hub.until(lambda: request in {verdict["request"] for verdict in hub.verdicts})
        agent.kill()
        await agent.wait()
    before = hub.reports[-1]["boot"]
    async with child("muster", "agent", log=log, **variables) as agent:
        await hub.until(lambda: hub.reports[-1]["boot"] != before, 20)
        assert (hub.reports[-1]["sequence"], hub.reports[-1]["dropped"]) == (1, 0)
        hub.fail("report", "503", 1000)  # so that something is left to be told at the end
        answered = hub.ask(FOREIGN.id)
        await asyncio.sleep(0.8)
        assert (await readiness(int(str(events(log, "listening")[-1]["port"])))).startswith(b"HTTP/1.1 503 ")
        hub.mend()
        started = time.monotonic()
        agent.send_signal(signal.SIGTERM)
        assert await agent.wait() == 0
        assert time.monotonic() - started < 5
    assert answered in {verdict["request"] for verdict in hub.verdicts}
    assert "hub-token-canary" not in log.read_text()
    assert set(hub.tokens) == {"hub-token-canary"}


async def test_options_that_make_no_sense_end_with_2_and_a_ca_that_is_none_with_1(
    hub: HubDouble, variables: dict[str, str], tmp_path: Path
) -> None:
    async with (
        child("muster", "agent", "--hub", "http://hub.example", log=tmp_path / "a", **variables) as senseless,
        child("muster", "agent", "--storage-ca-file", "/nowhere.pem", log=tmp_path / "b", **variables) as without_ca,
    ):
        assert (await senseless.wait(), await without_ca.wait()) == (2, 1)
    assert "--hub: give https://" in (tmp_path / "a").read_text()
    assert "/nowhere.pem" in (tmp_path / "b").read_text()


async def test_its_memory_with_one_sdk_and_its_end_where_the_hub_hangs(
    hub: HubDouble, variables: dict[str, str], cloud_ca: trustme.CA, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "assertion").write_text(pretended_azure.assertion())
    identity = {
        "AZURE_CLIENT_ID": pretended_azure.CLIENT,
        "AZURE_TENANT_ID": pretended_azure.TENANT,
        "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "assertion"),
    }
    where = [replace(pretended_azure.location(f"c-{number}"), id=uuid4()) for number in range(50)]
    async with (
        PretendedServer(cloud_ca, Entra().answer).running() as entra,
        PretendedServer(cloud_ca, healthy).running() as storage,
    ):
        options = {
            "hub": hub.url,
            "cluster": str(CLUSTER),
            "token_file": variables["MUSTER_AGENT_TOKEN_FILE"],
            "ca_file": variables["MUSTER_AGENT_CA_FILE"],
            "authority": entra.url,
            "blob_url": f"{storage.url}/{{account}}",
        }
        hub.assign(*where)
        log = tmp_path / "agent.log"
        async with child("tests.support.agent_child", json.dumps(options), log=log, **identity) as agent:
            await hub.until(lambda: hub.reports, 20)
            for each in where:
                hub.ask(each.id)
            await hub.until(lambda: not hub.document["requests"], 20)
            (process,) = [each for each in psutil.process_iter() if each.pid == agent.pid]
            used_mb = process.memory_info().rss / 1e6
            hub.fail("report", "hang", 1000)
            hub.ask(where[0].id)
            await asyncio.sleep(0.8)
            started = time.monotonic()
            agent.send_signal(signal.SIGTERM)
            assert await agent.wait() == 0
            assert time.monotonic() - started < 5
    assert events(log, "the hub was not told everything")
    assert {verdict["outcome"] for verdict in hub.verdicts} == {"pass"}
    with capsys.disabled():
        print(f"\nan agent with one SDK and {len(where)} locations: {used_mb:.0f} MB")  # noqa: T201 - the figure itself
    assert used_mb <= MEMORY_MB
