"""Which migrations are applied, and which schema this code must not touch."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.errors import StoreRefused
from store.migrate import STORE_MIGRATIONS, Applied, Migration, MigrationSet, plan, read_migrations


def migration(number: int, *, sha256: str = "a", floor: int = 0, package: str = "collector") -> Migration:
    return Migration(package, number, f"{number:04d}_what", "SELECT 1", sha256, floor)


def row(number: int, *, sha256: str = "a", floor: int = 0, package: str = "collector") -> Applied:
    return Applied(package, number, f"{number:04d}_what", sha256, floor)


def test_only_what_is_missing_is_applied_in_order() -> None:
    files = [migration(1), migration(2), migration(3)]
    assert plan(files, [row(1)], 1) == files[1:]
    assert plan(files, [row(1), row(2), row(3)], 1) == []


def test_sets_do_not_get_in_each_others_way() -> None:
    files = [migration(1, package="store"), migration(1)]
    assert plan(files, [row(1, package="store"), row(2, package="store")], 1) == files[1:]


def test_an_old_release_runs_on_a_newer_schema() -> None:
    assert plan([migration(1)], [row(1), row(2, floor=3)], 3) == []


def test_a_schema_whose_floor_is_above_the_code_is_refused() -> None:
    applied = [row(1), row(2, floor=4), row(3)]
    with pytest.raises(StoreRefused, match=r"collector/0002_what .*version 4 or later, and this release has 3.*newer"):
        plan([migration(1)], applied, 3)


def test_a_changed_file_is_refused_by_name() -> None:
    with pytest.raises(StoreRefused, match=r"collector/0001_what\.sql is not the file"):
        plan([migration(1, sha256="b")], [row(1)], 1)


def test_a_file_below_the_applied_ones_is_refused_by_name() -> None:
    with pytest.raises(StoreRefused, match=r"collector/0002_what\.sql comes before 0003"):
        plan([migration(1), migration(2), migration(3)], [row(1), row(3)], 1)


def test_a_floor_above_the_code_that_brings_it_is_a_defect() -> None:
    with pytest.raises(StoreRefused, match="above this release's own 1"):
        plan([migration(1, floor=2)], [], 1)


def test_files_are_read_in_order_with_their_floor(tmp_path: Path) -> None:
    (tmp_path / "0002_later.sql").write_text("-- min_code_version: 7\nSELECT 2;\r\n")
    (tmp_path / "0001_first.sql").write_text("SELECT 1;\n")
    (tmp_path / "notes.md").write_text("not a migration")
    first, later = read_migrations([MigrationSet("x", tmp_path)])
    assert (first.label, first.min_code_version) == ("x/0001_first", 0)
    assert (later.label, later.min_code_version) == ("x/0002_later", 7)


def test_a_checkout_with_other_newlines_hashes_the_same(tmp_path: Path) -> None:
    unix, windows = tmp_path / "unix", tmp_path / "windows"
    for directory, newline in ((unix, "\n"), (windows, "\r\n")):
        directory.mkdir()
        (directory / "0001_a.sql").write_bytes(f"SELECT 1;{newline}SELECT 2;{newline}".encode())
    sets = [MigrationSet("x", unix), MigrationSet("y", windows)]
    first, second = read_migrations(sets)
    assert first.sha256 == second.sha256


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["1_short.sql"], r"1_short\.sql is not named NNNN_what\.sql"),
        (["0001_a.sql", "0001_b.sql"], r"0001_a\.sql and 0001_b\.sql share a number"),
    ],
)
def test_a_badly_named_file_is_refused_by_name(tmp_path: Path, names: list[str], problem: str) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(StoreRefused, match=problem):
        read_migrations([MigrationSet("x", tmp_path)])


def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="package data is missing"):
        read_migrations([MigrationSet("x", tmp_path / "gone")])


def test_the_stores_own_migrations_can_be_read() -> None:
    assert [migration.label for migration in read_migrations([STORE_MIGRATIONS])] == ["store/0001_leadership"]
