"""Too few file descriptors: the hub says so of itself, blames no cluster, and can still be asked."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.support.need import need
from tests.support.service import assert_chain, running_service, simulated, until

CLUSTERS = 80
LIMIT = 64


@pytest.fixture
def few() -> list[str]:
    """Starts a program with too few."""
    prlimit = shutil.which("prlimit")
    need(sys.platform == "linux" and prlimit, "prlimit of util-linux")
    return [str(prlimit), f"--nofile={LIMIT}:{LIMIT}"]


def test_the_hub_says_so_of_itself_and_recovers_when_there_are_enough(few: list[str], database_url: str) -> None:
    with (
        simulated((CLUSTERS, "healthy")) as fleet,
        running_service("--static", fleet.source, database_url=database_url, wrapped=few) as service,
    ):
        until(lambda: service.fleet()["reasons"].get("HubOutOfDescriptors", 0) > 20, 10, "most can't be asked")
        until(lambda: service.fleet()["counts"]["Healthy"] > 10, 10, "some can")
        ends = time.monotonic() + 3
        while time.monotonic() < ends:
            shown = service.fleet()
            assert (shown["counts"]["Unreachable"], shown["counts"]["Unhealthy"]) == (0, 0)
            assert shown["store"]["degraded_since"] is None, "the database has descriptors of its own"
            assert shown["source_problems"] == []
            time.sleep(0.2)
        assert len(list(Path(f"/proc/{service.pid}/fd").iterdir())) < LIMIT
        ran = service.cli("status")
        assert ran.code == 1
        assert "HubOutOfDescriptors" in ran.out
        [name, *_] = [n for n, c in service.clusters().items() if c["reason"] == "HubOutOfDescriptors"]
        assert "ulimit -n" in service.cli("cluster", name).out
        fleet.add("one-more")
        until(lambda: service.health("one-more"), 10, "it is known")
        assert len(service.events("too few file descriptors")) == 1, "edges, not ticks"

        assert {c["to_health"] for c in service.history()} <= {"Healthy", "Unknown"}, "no cluster is blamed"

        for name in list(fleet.clusters)[20:]:
            fleet.remove(name)
        until(lambda: service.fleet()["counts"]["Healthy"] == 21, 15, "all that are left are asked")
        assert_chain(service.history())
