"""The machine's clock is stepped by an hour under the running service."""

from __future__ import annotations

import signal
import time
from datetime import datetime

import pytest

from tests.support.service import assert_chain, running_service, simulated, until
from tests.support.stepped import STEP_S


def seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


@pytest.mark.parametrize(
    ("number", "by_s"), [(signal.SIGUSR1, STEP_S), pytest.param(signal.SIGUSR2, -STEP_S, marks=pytest.mark.soak)]
)
def test_ages_stay_what_they_were_and_nothing_goes_stale(number: signal.Signals, by_s: float) -> None:
    with (
        simulated((4, "healthy"), (2, "refuse")) as fleet,
        running_service(
            command=("-m", "tests.support.stepped"), environ={"MUSTER_STATIC": str(fleet.source)}
        ) as service,
    ):
        until(lambda: service.fleet()["counts"]["Unreachable"] == 2, 10, "the picture is right")
        before = service.clusters()
        service.send(number)
        until(lambda: service.events("the wall clock was stepped"), 5, "the step is noticed")
        ends = time.monotonic() + 4  # longer than any fact stands
        while time.monotonic() < ends:
            fleet_now = service.fleet()
            assert fleet_now["counts"]["Unknown"] == 0
            assert fleet_now["oldest_fact_age_s"] < 10
            assert not fleet_now["guard"]["holding"]
            time.sleep(0.2)
        assert abs(seconds(service.fleet()["now"]) - time.time() - by_s) < 2
        after = service.clusters()
        for name in fleet.clusters:
            if name.startswith("refuse"):
                assert abs(seconds(after[name]["since"]) - seconds(before[name]["since"]) - by_s) < 2
        history = service.history()
        assert_chain(history)
        assert {change["to_health"] for change in history} <= {"Healthy", "Degraded", "Unreachable"}
        assert len(service.events("the wall clock was stepped")) == 1
        # Their clocks and ours differ now, and that is what is said, of those that answer.
        until(lambda: service.clusters()["healthy-00001"]["reason"] == "ClockSkew", 15, "the difference is a finding")
