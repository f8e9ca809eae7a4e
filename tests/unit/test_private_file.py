"""Files for nobody else: refused where others may have had them, and never half written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from uplink.wire.private_file import PrivateFileError, read_private, write_private


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o700, 0o660])
def test_a_key_file_of_another_mode_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "private/key"
    write_private(path, b"secret")
    assert read_private(path, 99) == b"secret"
    path.chmod(mode)
    with pytest.raises(PrivateFileError, match=f"{mode:04o}"):
        read_private(path, 99)


def test_a_directory_of_another_mode_links_and_odd_files_are_refused(tmp_path: Path) -> None:
    directory = tmp_path / "private"
    write_private(directory / "key", b"secret")
    (directory / "link").symlink_to(directory / "key")
    os.mkfifo(directory / "pipe", 0o600)
    (directory / "inner").mkdir(0o600)
    for name in ("link", "pipe", "inner"):
        with pytest.raises(PrivateFileError):
            read_private(directory / name, 99)
    assert read_private(directory / "absent", 99) is None
    directory.chmod(0o750)
    with pytest.raises(PrivateFileError, match="chmod 700"):
        read_private(directory / "key", 99)
    with pytest.raises(PrivateFileError, match="chmod 700"):
        write_private(directory / "key", b"x")


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "private/key"
    write_private(path, b"old")
    (tmp_path / "private/taken").mkdir()
    with pytest.raises(PrivateFileError):
        write_private(tmp_path / "private/taken", b"new")
    assert sorted(each.name for each in path.parent.iterdir()) == ["key", "taken"]
    assert read_private(path, 99) == b"old"


def test_a_file_that_never_ends_is_not_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    write_private(tmp_path / "long", b"x" * 100)
    with pytest.raises(PrivateFileError, match="longer than 99 bytes"):
        read_private(tmp_path / "long", 99)
    assert read_private(tmp_path / "long", 100) == b"x" * 100
