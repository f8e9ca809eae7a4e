"""Help, and command lines that make no sense."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import time
from typing import Any

import pytest
from typer.main import get_command

from muster.cli.app import app
from tests.support.cli import muster


def commands() -> list[str]:
    """Every command that there is, those of groups with their group's name before them."""

    def below(command: Any, name: str) -> list[str]:
        inner = getattr(command, "commands", None)
        if inner is None:
            return [name]
        deeper = [each for sub in inner for each in below(inner[sub], f"{name} {sub}".strip())]
        return [name, *deeper] if name else deeper

    return below(get_command(app), "")


@pytest.mark.parametrize("command", commands())
def test_help_teaches_with_examples(command: str) -> None:
    result = muster(*command.split(), "--help", COLUMNS="100")
    assert result.exit_code == 0
    assert "See `" not in result.stdout
    assert "Examples:" in result.stdout or "\nCommands:\n" in result.stdout or command == "version"
    assert f"muster {command}" in result.stdout.partition("Examples:")[2] or "Examples:" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_every_example_in_the_help_is_a_command_line_that_parses() -> None:
    examples = [
        re.split(r"  +| \| | >| && | \|\| ", line.strip())[0].removeprefix(
            "MUSTER_DATABASE_URL=postgresql://muster:…@db/muster "
        )
        for command in ("", *commands())
        for line in muster(*command.split(), "--help").stdout.splitlines()
        if re.match(r" +(MUSTER_DATABASE_URL=\S+ )?muster [a-z]", line)
    ]
    assert len(examples) > 60
    for example in examples:
        if "COMMAND" not in example:
            result = muster(*shlex.split(example.partition(" -- ")[0])[1:], "--help")
            assert result.exit_code == 0, (example, result.output)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, muster.cli.app as a\n"
        "heavy = {'aiohttp', 'uvloop', 'asyncpg', 'opentelemetry', 'rich', 'yaml', 'pydantic_settings'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=20).strip() == "[]"


def test_an_unknown_command_ends_with_2_and_a_suggestion() -> None:
    result = muster("staus")
    assert result.exit_code == 2
    assert "status" in result.stderr


def test_the_version_is_told() -> None:
    assert muster("version").stdout.startswith("muster 0.")


@pytest.mark.parametrize(
    ("arguments", "variables", "says"),
    [
        (["--interval", "5"], {}, ["MUSTER_INTERVAL_S (--interval): timeout_s is 10", "below the interval"]),
        (["--listen", "0.0.0.0:8645"], {}, ["MUSTER_LISTEN (--listen)", "clear text", "behind_proxy", "ssh -L"]),
        ([], {"MUSTER_INTERVAL_S": "soon"}, ["MUSTER_INTERVAL_S (--interval)", "number"]),
        (["--interval", "0.5", "--retention-days", "0"], {}, ["(--interval)", "(--retention-days)"]),
        (["--reference", "gateway:53"], {}, ["(--reference)", "give an IP address"]),
        (["--log-level", "loud"], {}, ["(--log-level)", "'debug', 'info'"]),
    ],
)
def test_settings_that_make_no_sense_end_with_2(
    arguments: list[str], variables: dict[str, str], says: list[str]
) -> None:
    result = muster("run", *arguments, **variables)
    assert result.exit_code == 2
    for words in says:
        assert words in result.stderr


@pytest.mark.parametrize("arguments", [["--clusters", "0"], ["--dead", "1.5"], ["--listen", "0.0.0.0:1"]])
def test_a_demo_that_makes_no_sense_ends_with_2(arguments: list[str]) -> None:
    assert muster("demo", *arguments).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "either a URL"),
        (["https://127.0.0.1:1", "--context", "prod"], "either a URL"),
        (["http://127.0.0.1:1"], "clear text"),
        (["https://u:p@127.0.0.1:1"], "user name or password"),
        (["https://127.0.0.1:1/path?x"], "? or #"),
        (["https://127.0.0.1:port"], "bad port"),
        (["127.0.0.1:1", "--ca", "/nowhere.pem"], "/nowhere.pem does not exist"),
        (["127.0.0.1:1", "--ca", "/dev/zero"], "no regular file"),
        (["127.0.0.1:1", "--token-file", "/nowhere"], "/nowhere does not exist"),
        (["127.0.0.1:1", "--insecure", "--token-file", "/nowhere"], "whoever answers"),
        (["--context", "prod", "--insecure"], "go with a URL"),
        (["--kubeconfig", "/nowhere"], "/nowhere does not exist"),
    ],
)
def test_a_probe_that_makes_no_sense_ends_with_2(arguments: list[str], says: str) -> None:
    result = muster("probe", *arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "u:p" not in result.output


def test_a_probe_of_nothing_ends_with_1_and_a_remedy() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        started = time.monotonic()
        result = muster("probe", f"127.0.0.1:{unused.getsockname()[1]}")
    assert time.monotonic() - started < 5
    assert result.exit_code == 1
    assert "○ Unreachable   apiserver   ConnectionRefused" in result.stdout
    assert re.search(r"✖ connect .*failed here", result.stdout)
    assert "What to do" in result.stdout
