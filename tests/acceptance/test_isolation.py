"""The dead delay nobody: a smoke test of what `benchmarks/isolation.py` measures."""

from __future__ import annotations

import time

import pytest

from tests.support.service import Json, Service, running_service, simulated, until

LIVE = 100
DEAD = ((100, "full-backlog"), (100, "black-hole-accept"), (100, "tls-hang"))
INTERVAL_S = 2.0
TIMEOUT_S = 1.5
WATCHED_S = 5.0

RATIO = 3.0
FLOOR_S = 0.1
"""Other tests run beside this one, on few cores: it only sees queueing behind the dead. The benchmark is the judge."""


def lateness_p99_s(*dead: tuple[int, str]) -> float:
    """Of a hundred live clusters beside dead ones: the median of what was shown while we watched."""
    with (
        simulated((LIVE, "healthy"), *dead) as fleet,
        running_service("--static", fleet.source, interval_s=INTERVAL_S, timeout_s=TIMEOUT_S) as service,
    ):
        unreachable = sum(count for count, _ in dead)
        until(lambda: service.fleet()["counts"]["Healthy"] == LIVE, 20, "the living are known")
        until(lambda: service.fleet()["counts"]["Unreachable"] == unreachable, 30, "the dead are known")
        # A dead one's first question was asked among the living, and took its whole timeout.
        until(lambda: live_lane(service)["lateness_p99_s"] < TIMEOUT_S, 20, "the dead are in their own lane")
        seen, ends = [], time.monotonic() + WATCHED_S
        while time.monotonic() < ends:
            assert service.fleet()["counts"]["Healthy"] == LIVE
            assert live_lane(service)["waiting"] == 0
            seen.append(float(live_lane(service)["lateness_p99_s"]))
            time.sleep(0.5)
        changes = [c for c in service.history() if c["cluster_name"].startswith("healthy")]
        assert {change["to_health"] for change in changes} == {"Healthy"}
        return sorted(seen)[len(seen) // 2]


def live_lane(service: Service) -> Json:
    return dict(service.fleet()["lanes"]["live"])


@pytest.mark.slow
def test_three_hundred_dead_do_not_delay_a_hundred_living() -> None:
    alone_s = lateness_p99_s()
    beside_s = lateness_p99_s(*DEAD)
    assert beside_s < max(RATIO * alone_s, FLOOR_S), f"{beside_s:.3f} s beside the dead, {alone_s:.3f} s alone"
