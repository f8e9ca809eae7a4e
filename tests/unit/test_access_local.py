"""The local token's file: who can read it, and what keeps it from being left."""

from __future__ import annotations

import os
import stat
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from muster.access.local import LocalToken, LocalTokenError, token_path
from muster.access.secret import is_token


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "run"
    monkeypatch.setenv("MUSTER_RUNTIME_DIR", str(home))
    return home


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_the_file_is_its_users_alone_and_goes_with_the_service(home: Path) -> None:
    token = LocalToken()
    with token.left("127.0.0.1", 8645) as path:
        assert path == home / "127.0.0.1-8645.token" == token_path("127.0.0.1", 8645)
        assert (mode(home), mode(path)) == (0o700, 0o600)
        secret = path.read_text().strip()
        assert is_token(secret)
        assert token.is_(secret)
        assert list(home.iterdir()) == [path]
    assert list(home.iterdir()) == []


def test_it_is_new_at_each_start() -> None:
    with LocalToken().left("::1", 1) as path:
        first = path.read_text()
        assert path.name == "__1-1.token"
    with LocalToken().left("::1", 1) as path:
        assert path.read_text() != first


@pytest.mark.parametrize(("host", "name"), [("0.0.0.0", "127.0.0.1-9.token"), ("::", "__1-9.token")])
def test_a_service_on_all_addresses_leaves_it_for_loopback(host: str, name: str) -> None:
    with LocalToken().left(host, 9) as path:
        assert path.name == name


def test_a_file_that_a_killed_service_has_left_is_replaced(home: Path) -> None:
    home.mkdir(mode=0o700)
    stale = home / "127.0.0.1-8645.token"
    stale.write_text("stale")
    stale.chmod(0o644)
    with LocalToken().left("127.0.0.1", 8645) as path:
        assert is_token(path.read_text().strip())
        assert mode(path) == 0o600


def test_the_file_of_another_service_stays(home: Path) -> None:
    with LocalToken().left("127.0.0.1", 8645) as path:
        path.write_text("another's\n")
    assert path.read_text() == "another's\n"


def test_a_directory_that_others_can_write_to_is_refused(home: Path) -> None:
    home.mkdir()
    home.chmod(0o777)
    with pytest.raises(LocalTokenError, match=r"can be written by others.*MUSTER_RUNTIME_DIR"), _left():
        pass
    assert list(home.iterdir()) == []


def test_a_link_to_a_directory_is_refused(home: Path, tmp_path: Path) -> None:
    home.symlink_to(tmp_path)
    with pytest.raises(LocalTokenError, match="is no directory"), _left():
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused(home: Path) -> None:
    home.mkdir(mode=0o700)
    os.chown(home, 65520, 65520)
    with pytest.raises(LocalTokenError, match="belongs to uid 65520"), _left():
        pass


def test_a_file_where_the_directory_should_be_is_told(home: Path) -> None:
    home.write_text("")
    with pytest.raises(LocalTokenError, match="no local token"), _left():
        pass


def _left() -> AbstractContextManager[Path]:
    return LocalToken().left("127.0.0.1", 1)
