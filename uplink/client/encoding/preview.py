"""The next batch, shown: by the encoder that also makes what is sent. Pure; touches neither disk nor network."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]  # protobuf ships no types

from uplink.client.consent.dictionary import Dictionary
from uplink.client.consent.record import Scope
from uplink.client.consent.streams import Stream
from uplink.client.encoding.batch import PLACEHOLDER, Batch, Identity
from uplink.client.encoding.encode import Encoder
from uplink.client.encoding.facts import ChangeFact, Facts
from uplink.client.encoding.gather import Told, events, gather
from uplink.client.encoding.items import Item
from uplink.client.encoding.pseudonyms import Pseudonyms
from uplink.wire.otlp import pack, parse

PRETENDED_S = 3600.0
"""While telemetry is off, a preview is as if somebody had consented so long ago: a log of nothing shows nothing."""


@dataclass(frozen=True, slots=True)
class Preview:
    """One batch, or that there is none to show."""

    stream: Stream
    batch: Batch | None
    """None: there is nothing to send."""
    placeholder: bool
    """Made while the stream is not allowed: its ids stand for none, and it was not kept."""
    drops: Mapping[str, int] = field(default_factory=dict)
    """What the encoder refused, by why."""
    more: int = 0
    """Further batches that would go after this one."""

    def readable(self) -> dict[str, Any]:
        """The OTLP request as JSON: decoded from the bytes, not from what they were made of."""
        if self.batch is None:
            return {}
        document: dict[str, Any] = MessageToDict(parse(self.batch.signal, self.batch.raw), use_integers_for_enums=True)
        return document

    def packed_bytes(self) -> int:
        """How many bytes travel."""
        return 0 if self.batch is None else len(pack(self.batch.raw))


def pretended(
    stream: Stream,
    facts: Facts,
    changes: Sequence[ChangeFact],
    dictionary: Dictionary,
    scope: Scope,
    service_version: str,
) -> Preview:
    """What would go first under a consent that nobody has given. The key of its pseudonyms is forgotten at once."""
    since = facts.at - PRETENDED_S
    items: list[Item] = events(changes, since)
    if stream is not Stream.LOGS:
        told = Told(since, {}, {}, since)  # all that the counters have
        items, _ = gather(stream, facts, told)
    names = Pseudonyms(secrets.token_bytes(32))
    identity = Identity(PLACEHOLDER.organisation, PLACEHOLDER.installation, PLACEHOLDER.consent, 0, service_version)
    encoder = Encoder(stream, identity, dictionary, scope, names, since=since, new_id=_no_id)
    encoded = encoder.encode(items, facts.at)
    first = encoded.batches[0] if encoded.batches else None
    return Preview(stream, first, placeholder=True, drops=dict(encoded.drops), more=max(0, len(encoded.batches) - 1))


def kept(stream: Stream, batch: Batch | None) -> Preview:
    """The batch that waits to be sent: these bytes, and no others, are sent next."""
    return Preview(stream, batch, placeholder=False)


def _no_id() -> UUID:
    return UUID(int=0)
