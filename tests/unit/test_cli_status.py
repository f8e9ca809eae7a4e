"""`muster status` against the real API on a hub with made-up states: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest
import yaml

from tests.support.cli import MUSTER, break_one, made_up, muster
from tests.support.hub import MadeUpHub, served
from validator.discovery.source import SourceProblem
from validator.model import Lifecycle
from validator.reasons import Reason


@pytest.fixture
async def hub() -> MadeUpHub:
    return made_up()


@pytest.fixture
def url(hub: MadeUpHub) -> Iterator[str]:
    with served(hub) as url:
        yield url


def test_status_of_a_healthy_fleet_ends_with_0(hub: MadeUpHub, url: str) -> None:
    hub.put("slow", hub.answer(Reason.THROTTLED))  # Degraded works
    hub.put("asleep", lifecycle=Lifecycle.HIBERNATED)  # Suspended is off on purpose
    result = muster("status", server=url)
    assert result.exit_code == 0
    assert "3 clusters" in result.stdout
    assert "✔ 1 healthy" in result.stdout
    assert "prod-eu-1" not in result.stdout
    assert "prod-eu-1" in muster("status", "--all", server=url).stdout


@pytest.mark.parametrize("reason", [Reason.CONNECT_TIMEOUT, Reason.NOT_READY, None])
def test_status_of_a_broken_fleet_ends_with_1(hub: MadeUpHub, url: str, reason: Reason | None) -> None:
    hub.put("bad", *([hub.answer(reason)] if reason else []))  # without an answer it is Unknown
    result = muster("status", server=url)
    assert result.exit_code == 1
    assert "bad" in result.stdout


def test_a_source_that_cannot_be_read_is_not_healthy(hub: MadeUpHub, url: str) -> None:
    hub.inventory.made_up_problems = [("kubeconfig", SourceProblem("/k", "is cut off", "Restore it."))]
    result = muster("status", server=url)
    assert result.exit_code == 1
    assert "Source kubeconfig: /k: is cut off. Restore it." in result.stdout


def test_status_for_programs_has_the_fleet_and_what_needs_attention(hub: MadeUpHub, url: str) -> None:
    break_one(hub)
    from_json = json.loads(muster("status", "-o", "json", server=url).stdout)
    assert from_json["counts"]["Unreachable"] == 1
    assert [cluster["name"] for cluster in from_json["clusters"]] == ["prod-eu-2"]
    assert (
        yaml.safe_load(muster("status", "-o", "yaml", "--all", server=url).stdout)["clusters"][1]["name"] == "prod-eu-1"
    )
    wide = muster("status", "-o", "wide", server=url).stdout
    assert "team=storage" in wide
    assert "https://127.64.0.1:6443" in wide


def test_a_pipe_gets_whole_lines_without_colours(hub: MadeUpHub, url: str) -> None:
    hub.put("x" * 300, hub.answer(Reason.NOT_READY, message="m" * 400))
    without_width = {name: value for name, value in os.environ.items() if name != "COLUMNS"}  # pytest-xdist sets it
    output = subprocess.run(
        [*MUSTER, "status", "--server", url],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
        env=without_width,
    ).stdout
    assert "\x1b" not in output
    assert "m" * 400 in output
    assert "x" * 300 in output


def test_a_terminal_that_knows_only_ascii_is_no_reason_to_fail(hub: MadeUpHub, url: str) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "MUSTER_SERVER": url}
    done = subprocess.run([*MUSTER, "status"], check=False, capture_output=True, env=env, timeout=20)
    assert done.returncode == 0
    assert b"healthy" in done.stdout


def test_a_name_cannot_write_to_the_terminal(hub: MadeUpHub, url: str) -> None:
    evil = "a\x1b]0;owned\x07b\u202ec"
    hub.put(evil, hub.answer(Reason.NOT_READY, message=evil, evidence={"failing_checks": evil}), labels={"k": evil})
    for command in (
        ["status"],
        ["clusters", "-o", "wide"],
        ["cluster", evil],
        ["clusters", "-o", "json"],
        ["clusters", "-o", "yaml"],
    ):
        output = muster(*command, server=url).output
        assert "owned" in output
        assert not set(output) & {"\x1b", "\x07", "\u202e"}


def test_watching_survives_a_restart_of_the_service(hub: MadeUpHub) -> None:
    watching: subprocess.Popen[str] | None = None
    try:
        with served(hub) as url:
            port = int(url.rpartition(":")[2])
            command = [*MUSTER, "status", "--watch", "-o", "json", "--server", url]
            watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert json.loads(_line(watching))["total"] == 1
        while "error" not in (document := json.loads(_line(watching))):
            pass
        assert "Connection refused" in document["error"]
        with served(hub, port):
            while "error" in (document := json.loads(_line(watching))):
                pass
            assert document["total"] == 1
    finally:
        if watching is not None:
            watching.send_signal(2)
            assert watching.wait(10) == 130
            assert watching.stdout is not None
            watching.stdout.close()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "it ended"
    return line
