"""Whether anything may be sent, and if not, why: pure decisions. The I/O is in `desk.py`.

Everything is off unless all of this holds: no variable forbids it, the file is there and whole, it is a consent, and
what was consented to is what would be done now. Whatever can't be read counts against sending.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from uuid import uuid4

from uplink.client.consent.commitments import Commitments
from uplink.client.consent.dictionary import Dictionary
from uplink.client.consent.record import Agreed, Endpoints, Given, Record, Scope, Withdrawn
from uplink.client.consent.streams import Stream
from uplink.wire.errors import WireError
from uplink.wire.identity import organisation_id

DO_NOT_TRACK = "DO_NOT_TRACK"
"""consoledonottrack.com."""
MUSTER_TELEMETRY = "MUSTER_TELEMETRY"

_HARMLESS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        DO_NOT_TRACK: frozenset({"", "0", "false", "no", "off"}),
        MUSTER_TELEMETRY: frozenset({"", "1", "true", "yes", "on"}),
    }
)
"""Values that forbid nothing. Any other does: a misspelt prohibition is one. None of them switches anything on."""

MAX_NAMED = 3
"""Fields that a sentence names."""


class Impossible(ValueError):  # noqa: N818 - what was asked for is impossible
    """A consent can't be given like this; the text says what to do."""


class TermsChanged(Impossible):
    """What was read is not what there is."""


class Word(StrEnum):
    """The state in one word."""

    OFF = "off"
    SUSPENDED = "suspended"
    """Consented to, and none of it may be sent any more before somebody consents anew."""
    ON = "on"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a consent is about, as it is now."""

    dictionary: Dictionary
    commitments: Commitments
    organisation: str | None
    """From the settings; None: nobody has set it."""
    endpoints: Endpoints | None
    """From the settings and from nowhere else: a request can't name another host."""


@dataclass(frozen=True, slots=True)
class Absent:
    """No record that counts."""

    why: str


NOBODY = Absent("nobody has consented")

Found = Record | Absent


@dataclass(frozen=True, slots=True)
class StreamStanding:
    """One stream."""

    consented: bool
    allowed: bool
    why: str = ""
    """Why it is not allowed."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What may be done at this moment."""

    word: Word
    why: str
    """While not on; one sentence without its full stop."""
    record: Record | None
    streams: Mapping[Stream, StreamStanding] = field(default_factory=dict)

    @property
    def given(self) -> Given | None:
        """The consent under which something may be sent; None = nothing may."""
        return self.record if self.word is Word.ON and isinstance(self.record, Given) else None

    @property
    def nobody(self) -> bool:
        """Whether there is no file: nobody has consented, or somebody has removed what said so."""
        return self.record is None and self.why == NOBODY.why

    def allows(self, stream: Stream) -> bool:
        """Whether this stream may be sent now."""
        return self.given is not None and self.streams[stream].allowed


def forbidden_by(environ: Mapping[str, str]) -> str | None:
    """The variable that forbids telemetry here, as `NAME=value`."""
    for name, harmless in _HARMLESS.items():
        if environ.get(name, "").strip().lower() not in harmless:
            return f"{name}={environ[name].strip()[:40]}"
    return None


def decide(found: Found, offer: Offer, environ: Mapping[str, str]) -> Standing:
    """The standing: of the file, of what would be done, and of the environment, which overrides both."""
    record = None if isinstance(found, Absent) else found
    if (variable := forbidden_by(environ)) is not None:
        return _off(f"{variable} forbids it on this host", record)
    if isinstance(found, Absent):
        return _off(found.why, None)
    if isinstance(found, Withdrawn):
        return _off("it was switched off", found)
    whole = _changed(found, offer)
    streams = {stream: _of_stream(stream, found, offer, whole) for stream in Stream}
    if any(each.allowed for each in streams.values()):
        return Standing(Word.ON, "", found, streams)
    why = whole or next(each.why for each in streams.values() if each.consented)
    return Standing(Word.SUSPENDED, why, found, streams)


def _off(why: str, record: Record | None) -> Standing:
    asked = record.scope if isinstance(record, Given) else {}
    return Standing(
        Word.OFF, why, record, {each: StreamStanding(each in asked, allowed=False, why=why) for each in Stream}
    )


def _changed(given: Given, offer: Offer) -> str:
    """Why no stream may be sent under this consent; empty = none of it has changed."""
    if given.commitments.sha256 != offer.commitments.sha256:
        return f"the commitments are of version {offer.commitments.version} now, and {_agreed(given.commitments)}"
    if given.organisation != offer.organisation:
        return f"the organisation is another one than the {given.organisation} that consented"
    if given.endpoints is not None and offer.endpoints is not None and given.endpoints != offer.endpoints:
        return "the endpoints are others than those that somebody consented to"
    if (given.endpoints is None) != (offer.endpoints is None):
        return "there are endpoints now" if given.endpoints is None else "the endpoints of the consent are set no more"
    return ""


def _agreed(to: Agreed) -> str:
    return f"somebody consented to version {to.version} of another text"


def _of_stream(stream: Stream, given: Given, offer: Offer, whole: str) -> StreamStanding:
    scope = given.scope.get(stream)
    if scope is None:
        return StreamStanding(consented=False, allowed=False, why="nobody has consented to this stream")
    if whole:
        return StreamStanding(consented=True, allowed=False, why=whole)
    if wider := widened(scope, offer.dictionary, stream):
        named = ", ".join(wider[:MAX_NAMED]) + ("…" if len(wider) > MAX_NAMED else "")
        why = f"the dictionary says more than somebody consented to: {named}"
        return StreamStanding(consented=True, allowed=False, why=why)
    return StreamStanding(consented=True, allowed=True)


def widened(scope: Scope, dictionary: Dictionary, stream: Stream) -> list[str]:
    """Fields that are new, or mean something else, since the consent. Those that are gone don't matter."""
    return [own for own, digest in dictionary.digests(stream).items() if scope.fields.get(own) != digest]


# -- decisions that somebody makes


@dataclass(frozen=True, slots=True)
class Who:
    """Who decides."""

    name: str
    interface: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody consents to."""

    streams: frozenset[Stream]
    commitments_sha256: str
    """Of the document that they read."""
    dictionary_version: str
    plain_names: frozenset[Stream] = frozenset()
    free_text: frozenset[Stream] = frozenset()


def give(wanted: Wanted, offer: Offer, environ: Mapping[str, str], who: Who, epoch: int, now: float) -> Given:
    """The record of a new consent. Raises `Impossible`."""
    if (variable := forbidden_by(environ)) is not None:
        raise Impossible(f"{variable} forbids telemetry on this host. Take it out of the service's environment first")
    if offer.organisation is None:
        raise Impossible("no organisation is set: set telemetry_organisation to the id that your vendor gave you")
    try:
        organisation_id(offer.organisation)
    except WireError as error:
        raise Impossible(f"telemetry_organisation: {error}") from None
    if not wanted.streams:
        raise Impossible(f"no stream is named; there are {', '.join(Stream)}")
    if beyond := (wanted.plain_names | wanted.free_text) - wanted.streams:
        raise Impossible(f"{', '.join(sorted(beyond))}: not among the streams that are consented to")
    if (wanted.commitments_sha256, wanted.dictionary_version) != (offer.commitments.sha256, offer.dictionary.version):
        raise TermsChanged("what was read is not what there is now: read the commitments and the dictionary again")
    return Given(
        epoch=epoch,
        decided_at=now,
        by=who.name[:300],
        interface=who.interface,
        consent_id=uuid4(),
        installation_id=uuid4(),
        organisation=offer.organisation,
        endpoints=offer.endpoints,
        commitments=Agreed(version=offer.commitments.version, sha256=offer.commitments.sha256),
        dictionary=offer.dictionary.version,
        scope={
            stream: Scope(
                plain_names=stream in wanted.plain_names,
                free_text=stream in wanted.free_text,
                fields=offer.dictionary.digests(stream),
            )
            for stream in Stream
            if stream in wanted.streams
        },
        pseudonym_key=secrets.token_hex(32),
    )


def withdraw(who: Who, epoch: int, now: float) -> Withdrawn:
    """The record of the end of it. Always possible."""
    return Withdrawn(epoch=epoch, decided_at=now, by=who.name[:300], interface=who.interface)


def narrowed(given: Given, without: frozenset[Stream], epoch: int) -> Given:
    """The same consent to fewer streams. Raises `Impossible` where none would be left: that is `withdraw`."""
    left = {stream: scope for stream, scope in given.scope.items() if stream not in without}
    if not left:
        raise Impossible("no stream would be left: switch it off as a whole")
    return given.model_copy(update={"scope": left, "epoch": epoch})
