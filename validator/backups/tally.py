"""Counts backups as they are recognised, in bounded memory. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from validator.backups.inventory import MAX_GROUPS, MAX_MISSING, MAX_NAME_CHARS, OTHERS, Group, Inventory
from validator.backups.layout import SETTLING_S, Backup, Product
from validator.backups.metadata import Told
from validator.clean import clean_text

CANDIDATES = 5
"""Newest backups of a group whose metadata may be read, until one has not failed."""


@dataclass(slots=True)
class _GroupTally:
    product: Product
    prefix: str
    backups: int = 0
    newest: list[tuple[float, str, str]] = field(default_factory=list)
    """Heap of the newest ones that are whole: when, name, metadata."""
    chosen: tuple[float, str, str] | None = None
    """When, name, phase: what their metadata said."""
    all_failed: bool = False


class Tally:
    """One listing's sums."""

    def __init__(self, now: float) -> None:
        """`now` by the provider's clock, near enough: what is younger than `SETTLING_S` is not missed yet."""
        self._now = now
        self._groups: dict[tuple[Product, str], _GroupTally] = {}
        self.objects = 0
        self.size_bytes = 0
        self.backups = 0
        self._missing: list[str] = []
        self._missing_total = 0

    def add(self, backup: Backup | None) -> None:
        """One more backup, if it is one."""
        if backup is None:
            return
        self.backups += 1
        if backup.missing is not None and backup.written_at < self._now - SETTLING_S:
            self._missing_total += 1
            if len(self._missing) < MAX_MISSING:
                self._missing.append(clean_text(backup.missing, MAX_NAME_CHARS))
        key = (backup.product, backup.group)
        group = self._groups.get(key)
        if group is None:
            key = (backup.product, OTHERS) if len(self._groups) >= MAX_GROUPS else key
            group = self._groups.setdefault(key, _GroupTally(*key))
        group.backups += 1
        if backup.whole:
            push = heapq.heappush if len(group.newest) < CANDIDATES else heapq.heappushpop
            push(group.newest, (backup.written_at, backup.name, backup.metadata))

    def candidates(self) -> Iterator[tuple[_GroupTally, list[tuple[float, str, str]]]]:
        """Groups, and the newest backups of each; newest first."""
        ordered = [(group, sorted(group.newest, reverse=True)) for group in self._groups.values() if group.newest]
        yield from sorted(ordered, key=lambda each: -each[1][0][0])

    @staticmethod
    def judge(group: _GroupTally, candidate: tuple[float, str, str], told: Told | None) -> bool:
        """Whether this is the group's newest. What can't be read is taken at its name; what has failed is not."""
        at, name, _ = candidate
        if told is not None and not told.good:
            group.all_failed = True
            return False
        ended_at = at if told is None or told.ended_at is None else min(at, told.ended_at)
        group.chosen, group.all_failed = (ended_at, name, "" if told is None else told.phase), False
        return True

    def inventory(self, truncated: str, *, in_order: bool) -> Inventory:
        """The sums. What seems to be missing is not told where names came in no order."""
        groups = [_group(each) for each in self._groups.values()]
        groups.sort(key=lambda each: (-(each.newest_at or 0.0), each.product, each.prefix))
        reasons = [truncated] if truncated else []
        if not in_order:
            reasons.append("names came in no order, so that missing files can't be told")
        return Inventory(
            objects=self.objects,
            size_bytes=self.size_bytes,
            backups=self.backups,
            groups=tuple(groups),
            missing=tuple(self._missing) if in_order else (),
            missing_total=self._missing_total if in_order else 0,
            truncated="; ".join(reasons),
        )


def _group(tally: _GroupTally) -> Group:
    chosen = tally.chosen
    if chosen is None and tally.newest and not tally.all_failed:
        at, name, _ = max(tally.newest)
        chosen = (at, name, "")
    at_, name_, phase = chosen or (None, "", "")
    shown = [clean_text(text, MAX_NAME_CHARS) for text in (tally.prefix, name_)]
    return Group(tally.product, shown[0], tally.backups, at_, shown[1], phase)
