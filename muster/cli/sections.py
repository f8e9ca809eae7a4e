"""The commands under headings, most used first. Only the help knows of them: a command works without a heading."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from typer.core import TyperGroup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SECTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "See how the fleet is": ("status", "clusters", "cluster", "history", "events", "availability", "probe"),
        "Do something about a cluster": ("validate", "pause", "resume"),
        "Look after backup locations": ("matrix", "locations"),
        "Run the service": ("demo", "run", "agent", "config", "doctor", "log-level", "db", "support-bundle"),
        "Be one's own vendor": ("receiver",),
        "Decide what may leave": ("telemetry",),
        "Let people and programs in": ("login", "token", "audit"),
    }
)

REST = "More"
"""Heading of those that have none."""


class Sections(TyperGroup):
    """The top of the command line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Typer's own panels need rich, which takes longer to import than everything else in `--help`."""
        room = formatter.width - 6 - max(map(len, self.commands))
        for heading, names in self._sections():
            rows = [(name, self.commands[name].get_short_help_str(room)) for name in names]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def _sections(self) -> Iterator[tuple[str, list[str]]]:
        there = [name for name, command in self.commands.items() if not command.hidden]
        for heading, names in SECTIONS.items():
            yield heading, [name for name in names if name in there]
        listed = {name for names in SECTIONS.values() for name in names}
        yield REST, [name for name in there if name not in listed]
