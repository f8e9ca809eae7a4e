"""The files that one reading opened: each once, and all of them watched afterwards."""

from __future__ import annotations

from pathlib import Path

from validator.files import FileContent, FileError, read_file
from validator.pem import MAX_CA_BYTES


class ReadSet:
    """Lives as long as one reading."""

    def __init__(self) -> None:
        self._asked: dict[Path, FileContent | FileError] = {}

    @property
    def paths(self) -> tuple[Path, ...]:
        """Everything that was asked for, also what could not be read: it may come."""
        return tuple(self._asked)

    def read(self, path: Path, max_bytes: int) -> FileContent:
        """A file's content. Raises `FileError`."""
        try:
            content = read_file(path, max_bytes)
        except FileError as error:
            self._asked[path] = error
            raise
        self._asked[path] = content
        return content

    def ca_text(self, path: Path) -> str:
        """Text of a CA file; a thousand clusters may share one. Raises `FileError`."""
        known = self._asked.get(path)
        if isinstance(known, FileError):
            raise FileError(known.message, known.remedy)
        return (known or self.read(path, MAX_CA_BYTES)).text
