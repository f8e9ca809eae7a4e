"""The image, as far as its recipe tells without an engine: who runs it, what it writes, where its parts come from."""

from __future__ import annotations

import json
import re
import shlex
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
Instruction = tuple[str, str]


def instructions(text: str) -> list[Instruction]:
    """Name and arguments of each, with comments dropped and continued lines joined, as the builder reads them."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", kept)
    found = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(parts[0].upper(), parts[1] if len(parts) > 1 else "") for parts in found]


def stages() -> list[list[Instruction]]:
    made: list[list[Instruction]] = [[]]
    for instruction in instructions(DOCKERFILE.read_text()):
        if instruction[0] == "FROM":
            made.append([])
        made[-1].append(instruction)
    return made[1:]


def last(name: str) -> str:
    return [arguments for found, arguments in stages()[-1] if found == name][-1]


def test_it_is_built_in_stages_from_one_pinned_base() -> None:
    (base,) = [arguments for name, arguments in instructions(DOCKERFILE.read_text()) if name == "ARG"]
    assert re.fullmatch(r"PYTHON=python:3\.\d+\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", base), "a moving tag"
    assert len(stages()) == 2
    assert all(stage[0][1].startswith("${PYTHON}") for stage in stages())


def test_it_runs_as_a_number_that_is_not_root() -> None:
    """Kubernetes' runAsNonRoot can't tell who a name is."""
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", last("USER"))
    uid = last("USER").partition(":")[0]
    assert f"useradd --uid {uid}" in last("RUN"), "initdb needs its user in /etc/passwd"
    names = [name for name, _ in stages()[-1]]
    assert names.index("USER") > names.index("RUN")
    assert not [name for name in names[names.index("USER") :] if name in {"RUN", "COPY", "ADD"}]


def test_no_shell_is_needed_to_run_it() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["/opt/muster/bin/muster"]
    assert json.loads(last("CMD")) == ["run"]
    assert last("HEALTHCHECK") == "NONE"
    assert last("STOPSIGNAL") == "SIGTERM"


def test_everything_that_is_written_is_on_a_volume() -> None:
    volumes = set(json.loads(last("VOLUME")))
    assert volumes == {"/var/lib/muster", "/run/muster"}
    variables = dict(pair.split("=", 1) for pair in shlex.split(last("ENV")))
    assert {variables[name] for name in ("MUSTER_DATA_DIR", "MUSTER_RUNTIME_DIR", "HOME")} <= volumes
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"
    assert last("WORKDIR") in volumes
    made = next(arguments for name, arguments in stages()[-1] if name == "RUN")
    assert all(volume in made for volume in volumes), "a volume takes its owner and mode from the image"


def test_what_is_installed_is_checked_by_hash_and_nothing_else_is_fetched() -> None:
    steps = [step.strip() for name, run in stages()[0] if name == "RUN" for step in run.split("&&")]
    fetching = [step for step in steps if re.search(r"pip (install|wheel|download)", step)]
    assert fetching
    for step in fetching:
        assert "--no-index" in step or ("--require-hashes" in step and "requirements.lock" in step), step
    assert not [run for name, run in stages()[-1] if name == "RUN" and re.search(r"pip|apt|curl|wget", run)]
    lock = (ROOT / "requirements.lock").read_text()
    assert "--hash=sha256:" in lock


def test_no_secret_can_be_baked_in() -> None:
    text = DOCKERFILE.read_text()
    assert "ADD" not in [name for name, _ in instructions(text)]
    assert not re.search(r"(?i)(password|token|secret|database_url)\s*=", text)
    (argument,) = [arguments for name, arguments in instructions(text) if name == "ARG"]
    assert argument.startswith("PYTHON=")


def copied() -> list[str]:
    found = []
    for stage in stages():
        for name, arguments in stage:
            if name == "COPY" and "--from=" not in arguments:
                found += [part for part in shlex.split(arguments)[:-1] if not part.startswith("--")]
    return found


@pytest.mark.parametrize("path", copied())
def test_every_file_that_it_copies_exists_and_is_sent_to_the_builder(path: str) -> None:
    assert (ROOT / path).exists()
    rules = [
        line
        for line in DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert rules[0] == "*", "what is not named stays out"
    assert any(rule.startswith("!") and fnmatch(path, rule[1:]) for rule in rules), f"{path} is ignored"


def test_it_has_every_package_that_the_distribution_is_made_of() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/py.typed")}
    assert packages <= set(copied()), "pyproject.toml's packages"
    assert {"pyproject.toml", "README.md", "LICENSE", "requirements.lock"} <= set(copied())
