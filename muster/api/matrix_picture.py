"""The matrix for the API: made at most twice a second, however many ask, and in pieces.

As with the fleet's picture, a generation says what the matrix means, and nothing of its ages. It is counted where
pictures are made, so a fact that outlives its allowance raises it whether or not the recorder has noticed.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2s
from uuid import UUID

from collector.location import BackupLocation
from collector.matrix_look import MatrixLook
from muster.api.matrix_lists import Cells, MatrixLists
from muster.api.matrix_queries import Wanted
from muster.api.picture import REUSE_S, Pictures
from muster.breath import breathe
from muster.hub import PIECE, Leading
from validator.clock import Clock


@dataclass(frozen=True, slots=True)
class MatrixPicture:
    """One moment."""

    leading: Leading
    now: float
    generation: int
    """Rises with every picture that means something else than the one before."""
    cells: Cells
    lists: MatrixLists
    """Of the generation."""
    locations: Mapping[UUID, BackupLocation]
    """At least those that have cells."""


class Matrices:
    """The newest picture."""

    def __init__(self, clock: Clock, pictures: Pictures) -> None:
        """`pictures` knows whether this instance leads."""
        self._clock = clock
        self._pictures = pictures
        self._start = secrets.token_hex(4)
        self._look: MatrixLook | None = None
        self._last: MatrixPicture | None = None
        self._making = asyncio.Lock()  # held over turns of our own loop, never over network I/O

    async def now(self) -> MatrixPicture:
        """The picture, at most `REUSE_S` old. Raises `ProblemError` where this instance does not lead."""
        async with self._making:  # those who come meanwhile wait for the one that is being made
            leading, last, now = self._pictures.leading(), self._last, self._clock.now()
            if last is not None and last.leading is leading and 0 <= now - last.now < REUSE_S:
                return last
            look, locations = MatrixLook(self._look), dict(leading.locations.known)
            now = await self._see(leading, look, locations)
            self._pictures.leading()  # refuses where it stepped down meanwhile
            generation = (0 if last is None else last.generation) + look.changed
            if last is None or look.changed or last.leading is not leading:
                lists = MatrixLists(look.cells, dict(leading.inventory.clusters))
            else:
                lists = last.lists
            self._look = look
            self._last = MatrixPicture(leading, now, generation, look.cells, lists, locations)
            return self._last

    async def _see(self, leading: Leading, look: MatrixLook, locations: Mapping[UUID, BackupLocation]) -> float:
        """When the last pair was seen. A location's assignments are never changed: they are replaced."""
        now, number = self._clock.now(), 0
        for location in locations.values():
            for cluster, _, states in leading.pairs.of_location(location):
                paused = leading.pauses.active(cluster.id, now) is not None
                look.see(cluster, location.where, states, now, paused=paused)
                number += 1
                if number % PIECE == 0:
                    await breathe()
                    now = self._clock.now()  # it may have been set, and all states with it
        look.end()
        return now

    def tag(self, picture: MatrixPicture, wanted: Wanted) -> str:
        """The entity tag of what is wanted, without quotes. Each instance has its own, as its generations have.

        The question is in it, since what a name in it stands for may change.
        """
        question = blake2s(wanted.canonical().encode(), digest_size=4).hexdigest()
        return f"{self._start}-m{picture.generation}-{question}"
