"""SIGTERM and SIGINT: gone within five seconds whatever is under way, nothing left, nothing forgotten."""

from __future__ import annotations

import itertools
import signal
import socket
import time
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.support.postgres import frozen
from tests.support.service import (
    GONE_S,
    Service,
    own_directory,
    postgres_of_its_own,
    rows,
    running_service,
    simulated,
    until,
)

ROUNDING = timedelta(milliseconds=1)

BLACK_HOLES = ((25, "full-backlog"), (25, "black-hole-accept"))


def assert_nothing_is_left(service: Service, tree: list[psutil.Process], data_dir: Path | None = None) -> None:
    assert [process for process in tree if process.is_running()] == []
    parts = urlsplit(service.url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((parts.hostname, parts.port), timeout=2)
    if data_dir is not None:
        assert list(data_dir.rglob(".s.PGSQL*")) == []
        assert not (data_dir / "postgresql/data/postmaster.pid").exists(), "PostgreSQL did not end in order"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_time_with_fifty_black_holes(number: signal.Signals) -> None:
    with (
        simulated((5, "healthy"), *BLACK_HOLES) as fleet,
        own_directory() as data_dir,
        running_service("--static", fleet.source, data_dir=data_dir) as service,
    ):
        until(lambda: service.fleet()["counts"]["Unreachable"] == 50, 15, "the dead are known")
        tree = service.tree()
        assert service.stop(number) < GONE_S
        assert_nothing_is_left(service, tree, data_dir)
        assert service.events("stopped")


def test_a_signal_before_it_is_ready_ends_it(tmp_path: Path) -> None:
    with running_service(ready=False) as service:
        tree = service.tree()
        assert service.url
        assert service.stop() < GONE_S
        assert_nothing_is_left(service, tree)


def test_a_second_signal_does_no_harm() -> None:
    with (
        simulated(*BLACK_HOLES) as fleet,
        own_directory() as data_dir,
        running_service("--static", fleet.source, data_dir=data_dir) as service,
    ):
        until(lambda: service.fleet()["counts"]["Unreachable"] == 50, 15, "the dead are known")
        tree = service.tree()
        service.send(signal.SIGTERM)
        asked = time.monotonic()
        for again in itertools.cycle([signal.SIGTERM, signal.SIGINT]):
            if service.process.poll() is not None:
                break
            service.send(again)
            time.sleep(0.01)
        assert service.process.returncode == 0
        assert time.monotonic() - asked < GONE_S
        assert_nothing_is_left(service, tree, data_dir)


def test_it_ends_while_it_waits_for_an_absent_database() -> None:
    with running_service(database_url="postgresql://muster@127.0.0.1:1/muster", ready=False) as service:
        until(lambda: "127.0.0.1:1" in service.waits_for(), 10, "it says what it waits for")
        tree = service.tree()
        assert service.stop() < GONE_S
        assert_nothing_is_left(service, tree)


def test_it_ends_while_its_database_is_frozen() -> None:
    with (
        simulated((5, "healthy"), (5, "refuse")) as fleet,
        postgres_of_its_own() as postgres,
        running_service("--static", fleet.source, database_url=postgres.url) as service,
    ):
        until(lambda: service.fleet()["counts"]["Unreachable"] == 5, 10, "the picture is right")
        tree = service.tree()
        with frozen(postgres.pid):
            time.sleep(1.5)  # so that a flush hangs in it
            assert service.stop() < GONE_S
        assert_nothing_is_left(service, tree)


def test_a_standby_ends_as_well() -> None:
    with (
        own_directory() as data_dir,
        running_service(data_dir=data_dir),
        running_service(data_dir=data_dir, ready=False) as standby,
    ):
        until(lambda: "hot standby" in standby.waits_for(), 10, "it says that it stands by")
        tree = standby.tree()
        assert standby.stop() < GONE_S
        assert_nothing_is_left(standby, tree)


def test_the_last_states_are_written(database_url: str) -> None:
    with (
        simulated((3, "healthy")) as fleet,
        running_service("--static", fleet.source, database_url=database_url) as service,
    ):
        until(lambda: service.fleet()["counts"]["Healthy"] == 3, 10, "all are healthy")
        last = {c["id"]: datetime.fromisoformat(c["last_success_at"]) for c in service.clusters().values()}
        service.stop()
    sql = "SELECT cluster_id::text, max(to_timestamp(last_success_at)) FROM check_states GROUP BY 1"
    stored = {row["cluster_id"]: row["max"] for row in rows(database_url, sql)}
    assert stored.keys() == last.keys()
    assert all(stored[i] >= last[i] - ROUNDING for i in last)
