"""Every generated page, and its place in the repository. A test keeps them up to date."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from muster.config.page import settings_page
from muster.docs.api import api_page
from muster.docs.problems import problems_page
from muster.docs.reasons import reasons_page
from muster.docs.telemetry import telemetry_page
from uplink.client.consent import commitments

PAGES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "docs/api.md": api_page,
        "docs/problems.md": problems_page,
        "docs/reasons.md": reasons_page,
        "docs/settings.md": settings_page,
        "docs/telemetry.md": telemetry_page,
        commitments.PAGE: lambda: commitments.commitments().text,
    }
)


def write_pages(root: Path) -> None:
    """Write all of them below `root`."""
    for place, page in PAGES.items():
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(), encoding="utf-8")
