"""Checks that nobody asks any more leave the picture: of a cluster that uses no location now, `velero` for example.

Without this they would get stale and stay so, and the cluster would be Unknown for ever. History keeps them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import structlog

from collector.recorder import Recorder
from store.errors import StoreRefused
from store.pool import Database
from validator.model import Check, Pair, SubjectId

_log = structlog.get_logger(__name__)


class Retiring:
    """For the leader of `epoch`."""

    def __init__(self, db: Database, queries: Mapping[str, str], recorder: Recorder, epoch: int) -> None:
        self._db = db
        self._sql = queries
        self._recorder = recorder
        self._epoch = epoch
        self._due: set[tuple[SubjectId, Check]] = set()
        """Not dropped in the database yet."""

    async def run_once(self, left_over: Iterable[tuple[SubjectId, Collection[Check]]]) -> None:
        """Drop these, in memory first. Raises `StoreError`; then the database drops them the next time.

        A write of such a check that is under way at this moment finds no row to compare with, and makes none.
        """
        for subject, checks in left_over:
            self._recorder.forget_checks(subject, checks)
            self._due.update((subject, check) for check in checks)
        if not self._due:
            return
        due = list(self._due)
        pairs = [(subject, check) for subject, check in due if isinstance(subject, Pair)]
        clusters = [(subject, check) for subject, check in due if not isinstance(subject, Pair)]
        async with self._db.transaction() as tx:
            if await tx.fetchval(self._sql["fence"], self._epoch) is None:
                raise StoreRefused("another instance leads now; this one may not write")
            await tx.execute(
                self._sql["retire_checks"], [subject for subject, _ in clusters], [check for _, check in clusters]
            )
            await tx.execute(
                self._sql["retire_pair_checks"],
                [pair.cluster_id for pair, _ in pairs],
                [pair.location_id for pair, _ in pairs],
                [check for _, check in pairs],
            )
        self._due.difference_update(due)
        _log.info("checks retired that nobody asks any more", checks=len(due))
