"""What the API asks of the uplink, and what the uplink asks of the part that has a network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from uplink.client.batch import Batch
from uplink.client.chain import Checked
from uplink.client.consent import Offer, Standing, Wanted, Who
from uplink.client.desk import Done
from uplink.client.preview import Preview
from uplink.client.record import Given
from uplink.client.streams import Stream


@dataclass(frozen=True, slots=True)
class LinkState:
    """How far it is with enrolment and sending."""

    word: str
    """`off`, `enrolling`, `active`, `degraded`, `held`."""
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
    """Enrolment, spool and sender. Starts nothing and makes nothing before `began`."""

    def state(self) -> LinkState:
        """Now."""
        ...

    async def began(self, given: Given, activation_token: str | None) -> None:
        """Somebody has consented, or a stream was taken out. The token is for enrolment, once, and never shown.

        Returns at once: what needs the network is a task of the link's own.
        """
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

    def export(self) -> AsyncIterator[bytes]:
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
