"""What the database does to the service: it waits, goes on from memory, or says what a person has to do."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.support import disk
from tests.support.disk import fill
from tests.support.service import (
    Fleet,
    Service,
    assert_chain,
    embedded_url,
    own_directory,
    postgres_of_its_own,
    rows,
    running_service,
    simulated,
    until,
)

small_disk = disk.small_disk

ENDED_S = 10.0


def ended(service: Service) -> int:
    """The exit code of a service that gives up."""
    return service.process.wait(ENDED_S)


def degraded(service: Service) -> bool:
    return service.fleet()["store"]["degraded_since"] is not None


def all_is_written(service: Service) -> bool:
    clusters = service.clusters().values()
    return bool(clusters) and all(c["health"] != "Unknown" and not c["pending"] for c in clusters)


def assert_it_goes_on_from_memory(service: Service, fleet: Fleet) -> None:
    """With the database away."""
    until(lambda: degraded(service), 15, "it says that the database is away")
    ran = service.cli("status")
    assert "The database has taken nothing for" in ran.out
    fleet.set("healthy-00001", "refuse")
    until(lambda: service.health("healthy-00001") == "Unreachable", 10, "the picture goes on")
    assert service.cluster("healthy-00001")["pending"]
    assert service.cluster("healthy-00002")["age_s"] < 3
    assert b"muster_store_degraded 1" in service.get("/metrics")[1]
    assert service.events("store degraded: going on from memory")


def assert_it_has_caught_up(service: Service) -> None:
    """With the database back."""
    until(lambda: not degraded(service), 20, "the database takes what is known")
    assert service.events("store recovered")
    until(lambda: not service.cluster("healthy-00001")["pending"], 10, "what was pending is written")
    history = service.history()
    assert_chain(history)
    mine = [c["to_health"] for c in history if (c["cluster_name"], c["check"]) == ("healthy-00001", "apiserver")]
    assert mine == ["Healthy", "Unreachable"]
    told = [line["transition"] for line in service.events("health changed")]
    assert len(told) == len(set(told))
    assert set(told) == {change["id"] for change in history}


def test_one_that_is_absent_at_the_start_is_waited_for() -> None:
    with postgres_of_its_own() as postgres, simulated((2, "healthy")) as fleet:
        postgres.stop()
        with running_service("--static", fleet.source, database_url=postgres.url, ready=False) as service:
            waits_for = until(service.waits_for, 10, "it says what it waits for")
            assert waits_for.startswith("this instance has no picture of the fleet, since it is starting: database")
            assert service.events("waiting")
            ran = service.cli("status")
            assert (ran.code, ran.out) == (3, "")
            assert "database" in ran.err
            time.sleep(1.5)
            assert len(service.events("waiting")) == 1, "edges, not ticks"
            postgres.start()
            until(service.ready, 10, "it goes on")
            until(lambda: service.fleet()["counts"]["Healthy"] == 2, 10, "the picture is right")


def test_a_wrong_password_ends_it_with_what_to_do_and_without_the_password(database_url: str) -> None:
    password = urlsplit(database_url).password
    assert password
    url = database_url.replace(password, "no-such-sesame")
    with running_service(database_url=url, ready=False) as service:
        assert ended(service) == 1
        [line] = service.events("the database refuses")
        assert "Correct the user or the password in MUSTER_DATABASE_URL" in line["error"]
        assert "no-such-sesame" not in service.log


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://muster:open@sesame@db/muster", "percent-encoded"),
        ("mysql://muster:sesame@db/muster", "does not start with postgresql://"),
        ("sesame", "does not start with postgresql://"),
    ],
)
def test_a_url_that_makes_no_sense_ends_it_without_quoting_it(url: str, says: str) -> None:
    with running_service(database_url=url, ready=False) as service:
        assert ended(service) == 2  # a setting that makes no sense
        assert says in service.log
        assert "sesame" not in service.log


def test_a_schema_of_a_newer_release_is_refused(database_url: str) -> None:
    with running_service(database_url=database_url):
        pass
    rows(database_url, "UPDATE schema_migrations SET min_code_version = 99 WHERE package = 'collector'")
    with running_service(database_url=database_url, ready=False) as service:
        assert ended(service) == 1
        [line] = service.events("the database refuses")
        assert "needs schema version 99 or later, and this release has 1" in line["error"]
        assert "Start the newer release" in line["error"]


def test_killed_under_load_it_costs_no_history() -> None:
    with (
        simulated((4, "healthy"), (8, "flapping:3.3")) as fleet,
        postgres_of_its_own() as postgres,
        running_service("--static", fleet.source, "--read-every", "1", database_url=postgres.url) as service,
    ):
        until(lambda: len(service.history()) > 20, 20, "transitions happen")
        postgres.kill()
        assert_it_goes_on_from_memory(service, fleet)
        ran = service.cli("history")
        assert ran.code == 3
        assert "database" in ran.err
        postgres.start()
        assert_it_has_caught_up(service)


def test_the_embedded_one_is_started_again_when_it_dies() -> None:
    with (
        simulated((4, "healthy")) as fleet,
        running_service("--static", fleet.source) as service,
    ):
        until(lambda: all_is_written(service), 10, "the picture is right")
        [postgres] = [p for p in service.tree()[1:] if p.ppid() == service.pid]
        postgres.kill()
        until(lambda: service.events("the embedded PostgreSQL has died; starting it again"), 5, "it is noticed")
        fleet.set("healthy-00001", "refuse")
        until(lambda: service.health("healthy-00001") == "Unreachable", 10, "the picture goes on")
        until(lambda: not service.cluster("healthy-00001")["pending"], 15, "it is written")
        assert_chain(service.history())
        assert service.ready()


def test_a_full_disk_is_survived(small_disk: Path) -> None:
    data_dir = small_disk / "data"
    with (
        simulated((4, "healthy")) as fleet,
        running_service("--static", fleet.source, data_dir=data_dir) as service,
    ):
        until(lambda: all_is_written(service), 10, "the picture is right")
        filler = fill(small_disk)
        until(lambda: wal_is_full(embedded_url(data_dir)), 10, "PostgreSQL has met the full disk")
        assert_it_goes_on_from_memory(service, fleet)
        assert len(service.events("the embedded PostgreSQL does not start")) == 1, "edges, not ticks"
        assert "No space left on device" in service.log
        filler.unlink()
        assert_it_has_caught_up(service)


def wal_is_full(url: str) -> bool:
    """Ask for the next segment of the write-ahead log, which a full disk does not have: PostgreSQL dies of it."""
    try:
        rows(url, "SELECT pg_logical_emit_message(false, 'test', 'fill'), pg_switch_wal()")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        return True
    return False


def test_a_disk_that_is_full_at_the_start_is_told(small_disk: Path) -> None:
    fill(small_disk)
    with running_service(data_dir=small_disk / "data", ready=False) as service:
        assert ended(service) == 1
        assert "Free space" in service.log


def test_a_data_directory_that_cannot_be_used_is_told() -> None:
    with own_directory() as directory:
        (directory / "file").write_text("")
        with running_service(data_dir=directory / "file", ready=False) as service:
            assert ended(service) == 1
            assert str(directory / "file") in service.log
            assert "Traceback" not in service.log
