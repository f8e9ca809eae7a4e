"""The embedded database's place on disk, as far as it needs no server."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from store.child import Identity
from store.datadir import DataDir, ended_badly
from store.errors import StoreFull, StoreRefused
from store.owner import PRIVATE_IDS, default_data_dir, first_closed_directory, server_identity


def test_a_directory_without_data_has_no_version(tmp_path: Path) -> None:
    assert DataDir(tmp_path).major() is None


def test_a_damaged_directory_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "postgresql" / "data").mkdir(parents=True)
    with pytest.raises(StoreRefused, match="not a PostgreSQL data directory"):
        DataDir(tmp_path).major()


def test_a_lost_password_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="postgresql/password does not hold the password"):
        DataDir(tmp_path).password()


@pytest.mark.parametrize("output", ["x: No space left on device", "could not write: Disk quota exceeded"])
def test_a_full_disk_is_recognised_in_what_a_program_says(output: str) -> None:
    assert isinstance(ended_badly("initdb", output), StoreFull)


def test_the_telling_line_of_a_failure_is_shown() -> None:
    output = "LOG: starting\nFATAL: the sky has fallen\nLOG: database system is shut down\n"
    error = ended_badly("the server", output)
    assert isinstance(error, StoreRefused)
    assert "the sky has fallen" in error.message


@pytest.mark.parametrize("content", ["", "garbage\n", "999999999\n/data\n"])
def test_a_pid_file_that_names_no_process_is_left_to_postgresql(tmp_path: Path, content: str) -> None:
    pid_file = tmp_path / "postgresql" / "data" / "postmaster.pid"
    pid_file.parent.mkdir(parents=True)
    pid_file.write_text(content)
    DataDir(tmp_path).forget_stale_pid()
    assert pid_file.exists()


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="asks /proc")
def test_a_pid_file_is_removed_only_if_its_process_is_not_this_server(tmp_path: Path) -> None:
    cluster = tmp_path / "postgresql" / "data"
    cluster.mkdir(parents=True)
    pid_file = cluster / "postmaster.pid"
    for directory, stays in ((tmp_path, False), (cluster, True)):
        with subprocess.Popen(["/bin/sleep", "60"], cwd=directory) as process:
            pid_file.write_text(f"{process.pid}\n")
            DataDir(tmp_path).forget_stale_pid()
            assert pid_file.exists() is stays
            process.kill()


def test_the_closed_directory_on_the_way_is_found(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    target.mkdir(parents=True)
    us = tmp_path.stat()
    (tmp_path / "a").chmod(0o700)
    assert first_closed_directory(target, Identity(us.st_uid, us.st_gid)) is None
    stranger = Identity(us.st_uid + 12345, us.st_gid + 12345)
    for directory in (*tmp_path.parents, tmp_path):
        if not directory.stat().st_mode & 0o001:
            assert first_closed_directory(target, stranger) == next(
                path for path in (*reversed(target.parents), target) if not path.stat().st_mode & 0o001
            )
            return
    assert first_closed_directory(target, stranger) == tmp_path / "a"


def test_the_default_data_directory_follows_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/lib/muster")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere/data")
    assert default_data_dir() == Path("/somewhere/data/muster")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/ada")
    assert default_data_dir() == Path("/home/ada/.local/share/muster")


def test_as_root_the_server_runs_as_somebody_without_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    identity = server_identity(tmp_path / "absent")
    assert identity is not None
    assert identity.uid in PRIVATE_IDS
    assert identity.gid == identity.uid


def test_an_ordinary_user_runs_the_server_as_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert server_identity(tmp_path) is None
