"""The wheel: the five packages, their SQL, pages and type markers, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("validator", "collector", "store", "uplink", "dashboards", "muster")
NOT_SOURCE = shutil.ignore_patterns("__pycache__")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, since setuptools leaves `build/` where it works; offline, since what builds it is locked."""
    tree, built = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("built")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in (*PACKAGES, "tests", "benchmarks"):
        shutil.copytree(ROOT / name, tree / name, ignore=NOT_SOURCE)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    made = subprocess.run(
        [*command, "--wheel-dir", built, tree], capture_output=True, text=True, timeout=50, check=False
    )
    assert made.returncode == 0, made.stderr
    (path,) = built.glob("*.whl")
    return path


def contents(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_holds_exactly_the_five_packages(wheel: Path) -> None:
    assert {name.partition("/")[0] for name in contents(wheel)} == set(PACKAGES)


def test_holds_every_source_file_and_nothing_that_is_none(wheel: Path) -> None:
    """A file that is not Python, SQL, `py.typed` or a page needs a line in pyproject.toml to get in: this says so."""
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {".sql", ".html", ".css", ".js"} <= {Path(name).suffix for name in sources}
    assert contents(wheel) == sources


def test_says_that_its_packages_are_typed(wheel: Path) -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= contents(wheel)


def test_brings_the_licence_and_the_command(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        info = {
            name.rpartition("/")[2]: archive.read(name).decode() for name in archive.namelist() if ".dist-info/" in name
        }
    assert "Apache License" in info["LICENSE"]
    assert "muster = muster.cli:main" in info["entry_points.txt"]
