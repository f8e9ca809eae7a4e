"""`muster version`."""

from __future__ import annotations

import platform
from importlib.metadata import version as version_of


def version() -> None:
    """Say which release this is."""
    print(f"muster {version_of('muster')} (Python {platform.python_version()}, {platform.system()})")
