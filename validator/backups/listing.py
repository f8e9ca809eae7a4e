"""From a bucket to its inventory: which folders are listed, how patiently, and where it ends.

A store of Velero keeps millions of blobs of volume data beside its backups. So the top is listed by folders first;
where `backups/` is among them, the folders that Velero has besides are left out, and so are those of a store that lies
under a prefix of its own. Everything else is listed whole: only so are Stork's namespaces found, and Velero's stores
that lie deeper. Nothing is kept but sums, so a million objects cost no more memory than a page.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from validator.backups.inventory import Inventory
from validator.backups.layout import VELERO_FOLDERS, VELERO_METADATA, Recogniser
from validator.backups.metadata import told_by
from validator.backups.objects import Objects, Page
from validator.backups.tally import Tally
from validator.net.failure import ProbeFailure
from validator.reasons import Reason

T = TypeVar("T")

Progress = Callable[[int, int | None], None]
"""Told after each page how many objects are listed, and of how many, where anybody knows."""

_PASSING = {
    Reason.STORAGE_THROTTLED,
    Reason.STORAGE_UNAVAILABLE,
    Reason.STORAGE_TIMEOUT,
    Reason.STORAGE_UNREACHABLE,
    Reason.IDENTITY_REJECTED,  # a token that ran out in the middle; who asks has let go of it
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one listing may do."""

    objects: int = 1_000_000
    """Listed at most: 2,000 pages, some minutes. Ten years of hourly backups have 900,000."""
    folders: int = 10_000
    """At the top of a bucket."""
    whole_s: float = 1200.0
    """For all of it."""
    page_s: float = 30.0
    """For one question; storage itself gives up after 30 s."""
    tries: int = 5
    """Of one question, where the failure may pass."""
    pause_s: float = 1.0
    """Before the second try; doubled each time, from half to all of that by chance."""
    pause_most_s: float = 30.0
    """Of any pause, whatever the provider asks for."""
    reads: int = 100
    """Objects with metadata that are read, in all groups together."""
    read_bytes: int = 256 * 1024
    """Of one. Velero's have a few KB; Stork's have a list of all resources, which comes last."""


class Listing:
    """One listing of one bucket. Used once."""

    def __init__(self, objects: Objects, now: float, progress: Progress, bounds: Bounds = Bounds()) -> None:
        self._objects = objects
        self._progress = progress
        self._bounds = bounds
        self._tally = Tally(now)
        self._names = Recogniser()
        self._truncated = ""

    async def inventory(self) -> Inventory:
        """List everything. Raises `ProbeFailure`: half a listing would miss backups that are there."""
        try:
            async with asyncio.timeout(self._bounds.whole_s):
                await self._all()
        except TimeoutError:
            self._truncated = f"it took longer than {self._bounds.whole_s:g} s"
        self._tally.add(self._names.section())
        await self._newest()
        return self._tally.inventory(self._truncated, in_order=self._names.in_order)

    async def _all(self) -> None:
        folders = await self._top()
        is_store = "backups/" in folders
        for folder in folders:
            if is_store and folder.rstrip("/") in VELERO_FOLDERS:
                continue
            if self._truncated:
                return
            if folder == "backups/" or not await self._store_in(folder):
                await self._whole(folder)

    async def _top(self) -> list[str]:
        """The folders at the top; objects there are counted."""
        folders: list[str] = []
        after: str | None = None
        while True:
            page = await self._page("", after, folders=True)
            folders += page.folders
            if len(folders) > self._bounds.folders:
                self._truncated = f"more than {self._bounds.folders:,} folders at the top"
                return folders[: self._bounds.folders]
            if (after := page.next) is None or self._truncated:
                return folders

    async def _store_in(self, folder: str) -> bool:
        """Whether a store of Velero lies in this folder: then its backups are listed, and nothing else there."""
        prefix = f"{folder}backups/"
        page = await self._asked(lambda: self._objects.page(prefix, None, folders=False))
        if not any(one.name.endswith(f"/{VELERO_METADATA}") for one in page.objects):
            return False
        self._tally.add(self._names.section())
        self._take(page)
        if page.next is not None:
            await self._whole(prefix, page.next)
        return True

    async def _whole(self, prefix: str, after: str | None = None) -> None:
        if after is None:
            self._tally.add(self._names.section())
        while not self._truncated:
            page = await self._page(prefix, after, folders=False)
            if (after := page.next) is None:
                return

    async def _page(self, prefix: str, after: str | None, *, folders: bool) -> Page:
        page = await self._asked(lambda: self._objects.page(prefix, after, folders=folders))
        self._take(page)
        return page

    def _take(self, page: Page) -> None:
        tally = self._tally
        for one in page.objects:
            tally.size_bytes += one.size_bytes
            tally.add(self._names.add(one))
        tally.objects += len(page.objects)
        if tally.objects >= self._bounds.objects and page.next is not None:
            self._truncated = f"more than {self._bounds.objects:,} objects"
        self._progress(tally.objects, None)

    async def _newest(self) -> None:
        """Of each group the newest backup that has not failed. Metadata that can't be read spoils no listing."""
        left = self._bounds.reads
        for group, candidates in self._tally.candidates():
            for candidate in candidates:
                if left == 0:
                    return
                left -= 1
                name = candidate[2]
                try:
                    raw = await self._asked(lambda name=name: self._objects.read(name, self._bounds.read_bytes))  # type: ignore[misc] # bound here
                except ProbeFailure:
                    raw = b""
                if self._tally.judge(group, candidate, told_by(group.product, raw)):
                    break

    async def _asked(self, question: Callable[[], Awaitable[T]]) -> T:
        """The answer, after as many tries as it may take."""
        bounds = self._bounds
        for number in range(1, bounds.tries + 1):
            try:
                try:
                    async with asyncio.timeout(bounds.page_s):
                        return await question()
                except TimeoutError:
                    text = f"a page of the list took longer than {bounds.page_s:g} s"
                    raise ProbeFailure(Reason.STORAGE_TIMEOUT, text, unanswered=True) from None
            except ProbeFailure as failure:
                if failure.reason not in _PASSING or number == bounds.tries:
                    raise
                wanted_s = bounds.pause_s * 2 ** (number - 1) * (0.5 + random.random() / 2)  # noqa: S311 - spreads retries
                await asyncio.sleep(min(bounds.pause_most_s, max(wanted_s, failure.retry_after_s or 0.0)))
        raise AssertionError
