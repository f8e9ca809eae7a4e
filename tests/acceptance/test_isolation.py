"""The dead delay nobody: a smoke test of what `benchmarks/isolation.py` measures."""

from __future__ import annotations

import time

import pytest

from tests.support.service import Service, running_service, simulated, until

LIVE = 100
DEAD = ((100, "full-backlog"), (100, "black-hole-accept"), (100, "tls-hang"))
INTERVAL_S = 2.0
TIMEOUT_S = 1.5
WATCHED_S = 8.0

RATIO = 3.0
FLOOR_S = 0.1
"""Other tests run beside this one, on few cores: the benchmark is the judge, this only sees queueing behind the dead."""


def lateness_p99_s(service: Service) -> float:
    """The worst that was shown of the live lane over some intervals."""
    until(lambda: service.fleet()["counts"]["Healthy"] == LIVE, 20, "the living are known")
    time.sleep(2 * INTERVAL_S)
    worst, ends = [], time.monotonic() + WATCHED_S
    while time.monotonic() < ends:
        fleet = service.fleet()
        assert fleet["counts"]["Healthy"] == LIVE
        assert fleet["lanes"]["live"]["waiting"] == 0
        worst.append(fleet["lanes"]["live"]["lateness_p99_s"])
        time.sleep(0.5)
    return float(sorted(worst)[len(worst) // 2])


@pytest.mark.slow
def test_three_hundred_dead_do_not_delay_a_hundred_living() -> None:
    alone_s = with_dead_s = 0.0
    with simulated((LIVE, "healthy")) as fleet:
        with running_service("--static", fleet.source, interval_s=INTERVAL_S, timeout_s=TIMEOUT_S) as service:
            alone_s = lateness_p99_s(service)
    with simulated((LIVE, "healthy"), *DEAD) as fleet:
        with running_service("--static", fleet.source, interval_s=INTERVAL_S, timeout_s=TIMEOUT_S) as service:
            until(lambda: service.fleet()["counts"]["Unreachable"] == 300, 30, "the dead are known")
            with_dead_s = lateness_p99_s(service)
            live = {c["cluster_id"] for c in service.history() if c["cluster_name"].startswith("healthy")}
            assert len(live) == LIVE
            down = [c for c in service.history() if c["cluster_id"] in live and c["to_health"] != "Healthy"]
            assert down == []
    assert with_dead_s < max(RATIO * alone_s, FLOOR_S), f"{with_dead_s:.3f} s with the dead, {alone_s:.3f} s without"
