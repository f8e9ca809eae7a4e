"""Versions as Portworx writes them, compared. Pure.

Not `packaging`: it would be a dependency for ten lines, and it refuses what is met here (`24.3.2-5e7c6e5`, where what
follows the dash is a commit and no pre-release).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_VERSION = re.compile(r"v?(\d{1,6}(?:\.\d{1,6}){1,3})(?:[-+.]([0-9A-Za-z][0-9A-Za-z.+-]{0,99}))?")
_BEFORE_RELEASE = re.compile(r"(dev|alpha|beta|rc|pre|snapshot)\d*\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version that can be compared; `26.3` is `26.3.0`, and `26.3.0-dev` comes before it."""

    numbers: tuple[int, int, int, int]
    released: bool = True

    def __str__(self) -> str:
        *numbers, last = self.numbers
        return ".".join(map(str, [*numbers, last] if last else numbers)) + ("" if self.released else " (pre-release)")


def version_from(text: str) -> Version | None:
    """The version that a text is; None if it is none."""
    found = _VERSION.fullmatch(text.strip())
    if found is None:
        return None
    one, two, three, four, *_ = [*map(int, found[1].split(".")), 0, 0]
    return Version((one, two, three, four), released=_BEFORE_RELEASE.match(found[2] or "") is None)


def version_of_image(image: str) -> Version | None:
    """The version that an image's tag is: `docker.io/portworx/oci-monitor:3.6.1`."""
    name, _, _digest = image.partition("@")
    _, colon, tag = name.rpartition("/")[2].rpartition(":")
    return version_from(tag) if colon else None
