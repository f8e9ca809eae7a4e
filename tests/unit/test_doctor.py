"""What the examination makes of what was seen; and the seeing itself, on this machine."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from muster.ops.doctor import clock, database, descriptors, disk, memory, names, port, runtime_dir, versions
from muster.ops.doctor.finding import Finding, Level
from muster.ops.doctor.service import ServiceSeen
from store.errors import StoreUnavailable
from validator.discovery.source import Reading, Sighting, SourceProblem
from validator.model import Endpoint
from validator.net.failure import ProbeFailure
from validator.reasons import Reason
from validator.schedule import ScheduleSettings

SERVICE = ServiceSeen("http://127.0.0.1:8645", datetime.now(UTC), "0.1.0", "leading", 10)
GIB = 1 << 30


def level(finding: Finding) -> Level:
    assert finding.seen
    assert bool(finding.remedy) == (finding.level is not Level.OK), "what is wrong has a remedy, and nothing else"
    return finding.level


def test_a_port_that_something_else_holds_names_it() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        seen = port.look(*holder.getsockname())
    assert (seen.error, seen.holder) == (errno.EADDRINUSE, os.getpid())
    finding = port.judge(seen, None)
    assert level(finding) is Level.PROBLEM
    assert f"process {os.getpid()}" in finding.seen
    assert level(port.judge(seen, SERVICE)) is Level.OK


def test_a_port_is_free_where_nobody_listens() -> None:
    assert level(port.judge(port.look("127.0.0.1", 0), None)) is Level.OK
    assert port.look("192.0.2.1", 1).error == errno.EADDRNOTAVAIL


@pytest.mark.parametrize(("error", "words"), [(errno.EACCES, "may not"), (errno.EADDRNOTAVAIL, "no address")])
def test_a_port_that_cannot_be_had_says_why(error: int, words: str) -> None:
    finding = port.judge(port.PortSeen("192.0.2.1:80", error), None)
    assert level(finding) is Level.PROBLEM
    assert words in finding.seen


@pytest.mark.parametrize(
    ("limit", "clusters", "expected"),
    [
        (1024, None, Level.OK),
        (1024, 500, Level.WARNING),
        (1024, 1000, Level.PROBLEM),
        (65536, 10_000, Level.OK),
    ],
)
def test_descriptors_are_counted_against_the_fleet(limit: int, clusters: int | None, expected: Level) -> None:
    assert level(descriptors.judge(descriptors.LimitSeen(limit, False), clusters, ScheduleSettings())) is expected


def test_the_limit_of_a_running_process_is_read() -> None:
    assert descriptors.look(os.getpid()).of_service
    assert not descriptors.look(None).of_service
    assert not descriptors.look(2**22 + 1).of_service


@pytest.mark.parametrize(
    ("ahead_s", "expected"),
    [({}, Level.OK), ({"a": -1.5}, Level.OK), ({"a": 0, "b": -5.0}, Level.WARNING), ({"a": 3600.0}, Level.PROBLEM)],
)
def test_a_clock_that_differs_is_told_by_how_much(ahead_s: dict[str, float], expected: Level) -> None:
    assert level(clock.judge(ahead_s)) is expected


def test_a_clock_says_who_is_ahead() -> None:
    assert clock.judge({"the database's": -90.0}).seen == "the database's is 90 s behind ours"


@pytest.mark.parametrize(
    ("free", "inodes", "free_inodes", "expected"),
    [
        (50 * GIB, 1000, 900, Level.OK),
        (50 * GIB, 0, 0, Level.OK),
        (GIB // 2, 1000, 900, Level.WARNING),
        (GIB // 8, 1000, 900, Level.PROBLEM),
        (50 * GIB, 1000, 10, Level.WARNING),
        (50 * GIB, 1000, 0, Level.PROBLEM),
    ],
)
def test_a_disk_is_judged_by_space_and_inodes(free: int, inodes: int, free_inodes: int, expected: Level) -> None:
    assert level(disk.judge(disk.DiskSeen(Path("/d"), free, inodes, free_inodes, read_only=False))) is expected


def test_the_disk_of_a_directory_that_is_not_made_yet_is_that_of_its_parent(tmp_path: Path) -> None:
    assert disk.look(tmp_path / "not" / "yet").path == tmp_path
    assert level(disk.judge(disk.DiskSeen(Path("/d"), GIB, 0, 0, read_only=True))) is Level.PROBLEM


@pytest.mark.parametrize(
    ("available", "limit", "clusters", "running", "expected"),
    [
        (GIB, None, 100, False, Level.OK),
        (GIB // 8, None, 100, False, Level.WARNING),
        (GIB // 8, None, 100, True, Level.OK),
        (8 * GIB, GIB, 10_000, False, Level.PROBLEM),
        (8 * GIB, GIB, 5_000, True, Level.WARNING),
        (None, None, None, False, Level.OK),
    ],
)
def test_memory_is_counted_against_the_fleet(
    available: int | None, limit: int | None, clusters: int | None, *, running: bool, expected: Level
) -> None:
    assert level(memory.judge(memory.MemorySeen(available, limit), clusters, running=running)) is expected


def test_the_smallest_limit_of_the_control_groups_above_us_counts(tmp_path: Path) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal:  100 kB\nMemAvailable:  50 kB\n")
    (proc / "self/cgroup").write_text("0::/system.slice/muster.service\n")
    (groups / "system.slice/muster.service").mkdir(parents=True)
    (groups / "system.slice/muster.service/memory.max").write_text("max\n")
    (groups / "system.slice/memory.max").write_text("1048576\n")
    assert memory.look(proc, groups) == memory.MemorySeen(50 * 1024, 1048576)
    (proc / "self/cgroup").write_text("4:memory:/docker/x\n0::/\n")
    (groups / "memory/docker/x").mkdir(parents=True)
    (groups / "memory/docker/x/memory.limit_in_bytes").write_text("4096\n")
    assert memory.look(proc, groups).limit == 4096
    assert memory.look(tmp_path / "nothing", groups) == memory.MemorySeen(None, None)


def test_a_service_of_another_release_wants_a_restart() -> None:
    found = versions.look()
    assert {"muster", "Python", "OpenSSL", "asyncpg"} <= set(found)
    assert level(versions.judge(found, None)) is Level.OK
    other = versions.judge(found, ServiceSeen("", version="9.9"))
    assert level(other) is Level.WARNING
    assert "9.9" in other.seen


def test_a_token_that_others_can_read_is_a_problem(tmp_path: Path) -> None:
    token = tmp_path / "run" / "127.0.0.1-1.token"

    def judged(*, running: bool) -> Finding:
        return runtime_dir.judge(*runtime_dir.look(token), us=os.geteuid(), running=running)

    assert level(judged(running=False)) is Level.OK
    assert level(judged(running=True)) is Level.WARNING
    token.parent.mkdir(mode=0o700)
    assert level(judged(running=True)) is Level.WARNING
    token.touch(mode=0o600)
    assert level(judged(running=True)) is Level.OK
    token.chmod(0o644)
    assert level(judged(running=True)) is Level.PROBLEM
    token.chmod(0o600)
    token.parent.chmod(0o777)
    assert level(judged(running=True)) is Level.PROBLEM


def test_the_runtime_directory_of_another_user_is_told() -> None:
    entry = runtime_dir.EntrySeen(Path("/run/muster"), uid=100, mode=0o700)
    assert level(runtime_dir.judge(entry, None, us=200, running=True)) is Level.WARNING


class OneReading:
    """A source."""

    name = "made-up"

    def __init__(self, *hosts: str, problems: tuple[SourceProblem, ...] = ()) -> None:
        self._reading = Reading(
            tuple(Sighting(host, self.name, Endpoint(host, 6443)) for host in hosts), problems, complete=True
        )

    async def readings(self) -> AsyncIterator[Reading]:
        yield self._reading


class Names:
    """A resolver that knows some."""

    async def resolve(self, host: str, deadline_s: float) -> tuple[str, ...]:
        if "gone" in host:
            raise ProbeFailure(Reason.DNS_NAME_NOT_FOUND, f"{host}: not found", unanswered=True)
        return ("127.0.0.1",)


async def seen(*hosts: str) -> names.NamesSeen:
    return await names.look([OneReading(*hosts)], Names())


async def test_names_are_asked_for_and_addresses_are_not() -> None:
    found = await seen("a.example", "10.0.0.1", "a.example")
    assert (found.clusters, found.asked, found.failures) == (3, 1, ())
    assert level(names.judge_dns(found)) is Level.OK
    assert level(names.judge_dns(await seen("10.0.0.1"))) is Level.OK


async def test_one_dead_name_is_a_warning_and_all_of_them_the_name_servers() -> None:
    one = names.judge_dns(await seen("a.example", "gone.example"))
    assert level(one) is Level.WARNING
    assert "1 of 2 names have addresses; gone.example: not found" in one.seen
    assert level(names.judge_dns(await seen("gone.example"))) is Level.PROBLEM


async def test_a_source_that_cannot_be_read_is_told() -> None:
    broken = SourceProblem("/etc/c.yaml", "line 3: not YAML", "mend it")
    found = await names.look([OneReading(problems=(broken,))], Names())
    assert level(names.judge_sources(found, 1)) is Level.WARNING
    assert level(names.judge_sources(await seen("10.0.0.1"), 1)) is Level.OK
    assert level(names.judge_sources(await names.look([], Names()), 0)) is Level.WARNING


def stored(**changes: object) -> database.DatabaseSeen:
    good: dict[str, object] = {
        "version": "18.1",
        "number": 180001,
        "size_bytes": 1 << 24,
        "ahead_s": 0.0,
        "latency_s": 0.001,
        "free_connections": 90,
        "replica": False,
        "outstanding": (),
        "clusters": 3,
    }
    return database.DatabaseSeen(**{**good, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, [Level.OK, Level.OK]),
        ({"replica": True}, [Level.PROBLEM, Level.OK]),
        ({"number": 140012}, [Level.PROBLEM, Level.OK]),
        ({"free_connections": 3}, [Level.WARNING, Level.OK]),
        ({"latency_s": 0.5}, [Level.WARNING, Level.OK]),
        ({"outstanding": ("collector/0002_pauses",)}, [Level.OK, Level.WARNING]),
    ],
)
def test_a_database_is_judged(change: dict[str, object], expected: list[Level]) -> None:
    assert [level(finding) for finding in database.judge(stored(**change), "db/muster")] == expected


def test_a_database_that_is_away_is_a_problem_with_its_remedy() -> None:
    finding = database.judge_error(StoreUnavailable("database db/muster: Connection refused."), "db/muster")
    assert level(finding) is Level.PROBLEM
    assert finding.seen == "database db/muster: Connection refused."
