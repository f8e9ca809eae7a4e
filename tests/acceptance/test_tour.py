"""The documentation is true: what it says to run runs, on a demo, and every command in it is one that there is.

Blocks that begin with "sh run" are run line by line in one shell, as a reader would type them; all other commands are
held against the command line's own parser.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from muster.cli.run import demo as demo_command
from tests.support.cli import muster as here
from tests.support.need import need
from tests.support.runtime import bearer
from tests.support.service import dying_with_us, environment, muster, own_directory, until

ROOT = Path(__file__).parents[2]

WRITTEN = ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]

CLUSTERS = 12
"""The plot of the demo names its clusters by its seed alone, so those of 200 are there."""

BY_EXIT_CODE = {"status", "cluster", "clusters", "probe", "validate", "matrix", "locations"}
"""Commands whose exit code 1 says that something is broken, which something in a demo is."""

FOLLOW_S = 2
"""For what goes on until Ctrl-C."""

INTERRUPTED = {124, 130}
"""Of `timeout` and of a shell."""

REFUSED = 22
"""Of curl, where the API answers with a problem."""

SAYS = {
    "idempotency-replayed": r"^\s*true$",
    '"p0-1"': "/problems/precondition-failed",
    "If-None-Match": r"304|200",
    "--health suspended": "dune-westeurope-01",
    "token list": "grafana",
    "/events": r"event: hello",
    "muster audit": "cluster.pause",
}
"""What the answers to some commands have in them."""

_BLOCK = re.compile(r"^```sh( run)?\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Demo:
    """What `muster demo` starts, without its screen."""

    url: str
    directory: Path
    """Where the reader's shell is."""


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    options = ("--clusters", str(CLUSTERS), "--dead", "0.5", "--seed", "7", "--listen", "127.0.0.1:0")
    with own_directory() as own, (own / "log").open("wb") as log:
        (own / "shell").mkdir()
        process = subprocess.Popen(
            dying_with_us(sys.executable, "-m", "muster.demo.service", *options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment({"TMPDIR": str(own)}),
        )
        assert process.stdout is not None
        try:
            url = str(json.loads(process.stdout.readline())["url"])
            until(lambda: "dune-westeurope-01" in muster("clusters", server=url).out, 20, "the clusters are there")
            yield Demo(url, own / "shell")
        finally:
            process.terminate()
            process.wait(15)
            process.stdout.close()


@pytest.mark.parametrize("place", ["docs/tour.md", "docs/api.md"])
def test_what_is_to_be_run_runs(demo: Demo, place: str) -> None:
    for program in ("curl", "awk", "timeout"):
        need(shutil.which(program), f"{program} for the commands of {place}")
    lines = [line for block in blocks(place, run=True) for line in block.splitlines()]
    assert len(lines) > 10
    done = subprocess.run(
        ["bash", "-c", script(lines, demo.url)],
        cwd=demo.directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment({"MUSTER_SERVER": demo.url, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}),
    )
    answers = re.findall(r"(.*?)\n@@ (\d+)\n", done.stdout, re.DOTALL)
    assert len(answers) == len(lines), done.stdout + done.stderr
    for line, (said, code) in zip(lines, answers, strict=True):
        assert int(code) in allowed(line), f"{line}\n{said}\n{code}\n{done.stderr}"
        for part, answer in SAYS.items():
            assert part not in line or re.search(answer, said), f"{line}\n{said}"


def script(lines: list[str], url: str) -> str:
    """One shell that goes through them all and tells each exit code; what would follow for ever is interrupted."""
    said = ["set -uo pipefail", 'curl() { command curl --fail-with-body "$@"; }']
    for line in lines:
        command = line.replace("http://127.0.0.1:8645", url)
        said += [f"timeout -s INT {FOLLOW_S} {command}" if goes_on(line) else command, r'printf "\n@@ %s\n" "$?"']
    return "\n".join(said)


def goes_on(line: str) -> bool:
    return "Ctrl-C" in line or line.endswith("/events") or "/api/v1/events " in line


def allowed(line: str) -> set[int]:
    if goes_on(line):
        return INTERRUPTED
    if '"p0-1"' in line:
        return {REFUSED}
    words = line.split()
    return {0, 1} if words[0] == "muster" and words[1] in BY_EXIT_CODE else {0}


def test_prometheus_can_read_what_the_tour_configures(demo: Demo) -> None:
    (text,) = re.findall(r"^```yaml\n(# prometheus.yml.*?)^```", read("docs/tour.md"), re.DOTALL | re.MULTILINE)
    (job,) = yaml.safe_load(text)["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert target == "127.0.0.1:8645"
    token = demo.directory / "scraped.token"
    made = muster("token", "create", "scraped", "--role", "viewer", "--save", str(token), server=demo.url)
    assert made.code == 0, made.err
    assert set(job["authorization"]) == {"credentials_file"}
    request = urllib.request.Request(f"{demo.url}/metrics", headers=bearer(token.read_text().strip()))
    with urllib.request.urlopen(request, timeout=10) as answer:
        metrics = answer.read().decode()
    for name in re.findall(r"`(muster_\w+)`", read("docs/tour.md") + read("docs/operations.md")):
        assert f"# TYPE {name}" in metrics, name


def test_the_tour_is_of_the_demo_as_it_is() -> None:
    text = read("docs/tour.md")
    assert "make demo" in text
    assert "muster demo" in read("Makefile")
    defaults = inspect.signature(demo_command).parameters
    assert f"{defaults['clusters'].default} simulated clusters" in text
    assert defaults["listen"].default == "127.0.0.1:8645"


# -- commands that are not run


@pytest.mark.parametrize("place", WRITTEN)
def test_every_command_of_the_documentation_is_one_that_there_is(place: str) -> None:
    for block in blocks(place):
        for line in block.replace("\\\n", " ").splitlines():
            for words in commands(line):
                result = here(*words, "--help")
                assert result.exit_code == 0, f"{place}: muster {shlex.join(words)}: {result.output}"


def commands(line: str) -> Iterator[list[str]]:
    """The arguments of each `muster` in a line of a shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*(lexer if "muster" in line else ()), ";"]:
        if word[0] not in ";|&<>()":
            words += [word] if words or not re.match(r"\w+=", word) else []
            continue
        if words and Path(words[0]).name == "muster":
            yield words[1 : words.index("--") if "--" in words else None]
        words = []


def blocks(place: str, *, run: bool = False) -> list[str]:
    """Its blocks of shell commands; only those that are to be run."""
    return [text for marked, text in _BLOCK.findall(read(place)) if marked or not run]


def read(place: str) -> str:
    return (ROOT / place).read_text(encoding="utf-8")
