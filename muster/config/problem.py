"""Mistakes in settings, and where values come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from muster.config.table import TABLE


class Source(IntEnum):
    """Where a value comes from; the higher wins."""

    DEFAULT = 0
    FILE = 1
    VARIABLE = 2
    FLAG = 3


@dataclass(frozen=True, slots=True)
class Origin:
    """Of one value."""

    source: Source
    name: str = ""
    """The file, the variable or the flag."""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = [str(number) for number in (self.line, self.column) if number is not None]
        return ":".join([self.name or "default", *place])


DEFAULT = Origin(Source.DEFAULT)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. Nothing in it quotes a value that may be secret."""

    origin: Origin
    key: str
    """The setting, if it is one; empty for what concerns the whole file or a name that is no setting."""
    message: str
    """What is wrong and what to do."""
    tells_allowed: bool = True
    """Whether the message says what is allowed; if not, the setting's row does."""

    @property
    def place(self) -> str:
        """Where to look: `/etc/muster/muster.toml:3: listen` or `MUSTER_LISTEN (--listen)`."""
        info = TABLE.get(self.key)
        if self.origin.source is Source.FILE:
            return f"{self.origin}: {self.key}" if self.key else str(self.origin)
        if info is None:
            return self.origin.name
        return f"{info.variable} ({info.flag})" if info.flag else info.variable

    @property
    def allowed(self) -> str:
        """Kind and bounds; empty where no setting is concerned."""
        return TABLE[self.key].allowed if self.key in TABLE else ""

    def __str__(self) -> str:
        told = self.message if self.tells_allowed or not self.allowed else f"{self.message}; allowed: {self.allowed}"
        return f"{self.place}: {told}"


class SettingsError(ValueError):
    """Settings that make no sense: all mistakes at once, a line each."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems, key=lambda one: (one.origin.source, one.origin.line or 0))
        super().__init__("\n".join(map(str, self.problems)))
