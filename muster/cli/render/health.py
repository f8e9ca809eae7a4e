"""How a health looks: a shape and a word always, a colour where there are colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rich.text import Text

from muster.escape import escaped


@dataclass(frozen=True, slots=True)
class Look:
    """Of one health."""

    glyph: str
    """One cell wide in every common font. Shapes differ, so that colour is never needed."""
    style: str
    """Colours of the terminal's own sixteen: people have chosen those to be readable."""


LOOKS: Mapping[str, Look] = MappingProxyType(
    {
        "Unreachable": Look("○", "bright_red"),
        "Unhealthy": Look("✖", "red"),
        "Unknown": Look("?", "magenta"),
        "Degraded": Look("▲", "yellow"),
        "Suspended": Look("‖", "bright_black"),
        "Healthy": Look("✔", "green"),
    }
)
"""In the order in which people look."""

_STRANGE = Look("·", "cyan")
"""A health of a newer service."""

BROKEN = frozenset({"Unreachable", "Unhealthy", "Unknown"})
"""Healths that make a command end with 1."""


def look(health: str) -> Look:
    """Of a health, known or not."""
    return LOOKS.get(health, _STRANGE)


def badge(health: str, *, flapping: bool = False) -> Text:
    """Glyph and word; `~` marks a flapping one."""
    seen = look(health)
    return Text(f"{seen.glyph} {escaped(health)}{'~' if flapping else ''}", seen.style, no_wrap=True)


def is_broken(healths: Mapping[str, int]) -> bool:
    """Whether any cluster is in a state that should end a script."""
    return any(healths.get(health) for health in BROKEN)
