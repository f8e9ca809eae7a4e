"""Carries out one sync with the identity of this process: an agent's in its cluster, or the hub's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from validator.backups.inventory import Inventory
from validator.backups.listing import Bounds, Listing, Progress
from validator.backups.objects import Objects
from validator.clean import clean_text
from validator.clock import Clock
from validator.locations import Location, Provider
from validator.model import MAX_MESSAGE_CHARS
from validator.net.failure import ProbeFailure
from validator.probes.location_ask import refuse_unfit
from validator.reasons import Reason
from validator.scrub import scrub

Open = Callable[[Location], Objects]
"""The objects of one location. Raises `ProbeFailure` where it can't be asked at all."""


@dataclass(frozen=True, slots=True)
class SyncResult:
    """How it ended: with an inventory, or with the reason why there is none."""

    listed: int
    inventory: Inventory | None = None
    reason: Reason | None = None
    message: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the location could be listed."""
        return self.inventory is not None


class SyncRunner:
    """One a process. Several syncs may run at once: who starts them bounds them."""

    def __init__(self, openers: Mapping[Provider, Open], clock: Clock, bounds: Bounds = Bounds()) -> None:  # noqa: B008 - frozen
        """`openers`: those of the providers whose SDK this process has."""
        self._openers = openers
        self._clock = clock
        self._bounds = bounds

    async def run(self, location: Location, request_id: UUID, progress: Progress) -> SyncResult:
        """List the location. Never raises for what the other side does; cancelled, it lets go of everything.

        `request_id` is whoever asked's: the runner needs it not.
        """
        listed = 0

        def told(so_far: int, of: int | None) -> None:
            nonlocal listed
            listed = so_far
            progress(so_far, of)

        try:
            refuse_unfit(location)
            objects = self._openers.get(location.provider, _no_sdk)(location)
            inventory = await Listing(objects, self._clock.now(), told, self._bounds).inventory()
        except ProbeFailure as failure:
            message = clean_text(scrub(failure.message), MAX_MESSAGE_CHARS)
            return SyncResult(listed, reason=failure.reason, message=message)
        return SyncResult(inventory.objects, inventory)


def _no_sdk(location: Location) -> Objects:
    text = f"this asker has no SDK or no settings for {location.provider}"
    raise ProbeFailure(Reason.IDENTITY_UNAVAILABLE, text)
