"""`muster version`."""

from __future__ import annotations

import platform
from importlib.metadata import version as version_of

HELP = """Say which release this is.

`muster status` shows the release of the service that runs.
"""


def version() -> None:
    """See `HELP`."""
    print(f"muster {version_of('muster')} (Python {platform.python_version()}, {platform.system()})")
