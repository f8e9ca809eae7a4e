"""Two instances: one leads, the other says that it stands by, and takes over without losing or doubling anything."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.service import (
    Fleet,
    Service,
    assert_chain,
    own_directory,
    postgres_of_its_own,
    rows,
    running_service,
    simulated,
    until,
)

TAKEOVER_S = 5.0

FLEET = ((4, "healthy"), (2, "refuse"), (4, "flapping:3.3"))
TAKE_ITS_LOCK = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'muster-leader'"

OPTIONS = ("--read-every", "1")


@contextmanager
def two(fleet: Fleet, url: str) -> Iterator[tuple[Service, Service]]:
    """A leader and its standby on one database."""
    options = ("--static", fleet.source, *OPTIONS)
    with (
        running_service(*options, database_url=url) as leader,
        running_service(*options, database_url=url, ready=False) as standby,
    ):
        until(lambda: "hot standby" in standby.waits_for(), 10, "the second says that it stands by")
        until(lambda: leader.fleet()["counts"]["Unreachable"] == 2, 10, "the leader has a picture")
        yield leader, standby


def test_the_standby_says_so_and_takes_over_after_a_kill_9(database_url: str) -> None:
    with simulated(*FLEET) as fleet, two(fleet, database_url) as (leader, standby):
        assert standby.get("/healthz")[0] == 200
        assert b'role="standby"' in standby.get("/metrics")[1]
        ran = standby.cli("status")
        assert (ran.code, ran.out) == (3, "")
        assert "standing by: another instance leads" in ran.err
        assert fleet.seen("healthy-00001")["connections"] == 1, "a standby asks nobody"

        until(lambda: len(leader.history()) > 10, 10, "the leader makes history")
        before = leader.history()
        leader.kill()
        killed = time.monotonic()
        until(standby.ready, TAKEOVER_S, "the standby leads")
        assert time.monotonic() - killed < TAKEOVER_S
        until(lambda: standby.fleet()["total"] == 10, 5, "its picture is whole")
        until(lambda: len(standby.history()) > len(before) + 3, 20, "it makes history")
        after = standby.history()
        assert after[: len(before)] == before
        assert_chain(after)
        ids = {line["transition"] for line in leader.events("health changed")}
        assert ids <= {change["id"] for change in after}
        assert ids.isdisjoint(line["transition"] for line in standby.events("health changed"))


def test_a_leader_that_ends_in_order_is_followed_at_once(database_url: str) -> None:
    with simulated((2, "healthy"), (2, "refuse")) as fleet, two(fleet, database_url) as (leader, standby):
        leader.stop()
        until(standby.ready, 2.5, "the standby leads")
        until(lambda: standby.fleet()["counts"]["Unreachable"] == 2, 2.5, "it shows what was known")
        assert_chain(standby.history())


def test_a_frozen_leader_that_wakes_up_steps_down_and_writes_nothing() -> None:
    with (
        simulated(*FLEET) as fleet,
        postgres_of_its_own() as postgres,
        two(fleet, postgres.url) as (old, new),
    ):
        until(lambda: len(old.history()) > 10, 20, "transitions happen")
        old.send(signal.SIGSTOP)
        rows(postgres.url, TAKE_ITS_LOCK)
        until(new.ready, TAKEOVER_S, "the standby leads")
        time.sleep(1.5)
        told = len(old.events("health changed"))
        old.send(signal.SIGCONT)
        until(lambda: old.events("stepped down: another instance leads"), 10, "the old leader steps down")
        until(lambda: "hot standby" in old.waits_for(), 5, "it says that it stands by")
        time.sleep(1.5)
        assert len(old.events("health changed")) == told, "it published what it could not commit"
        assert new.ready()
        assert_chain(new.history())
        [row] = rows(postgres.url, "SELECT epoch, holder FROM leadership")
        assert row["epoch"] == 2
        assert row["holder"].endswith(f":{new.pid}")

        new.kill()
        until(old.ready, TAKEOVER_S, "and leads again when it is its turn")
        until(lambda: old.fleet()["oldest_fact_age_s"] < 5, 10, "with a picture of its own")
        assert_chain(old.history())


def test_two_on_one_data_directory_are_leader_and_standby_too() -> None:
    with simulated((2, "healthy"), (2, "refuse")) as fleet, own_directory() as data_dir:
        options = ("--static", fleet.source)
        with (
            running_service(*options, data_dir=data_dir) as first,
            running_service(*options, data_dir=data_dir, ready=False) as second,
        ):
            until(second.waits_for, 10, "the second waits")
            assert str(data_dir) in second.waits_for()
            assert f"process {first.pid}" in second.waits_for()
            ran = second.cli("status")
            assert (ran.code, ran.out) == (3, "")
            assert "hot standby" in ran.err
            until(lambda: first.fleet()["counts"]["Unreachable"] == 2, 10, "the first has a picture")
            os.kill(first.pid, signal.SIGKILL)
            killed = time.monotonic()
            first.process.wait()
            until(second.ready, TAKEOVER_S, "the second leads")
            assert time.monotonic() - killed < TAKEOVER_S
            until(lambda: second.fleet()["counts"]["Unreachable"] == 2, 10, "it shows the same picture")
            assert_chain(second.history())
