"""Settings of the service: one file, overridden by `MUSTER_*` variables, overridden by the flags of `muster run`.

Every field says its unit and its reason. What makes no sense is refused at start with the place, what is allowed and
the remedy; nothing is corrected silently. This is the door of `muster/config/`.
"""

from __future__ import annotations

from pathlib import Path

from muster.config.fields import Settings
from muster.config.loading import Loaded, Loading, unknown_variables
from muster.config.problem import Origin, Problem, SettingsError, Source
from muster.config.values import DEFAULT_LISTEN

__all__ = [
    "DEFAULT_LISTEN",
    "Loaded",
    "Loading",
    "Origin",
    "Problem",
    "Settings",
    "SettingsError",
    "Source",
    "load_settings",
    "unknown_variables",
]


def load_settings(config: Path | None = None, /, **flags: object) -> Settings:
    """The settings of one command line; flags that are None or an empty list were not given. Raises `SettingsError`."""
    return Loading(config, flags).settings()
