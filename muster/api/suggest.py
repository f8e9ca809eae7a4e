"""What may have been meant by a name that is not there."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Sequence

from muster.api.present import chunks

MOST = 5
"""Suggestions in one answer."""

ALIKE = 0.6
"""Least similarity, by difflib's measure (and default)."""


async def closest(word: str, names: Sequence[str]) -> list[str]:
    """Names that contain the word, else those that look like it; best first. Lets the loop breathe."""
    word = word[:256].casefold()
    matcher = difflib.SequenceMatcher()
    matcher.set_seq2(word)
    containing: list[str] = []
    alike: list[tuple[float, str]] = []
    async for some in chunks(names, 50):
        for name in some:
            folded = name.casefold()
            if word in folded:
                containing.append(name)
                continue
            matcher.set_seq1(folded)
            if matcher.real_quick_ratio() >= ALIKE and matcher.quick_ratio() >= ALIKE and matcher.ratio() >= ALIKE:
                alike.append((matcher.ratio(), name))
    if containing:
        return heapq.nsmallest(MOST, containing, key=len)
    return [name for _, name in heapq.nlargest(MOST, alike)]
