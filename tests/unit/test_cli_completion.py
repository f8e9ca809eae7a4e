"""The shell's completion: names and words, with the token, within half a second, silent on every error."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from muster.api.listing import Sort
from muster.cli import completion
from tests.support.cli import MUSTER, break_one, made_up
from tests.support.hub import TOKENS, served
from tests.support.scripted import Asked, http, problem, scripted
from validator.reasons import Health


def completed(line: str, **variables: str) -> list[str]:
    """What bash is offered after this line."""
    words = line.split(" ")
    env = {
        **os.environ,
        "_MUSTER_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        **variables,
    }
    command = ["muster", *MUSTER[1:]]
    done = subprocess.run(
        [*MUSTER[:1], "-c", "import sys; sys.argv[0] = 'muster'; from muster.cli import main; main()"],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
        env=env,
    )
    assert done.stderr == "", command
    return done.stdout.split()


def test_names_come_from_the_service_with_the_token_of_the_line(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKENS["viewer"])  # type: ignore[index]
    token.chmod(0o600)
    hub = made_up()
    break_one(hub, "stage-1")
    with served(hub) as url:
        server = {"MUSTER_SERVER": url}
        assert completed("muster cluster sta", **server) == ["stage-1"]
        assert set(completed("muster history ", **server)) == {"prod-eu-1", "stage-1"}
        assert completed("muster pause pro", **server) == ["prod-eu-1"]
        nobody = {"MUSTER_RUNTIME_DIR": str(tmp_path)}
        assert completed("muster cluster sta", **server, **nobody) == []
        assert completed(f"muster cluster --server {url} --token-file {token} sta", **nobody) == ["stage-1"]


def test_words_are_completed_without_any_service() -> None:
    assert completion.healths("Unreachable,unh") == ["Unreachable,Unhealthy"]
    assert "ConnectTimeout" in completion.reasons("connectt")
    assert completion.sorts("-na") == ["-name"]
    assert completion.levels("d") == ["debug"]
    assert completed("muster clusters --health Unr") == ["Unreachable"]


def test_its_words_are_those_of_the_service() -> None:
    assert set(completion.HEALTHS) == {health.value for health in Health}
    assert set(completion.sorts("")) == {sort.value for sort in Sort}


def silent(_: Asked) -> Iterator[bytes]:
    time.sleep(5)
    yield b""


def endless(_: Asked) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    while True:
        yield b"[" * 1000
        time.sleep(0.01)


@pytest.mark.parametrize(
    "answer",
    [
        silent,
        endless,
        lambda _: [b"junk"],
        lambda _: [http("{}")],
        lambda _: [http("[" * 50_000)],
        lambda _: [http(json.dumps({"clusters": [7, {"name": 7}, {"name": "a\x1b[31m"}, {}]}))],
        lambda _: [http(json.dumps({"clusters": 7}))],
        lambda _: [problem("unauthenticated", 401)],
    ],
)
def test_it_is_silent_and_in_time_whatever_the_service_does(answer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer  # noqa: PLC0415 - for a context only

    from muster.cli.app import app  # noqa: PLC0415 - the same

    context = typer.Context(typer.main.get_command(app))
    with scripted(answer) as service:  # type: ignore[arg-type]
        monkeypatch.setenv("MUSTER_SERVER", service.url)
        started = time.monotonic()
        assert completion.names(context, "a") == []
        assert completion.tokens(context, "a") == []
        assert time.monotonic() - started < 2.5
    for server in ("nonsense", "http://10.0.0.1", "http://127.0.0.1:1"):
        monkeypatch.setenv("MUSTER_SERVER", server)
        assert completion.names(context, "") == []
