"""The hub's own outage: most of the fleet goes dark at once, and people get one sentence. Health stays what it is."""

from __future__ import annotations

import pytest

from tests.support.service import assert_chain, running_service, simulated, until

DARK = [f"healthy-{number:05d}" for number in range(1, 10)]


def test_most_of_the_fleet_going_dark_is_one_sentence_and_changes_no_health() -> None:
    with simulated((12, "healthy"), (2, "refuse")) as fleet, running_service("--static", fleet.source) as service:
        until(lambda: service.fleet()["counts"]["Healthy"] == 12, 10, "the picture is right")
        assert not service.fleet()["guard"]["holding"]
        for name in DARK:
            fleet.set(name, "refuse")
        until(lambda: service.fleet()["guard"]["holding"], 8, "the guard holds the alerts")
        why = service.fleet()["guard"]["why"]
        assert "answering clusters stopped answering within 1 s" in why
        out = service.cli("status").out
        assert "Alerts have been held for" in out
        assert " ".join(why.split()[:6]) in " ".join(out.split())
        assert b"muster_guard_holding 1" in service.get("/metrics")[1]

        until(lambda: service.fleet()["counts"]["Unreachable"] == len(DARK) + 2, 8, "every one is shown as it is")
        assert {service.clusters()[name]["reason"] for name in DARK} == {"ConnectionRefused"}
        assert service.cli("status").code == 1

        for name in DARK:
            fleet.set(name, "healthy")
        until(lambda: service.fleet()["counts"]["Healthy"] == 12, 15, "all are well again")
        until(lambda: not service.fleet()["guard"]["holding"], 10, "the guard lets go")
        assert service.fleet()["guard"]["why"].startswith("It is over")
        assert "Alerts have been held" not in service.cli("status").out
        assert [line["holding"] for line in service.events("own-outage guard")] == [True, False]
        assert_chain(service.history())


@pytest.mark.soak
def test_a_minority_going_dark_is_no_outage_of_the_hub() -> None:
    with simulated((12, "healthy")) as fleet, running_service("--static", fleet.source) as service:
        until(lambda: service.fleet()["counts"]["Healthy"] == 12, 10, "the picture is right")
        for name in DARK[:5]:
            fleet.set(name, "refuse")
        until(lambda: service.fleet()["counts"]["Unreachable"] == 5, 10, "they are shown")
        assert not service.fleet()["guard"]["holding"]
        assert service.events("own-outage guard") == []


def test_reference_targets_that_do_not_answer_tell_the_same() -> None:
    with simulated((2, "healthy"), (1, "refuse")) as fleet:
        silent = fleet.clusters["refuse-00001"].server.removeprefix("https://")
        with running_service("--static", fleet.source, "--reference", silent) as service:
            until(lambda: service.fleet()["guard"]["holding"], 8, "the guard holds the alerts")
            assert "None of the hub's 1 reference targets answers" in service.fleet()["guard"]["why"]
            until(lambda: service.health("healthy-00001") == "Healthy", 5, "health is what the answers say")
            fleet.set("refuse-00001", "healthy")
            until(lambda: not service.fleet()["guard"]["holding"], 10, "the guard lets go")
