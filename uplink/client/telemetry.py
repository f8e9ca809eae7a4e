"""What the API asks of the uplink, and what the uplink asks of the part that has a network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from store.pool import Database
from uplink.client.consent.chain import Checked
from uplink.client.consent.consent import Found, Offer, Standing, Wanted, Who
from uplink.client.consent.desk import Done
from uplink.client.consent.streams import Stream
from uplink.client.encoding.batch import Batch
from uplink.client.encoding.preview import Preview


@dataclass(frozen=True, slots=True)
class LinkState:
    """How far it is with enrolment and sending."""

    word: str
    """`off`; `silent`: the database has to know of the consent, and does not say so; `standby`: another instance leads;
    `enrolling`; `active`; `degraded`: tried again by itself; `held`: somebody has to do something; `export`: without an
    endpoint."""
    detail: str = ""
    """One sentence for people; empty where the word says all."""
    waiting_batches: int = 0
    waiting_bytes: int = 0
    last_success_at: float | None = None
    next_attempt_at: float | None = None
    certificate_expires_at: float | None = None
    clock_skew_s: float | None = None
    """Of our clock against the endpoint's; positive: ours is ahead."""


class Link(Protocol):
    """Enrolment, spool and sender. Starts nothing and makes nothing before `began`, or `heed` with a consent."""

    def open(self, db: Database) -> None:
        """There is a database. It stays its owner's."""
        ...

    async def run(self, found: Found) -> None:
        """On every instance, after `open`, until it is cancelled; `found` is the record at the start.

        First it finishes what an off before a crash has left. When it ends, nothing is sent any more.
        """
        ...

    async def lead(self) -> None:
        """While this instance leads, until it is cancelled: enrol, gather and send."""
        ...

    async def close(self) -> None:
        """For good: nothing of it is left."""
        ...

    def state(self) -> LinkState:
        """Now."""
        ...

    async def began(self, standing: Standing, activation_token: str | None) -> None:
        """Somebody has consented, or a stream was taken out. The token is for enrolment, once, and never shown.

        Waits for no network. Where the database is away, it is told of the consent as soon as it is back.
        """
        ...

    async def heed(self, standing: Standing) -> None:
        """What may be done now, as the file says: told about once a second. Never opens a consent anew (H6)."""
        ...

    def overtaken(self) -> bool:
        """Whether somebody has decided later on another instance; said once. This host's file has to say so, too."""
        ...

    @property
    def unfinished(self) -> bool:
        """Whether an off has something to do still: the database is away, or a key can't be removed."""
        ...

    def silence(self) -> None:
        """Abort what is under way and send nothing more. Returns at once, touches no network, raises nothing."""
        ...

    async def ended(self) -> None:
        """The consent has ended: empty the spool, destroy key and certificate. Without network."""
        ...

    async def head(self, stream: Stream) -> Batch | None:
        """The batch that goes next. Where none waits, one is gathered and kept; None = there is nothing to say."""
        ...

    async def forget(self) -> None:
        """Have the other side delete what it has received. Raises `Impossible`."""
        ...

    def export(self, standing: Standing) -> AsyncIterator[bytes]:
        """All that waits, and what is known now, as a signed file. Raises `Impossible` before its first piece."""
        ...

    async def known_epoch(self) -> int:
        """The newest that the database knows. Raises `Impossible` where it does not answer in time."""
        ...


class Telemetry(Protocol):
    """Consent, preview and state: all that a person can ask for."""

    @property
    def place(self) -> str:
        """The file that is the authority on this host."""
        ...

    @property
    def offer(self) -> Offer:
        """What a consent would be about."""
        ...

    async def standing(self) -> Standing:
        """What may be done now."""
        ...

    def link(self) -> LinkState:
        """How far it is."""
        ...

    def check(self, wanted: Wanted, who: Who) -> None:
        """Whether that consent could be given: before anything is written anywhere. Raises `Impossible`."""
        ...

    async def turn_on(self, wanted: Wanted, who: Who, activation_token: str | None) -> Done:
        """Consent. Raises `Impossible` and `PrivateFileError`: then nothing has changed."""
        ...

    async def turn_off(self, who: Who, streams: frozenset[Stream] = frozenset()) -> Done:
        """Off, or only these streams. Raises `PrivateFileError` where it holds only while this process lives."""
        ...

    async def forget(self, who: Who) -> Done:
        """Have the other side delete what it has, then off. Raises `Impossible`."""
        ...

    async def preview(self, stream: Stream) -> Preview | None:
        """The next batch; None while this instance has no picture."""
        ...

    async def audit(self) -> Checked:
        """The audit log, verified. Raises `PrivateFileError`."""
        ...

    async def export(self, who: Who) -> AsyncIterator[bytes]:
        """A file for the receiver, for where there is no network. Raises `Impossible`, `PrivateFileError`."""
        ...
