"""`muster db` as people run it, with and without a service beside it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import Ran, embedded_url, muster, own_directory, rows, running_service, users_of

CANARY = "canary-9f2c"


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with own_directory() as directory:
        yield directory / "data"


def db(*arguments: str | Path, data_dir: Path | None = None, url: str = "") -> Ran:
    variables = {"MUSTER_DATA_DIR": str(data_dir or ""), "MUSTER_DATABASE_URL": url}
    return muster("db", *map(str, arguments), environ=variables)


def test_a_backup_beside_the_service_and_its_way_back(data_dir: Path, tmp_path: Path) -> None:
    backup = tmp_path / "fleet.muster"
    with running_service("--static", clusters_file(tmp_path), data_dir=data_dir) as service:
        dumped = db("dump", backup, data_dir=data_dir)
        assert dumped.code == 0, dumped.err
        assert "rows of" in dumped.out
        refused = db("restore", "--replace", backup, data_dir=data_dir)
        assert refused.code == 1
        assert "a service leads on this database" in refused.err
        shell = db("psql", "--", "-Atc", "SELECT name FROM clusters", data_dir=data_dir)
        assert (shell.code, shell.out) == (0, "edge-1\n"), shell.err
        assert service.ready()
        service.stop(signal.SIGTERM)

    assert db("psql", "--", "-c", "DELETE FROM clusters", data_dir=data_dir).code == 0
    again = db("restore", backup, data_dir=data_dir)
    assert again.code == 1
    assert "--replace" in again.err
    assert db("psql", "--", "-Atc", "SELECT name FROM clusters", data_dir=data_dir).out == ""
    restored = db("restore", "--replace", backup, data_dir=data_dir)
    assert restored.code == 0, restored.err
    assert db("psql", "--", "-Atc", "SELECT name FROM clusters", data_dir=data_dir).out == "edge-1\n"
    assert users_of(data_dir) == [], "a command has left its PostgreSQL behind"
    with running_service("--static", clusters_file(tmp_path), data_dir=data_dir) as service:
        assert list(service.clusters()) == ["edge-1"]


def clusters_file(directory: Path) -> Path:
    path = directory / "clusters.yaml"
    path.write_text("clusters:\n- name: edge-1\n  server: https://127.0.0.1:9\n  insecure-skip-tls-verify: true\n")
    return path


def test_from_the_embedded_database_into_ones_own(database_url: str, data_dir: Path, tmp_path: Path) -> None:
    backup = tmp_path / "fleet.muster"
    checked = db("migrate", "--check", data_dir=data_dir)
    assert checked.code == 2
    assert "there is no database in" in checked.err
    assert not data_dir.exists()
    made = db("migrate", data_dir=data_dir)
    assert made.code == 0
    assert "store/0001_leadership" in made.out
    assert db("dump", backup, data_dir=data_dir).code == 0

    listed = db("migrate", "--check", url=database_url)
    assert listed.code == 1
    assert "collector/0001_fleet" in listed.out
    assert db("restore", backup, url=database_url).code == 0
    upto = db("migrate", "--check", url=database_url)
    assert (upto.code, upto.out) == (0, "The schema is up to date.\n")
    (epoch,) = rows(database_url, "SELECT epoch FROM leadership")
    assert epoch["epoch"] == 1


def test_what_cannot_be_done_is_said(data_dir: Path, tmp_path: Path) -> None:
    for command in (("dump", tmp_path / "d"), ("psql",)):
        absent = db(*command, data_dir=data_dir)
        assert absent.code != 0
        assert "there is no database in" in absent.err
        assert "--data-dir" in absent.err
    text = tmp_path / "text"
    text.write_text("no dump")
    damaged = db("restore", text, data_dir=data_dir)
    assert damaged.code == 1
    assert "no dump of Muster" in damaged.err
    assert not data_dir.exists(), "a database was made for a dump that is none"
    secret = f"postgresql://muster:{CANARY}@127.0.0.1:1/muster"
    commands: tuple[tuple[str | Path, ...], ...]
    commands = ("dump", tmp_path / "d"), ("migrate",), ("restore", text), ("psql", "--", "-c", "SELECT 1")
    for line in commands:
        away = db(*line, url=secret)
        assert away.code != 0
        assert CANARY not in away.out + away.err
    assert not (tmp_path / "d").exists()


def test_the_password_is_in_no_command_line(database_url: str) -> None:
    seen = db("psql", "--", "-Atc", "\\! tr '\\0' ' ' < /proc/$PPID/cmdline", url=database_url)
    assert seen.code == 0, seen.err
    password = database_url.partition("postgres:")[2].partition("@")[0]
    assert "psql -d postgresql://" in seen.out
    assert password not in seen.out


def test_the_embedded_database_is_found_where_a_long_path_moved_its_socket(data_dir: Path, tmp_path: Path) -> None:
    deep = data_dir.with_name("d" * 90)
    with running_service(data_dir=deep, environ={"MUSTER_STATIC": str(clusters_file(tmp_path))}):
        assert not Path(embedded_url(deep).partition("host=")[2].partition("&")[0]).exists()
        assert db("migrate", "--check", data_dir=deep).code == 0
