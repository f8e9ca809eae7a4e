"""Named SQL: one `.sql` file a package, read once, addressed by name.

aiosql was considered. It would put an adapter between our statements and asyncpg: it rewrites `:name` into `$n`, picks
the call by a suffix of the name, and hides which parameter is which from a reader of the file. We want the
statement that `EXPLAIN` takes to be the one in the file, and twenty lines read it.

The format:

    -- name: live_clusters
    -- Every cluster that is not Gone, for the first picture after a start.
    SELECT id FROM clusters WHERE lifecycle <> 'Gone';
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

_HEADER = re.compile(r"^--\s*name:(.*)$", re.MULTILINE)
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Queries(Mapping[str, str]):
    """Immutable mapping of name to SQL. An unknown name is a `KeyError` that names the file."""

    def __init__(self, path: Path, statements: Mapping[str, str]) -> None:
        self._path = path
        self._statements = dict(statements)

    def __getitem__(self, name: str) -> str:
        try:
            return self._statements[name]
        except KeyError:
            raise KeyError(f"{self._path} has no query named {name!r}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)

    def __len__(self) -> int:
        return len(self._statements)


def load_queries(path: Path) -> Queries:
    """Read a file of named queries. Raises `ValueError` naming file and section: a defect of ours, seen at import."""
    preamble, *sections = _HEADER.split(path.read_text(encoding="utf-8"))
    if any(line.strip() and not line.startswith("--") for line in preamble.splitlines()):
        raise ValueError(f"{path}: SQL before the first `-- name:` line has no name")
    statements: dict[str, str] = {}
    for raw_name, body in zip(sections[::2], sections[1::2], strict=True):
        name = raw_name.strip()
        purpose, _, sql = body.removeprefix("\n").partition("\n")
        if not _NAME.fullmatch(name):
            raise ValueError(f"{path}: `-- name: {name}` needs a snake_case name")
        if name in statements:
            raise ValueError(f"{path}: the name {name!r} is given twice")
        if not purpose.startswith("-- "):
            raise ValueError(f"{path}: {name} needs its purpose in one `-- …` line below its name")
        if not sql.strip():
            raise ValueError(f"{path}: {name} has no SQL")
        statements[name] = sql.strip()
    return Queries(path, statements)
