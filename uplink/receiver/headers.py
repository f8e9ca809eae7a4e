"""Headers for the backend that batches are sent on to, such as an API key: from a file, one `Name: value` a line.

Never from a flag or a variable, which other processes and crash reports show. Nothing here shows a value: no error and
no repr. The file is read again whenever the backend has not taken a batch, so a key is replaced without a restart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from validator.files import FileError, read_file

MAX_BYTES: Final = 16 * 1024
MAX_HEADERS: Final = 32

OURS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""What a body is and how it travels is not for a file to say."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_VALUE = re.compile(r"[!-~](?:[\t -~]*[!-~])?")


class HeadersError(ValueError):
    """The file can't be used. The text names it and the line, and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class HeadersFile:
    """Blank lines and lines that begin with `#` are passed over."""

    path: Path

    def read(self) -> Headers:
        """What it says now. Blocks on a dead file server: call it in a `FileThread`. Raises `HeadersError`."""
        try:
            content = read_file(self.path, MAX_BYTES)
            mode = self.path.stat().st_mode & 0o777
        except FileError as error:
            raise HeadersError(f"{error.message}. {error.remedy}") from None
        except OSError as error:
            raise HeadersError(f"{self.path}: {error.strerror}") from None
        if content.foreign_because is not None:
            raise HeadersError(f"{self.path} can't be trusted: {content.foreign_because}")
        if mode & 0o007:
            raise HeadersError(
                f"{self.path} has secrets in it, and its mode {mode:04o} lets everybody read it: chmod 600, or "
                "defaultMode 0440 of a mounted Secret"
            )
        found: dict[str, str] = {}
        for number, line in enumerate(content.text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            name, colon, value = line.partition(":")
            self._check(number, name, value.strip() if colon else "", found)
            found[name.lower()] = value.strip()
        return Headers(found)

    def _check(self, number: int, name: str, value: str, found: dict[str, str]) -> None:
        where = f"{self.path}, line {number}"
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise HeadersError(f"{where}: has to be `Name: value`, in printable ASCII")
        if name.lower() in OURS:
            raise HeadersError(f"{where}: this header is set by the receiver itself")
        if name.lower() in found:
            raise HeadersError(f"{where}: this header is there already")
        if len(found) == MAX_HEADERS:
            raise HeadersError(f"{where}: more than {MAX_HEADERS} headers")


@dataclass(frozen=True, slots=True)
class Headers:
    """By their names in lower case."""

    values: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def masked(self) -> dict[str, str]:
        """For logs."""
        return dict.fromkeys(self.values, "***")
