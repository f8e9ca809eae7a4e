"""Where the token comes from, to whom it is shown, and what to do without one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from muster.access.local import token_path
from muster.cli.bearer import find_bearer, is_this_machine
from muster.cli.errors import BadServer
from tests.support.cli import made_up, muster
from tests.support.hub import TOKENS, served
from tests.support.scripted import Asked, http, problem, scripted

TOKEN = "muster_" + "Ab-_" * 10 + "xyz"


def token_file(directory: Path, text: str = TOKEN + "\n", mode: int = 0o600) -> Path:
    path = directory / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


async def test_the_local_user_needs_no_token() -> None:
    with served(made_up()) as url:
        assert muster("status", server=url).exit_code == 0
        assert muster("status", server=url.replace("127.0.0.1", "localhost")).exit_code == 0


async def test_a_named_token_goes_before_the_local_one(tmp_path: Path) -> None:
    viewer = str(token_file(tmp_path, TOKENS["viewer"]))  # type: ignore[index]
    with served(made_up()) as url:
        assert muster("status", "--token-file", viewer, server=url).exit_code == 0
        refused = muster("log-level", server=url, MUSTER_TOKEN_FILE=viewer)
        assert refused.exit_code == 4
        assert "admin" in refused.stderr
        assert "muster token create NAME --role ROLE" in refused.stderr
        assert muster("log-level", server=url).stdout.strip() in {"debug", "info", "warning", "error"}


async def test_without_a_token_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with served(made_up()) as url:
        monkeypatch.setenv("MUSTER_RUNTIME_DIR", str(tmp_path))
        refused = muster("status", server=url)
    assert refused.exit_code == 4
    assert "the user who runs the service" in refused.stderr
    assert "--token-file FILE or MUSTER_TOKEN_FILE" in refused.stderr


async def test_a_token_that_no_longer_works_is_named_by_its_file(tmp_path: Path) -> None:
    path = token_file(tmp_path)
    with served(made_up()) as url:
        refused = muster("status", "--token-file", str(path), server=url)
    assert refused.exit_code == 4
    assert f"The token in {path} has expired, was revoked, or is of another service" in refused.stderr
    assert TOKEN not in refused.output


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o601])
def test_a_token_that_others_can_reach_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = token_file(tmp_path, mode=mode)
    refused = muster("status", "--token-file", str(path))
    assert refused.exit_code == 2
    assert f"{mode:04o}" in refused.stderr
    assert f"chmod 600 {path}" in refused.stderr


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_token_of_ones_own_is_taken_with_white_space_around_it(tmp_path: Path, mode: int) -> None:
    bearer = find_bearer("10.0.0.1", 1, token_file(tmp_path, f"\n {TOKEN}\r\n", mode))
    assert bearer is not None
    assert bearer.secret == TOKEN
    assert TOKEN not in repr(bearer)


@pytest.mark.parametrize(
    "text", ["", "secret", TOKEN + "x", TOKEN[:-1], f"{TOKEN}\n{TOKEN}", TOKEN + "\r\nX-Evil: 1", " " * 5000 + TOKEN]
)
def test_what_is_no_token_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    refused = muster("status", "--token-file", str(token_file(tmp_path, text)))
    assert refused.exit_code == 2
    assert "holds no token of Muster" in refused.stderr
    assert "secret" not in refused.stderr


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path, says in (
        (tmp_path / "fifo", "no regular file"),
        (tmp_path / "none", "No such file"),
        (tmp_path, "directory"),
    ):
        refused = muster("status", "--token-file", str(path))
        assert refused.exit_code == 2
        assert says in refused.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_somebody_elses_token_is_refused(tmp_path: Path) -> None:
    path = token_file(tmp_path)
    os.chown(path, 12345, 12345)
    with pytest.raises(BadServer, match="uid 12345"):
        find_bearer("127.0.0.1", 1, path)


def test_the_local_token_goes_to_this_machine_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MUSTER_RUNTIME_DIR", str(tmp_path))
    for host in ("127.0.0.1", "10.0.0.1", "example.com"):
        token_path(host, 8645).write_text(TOKEN)
        token_path(host, 8645).chmod(0o600)
    assert find_bearer("127.0.0.1", 8645, None) is not None
    assert find_bearer("localhost", 8645, None) is not None
    for host, port in (("127.0.0.1", 8646), ("::1", 8645), ("10.0.0.1", 8645), ("example.com", 8645)):
        assert find_bearer(host, port, None) is None
    assert [is_this_machine(h) for h in ("127.9.9.9", "::1", "localhost", "localhost.evil", "0.0.0.0")] == [
        True,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("server", ["http://10.1.2.3:8645", "http://muster.example.com", "http://127.0.0.1.evil"])
def test_a_token_is_never_shown_in_clear_text(tmp_path: Path, server: str) -> None:
    refused = muster("status", "--server", server, "--token-file", str(token_file(tmp_path)))
    assert refused.exit_code == 2
    assert "show the token to everybody on the way" in refused.stderr
    assert "https://" in refused.stderr


def test_the_token_is_a_header_and_nothing_else(tmp_path: Path) -> None:
    def answer(asked: Asked) -> list[bytes]:
        return [problem("forbidden", 403)]

    with scripted(answer) as service:
        muster("status", "--token-file", str(token_file(tmp_path)), server=service.url)
    (asked,) = service.asked
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in asked.target


def test_a_redirect_is_not_followed_and_the_token_stays_here(tmp_path: Path) -> None:
    with scripted(lambda _: [http("{}")]) as elsewhere:

        def answer(asked: Asked) -> list[bytes]:
            return [http("", status="307 X", more=f"Location: {elsewhere.url}{asked.target}\r\n")]

        with scripted(answer) as service:
            for command in (["status"], ["pause", "x", "--reason", "r"], ["validate", "x"], ["events", "-f"]):
                refused = muster(*command, "--token-file", str(token_file(tmp_path)), server=service.url)
                assert refused.exit_code == 3
                assert f"redirects to {elsewhere.url}" in refused.stderr
        assert elsewhere.asked == []


def test_a_token_is_made_shown_once_and_kept_in_a_file_of_ones_own(tmp_path: Path) -> None:
    document = {
        "id": "00000000-0000-4000-8000-000000000000",
        "name": "ci",
        "prefix": TOKEN[:12],
        "role": "operator",
        "created_at": "2026-11-21T12:00:00Z",
        "created_by": "me",
        "expires_at": None,
        "last_used_at": None,
        "revoked_at": None,
        "secret": TOKEN,
    }
    with scripted(lambda _: [http(json.dumps(document), status="201 Created")]) as service:
        made = muster("token", "create", "ci", "--role", "operator", "--expires", "never", server=service.url)
        assert made.stdout == TOKEN + "\n"
        assert TOKEN not in made.stderr
        assert service.asked[0].json == {"name": "ci", "role": "operator", "expires_in_s": None}
        path = tmp_path / "ci.token"
        saved = muster("token", "create", "ci", "--role", "operator", "--save", str(path), server=service.url)
        assert saved.exit_code == 0
        assert TOKEN not in saved.output
        assert path.stat().st_mode & 0o777 == 0o600
        assert find_bearer("10.0.0.1", 1, path) is not None
        before = len(service.asked)
        again = muster("token", "create", "ci", "--role", "operator", "--save", str(path), server=service.url)
        assert again.exit_code == 2
        assert "No token was made" in again.stderr
        assert len(service.asked) == before


def test_a_token_that_was_refused_leaves_no_file(tmp_path: Path) -> None:
    with scripted(lambda _: [problem("already-exists", 409, "ci works already.")]) as service:
        refused = muster("token", "create", "ci", "--role", "viewer", "--save", str(tmp_path / "f"), server=service.url)
    assert refused.exit_code == 2
    assert "ci works already." in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_token_whose_answer_was_lost_is_not_made_again() -> None:
    with scripted(lambda _: []) as service:
        lost = muster("token", "create", "ci", "--role", "viewer", server=service.url)
    assert lost.exit_code == 3
    assert "revoke it: nobody knows its secret" in lost.stderr
    assert len(service.asked) == 1
