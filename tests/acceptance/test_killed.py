"""kill -9 of the service: its database ends too, and the next start shows what was known."""

from __future__ import annotations

import random
import time
from datetime import datetime
from typing import Any

import psutil

from tests.support.service import Fleet, Service, assert_chain, own_directory, running_service, simulated, until

REMEMBERED = ("health", "reason", "since", "last_known", "external_uid", "first_seen_at", "id", "labels")

UNWRITTEN_S = 2.0
"""Ages that a kill may cost: one flush, and one interval."""

FLAPPING = "flapping-1-3-00001"


def details(service: Service, fleet: Fleet) -> dict[str, dict[str, Any]]:
    return {name: service.cluster(name) for name in fleet.clusters}


def settled(service: Service) -> bool:
    return all(check["streak"] is None for check in service.cluster(FLAPPING)["checks"])


def last_success(cluster: dict[str, Any]) -> float:
    at = cluster["last_success_at"]
    return 0.0 if at is None else datetime.fromisoformat(at).timestamp()


def test_its_database_ends_with_it_and_a_restart_shows_the_same_picture() -> None:
    groups = ((3, "healthy"), (2, "refuse"), (1, "unauthorized"), (1, "expiring-soon"), (1, "flapping:1.3"))
    with simulated(*groups) as fleet, own_directory() as data_dir:
        options = ("--static", fleet.source)
        with running_service(*options, data_dir=data_dir) as service:
            until(lambda: service.clusters().get(FLAPPING, {}).get("flapping"), 30, "it flaps")
            until(lambda: service.fleet()["counts"]["Healthy"] >= 3, 5, "the healthy ones are known")
            fleet.set(FLAPPING, "healthy")
            until(lambda: settled(service), 10, "it is healthy again")
            time.sleep(1.2)  # the next flush
            before, history = details(service, fleet), service.history()
            [postgres] = [p for p in service.tree()[1:] if p.ppid() == service.pid]
            service.kill()
            until(lambda: not postgres.is_running(), 10, "PostgreSQL has ended too")
        with running_service(*options, data_dir=data_dir) as service:
            for name, known in details(service, fleet).items():  # before anything was asked again
                assert last_success(known) >= last_success(before[name]) - UNWRITTEN_S
            until(lambda: service.fleet()["oldest_fact_age_s"] < 2.5, 10, "everything has been asked again")
            after = details(service, fleet)
            for name, known in before.items():
                assert {key: after[name][key] for key in REMEMBERED} == {key: known[key] for key in REMEMBERED}, name
            assert after[FLAPPING]["flapping"]
            assert not after["healthy-00001"]["flapping"]
            assert_chain(service.history())
            assert service.history()[: len(history)] == history


def test_killed_at_random_moments_while_transitions_happen_it_loses_and_doubles_none() -> None:
    rng = random.Random(4)
    with simulated((12, "flapping:3.3")) as fleet, own_directory() as data_dir:
        options = ("--static", fleet.source, "--read-every", "1")
        told: list[int] = []
        history: list[dict[str, Any]] = []
        for _ in range(3):
            with running_service(*options, data_dir=data_dir) as service:
                now = service.history()
                assert_chain(now)
                assert now[: len(history)] == history
                assert set(told) <= {change["id"] for change in now}
                until(lambda: len(service.events("health changed")) > 5, 15, "transitions happen")
                time.sleep(rng.uniform(0.2, 2.0))
                history = service.history()
                service.kill()
                told += [line["transition"] for line in service.events("health changed")]
        assert len(told) == len(set(told))
        with running_service(*options, data_dir=data_dir) as service:
            now = service.history()
            assert_chain(now)
            assert set(told) <= {change["id"] for change in now}
            for name in fleet.clusters:
                fleet.set(name, "healthy")
            until(lambda: not untold(service, fleet), 15, "history ends where the picture stands")


def untold(service: Service, fleet: Fleet) -> list[tuple[str, str]]:
    """Checks whose health is not the one that history led to."""
    last = {(change["cluster_name"], change["check"]): change["to_health"] for change in service.history()}
    checks = [(name, check) for name in fleet.clusters for check in service.cluster(name)["checks"]]
    return [(n, c["check"]) for n, c in checks if last.get((n, c["check"])) != c["health"]]


def test_killed_in_the_middle_of_the_first_start_it_starts_again() -> None:
    with simulated((2, "healthy")) as fleet, own_directory() as data_dir:
        for delay_s in (0.3, 0.8):
            with running_service("--static", fleet.source, data_dir=data_dir, ready=False) as service:
                assert service.url
                time.sleep(delay_s)
                tree = service.tree()
                service.kill()
                _, alive = psutil.wait_procs(tree, timeout=10)
                assert alive == []
        with running_service("--static", fleet.source, data_dir=data_dir) as service:
            until(lambda: service.fleet()["counts"]["Healthy"] == 2, 10, "the picture is right")
