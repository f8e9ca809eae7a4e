"""Items become OTLP: the one place where anything becomes bytes that may leave, and so the place of every rule.

Only fields of the dictionary that the consent names are written, with values of their type, of moments after the
consent. Names are hashed here and text is redacted here, so that no gatherer can forget it. What is refused is counted
by why, and nothing is refused silently. `writers` has the rules of a value, `layout` says where it stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar
from uuid import UUID, uuid4

from uplink.client.consent.dictionary import Dictionary, Kind, Shape, Type
from uplink.client.consent.record import Scope
from uplink.client.consent.streams import Stream
from uplink.client.encoding import layout
from uplink.client.encoding.batch import Batch, Identity
from uplink.client.encoding.items import Attributes, Event, Item, Point, Value
from uplink.client.encoding.pseudonyms import Pseudonyms
from uplink.client.encoding.redact import redact
from uplink.client.encoding.writers import Pairs, Rules, Why, Writer
from uplink.wire import names
from uplink.wire.bounds import MAX_RAW_BYTES

HEAD_BYTES = 8192
"""Kept free for the resource, for the names of all metrics, and for what frames everything."""

LAST_S = 9.2e9
"""Nanoseconds since the epoch fit into 64 bits up to here, the year 2261."""

SERVICE = "muster"

Drops: TypeAlias = "Counter[str]"


@dataclass(frozen=True, slots=True)
class Encoded:
    """What some items have become."""

    batches: tuple[Batch, ...]
    drops: Drops


@dataclass(frozen=True, slots=True)
class _Metric:
    """One that was consented to."""

    kind: Kind
    value: Writer
    pairs: Pairs


@dataclass(frozen=True, slots=True)
class _Log:
    """A kind of event that was consented to."""

    kind: Kind
    name: bytes
    pairs: Pairs
    text: bool
    """Whether free text may go with it."""


class Encoder:
    """Of one stream under one consent. Not kept beyond it."""

    def __init__(
        self,
        stream: Stream,
        identity: Identity,
        dictionary: Dictionary,
        scope: Scope,
        pseudonyms: Pseudonyms,
        *,
        since: float,
        new_id: Callable[[], UUID] = uuid4,
        limit: int = MAX_RAW_BYTES,
    ) -> None:
        """`since` is the moment of the consent; `limit` in bytes, of a whole batch before compression."""
        self._stream = stream
        self._identity = identity
        self._dictionary = dictionary
        self._pseudonyms = pseudonyms
        self._since = max(0.0, since)
        self._new_id = new_id
        self._room = limit - HEAD_BYTES
        self._drops: Drops = Counter()
        granted = frozenset(field.id for field in dictionary.of(stream) if scope.fields.get(field.id) == field.digest)
        rules = Rules(granted, self._drop, None if scope.plain_names else pseudonyms)
        kinds = [kind for kind in dictionary.kinds.values() if kind.stream is stream and rules.allow(kind.field)]
        self._metrics = {kind.name: _metric(kind, rules) for kind in kinds if kind.shape is not None}
        self._logs = {kind.name: _log(kind, rules, scope) for kind in kinds if kind.shape is None}
        self._resource = b"".join(Pairs(layout.OF_RESOURCE, dictionary.resource, rules).write(self._said()))

    def encode(self, items: Iterable[Item], now: float) -> Encoded:
        """All of it, in as many batches as it takes, each within the bound. The same items make the same bytes."""
        self._drops = Counter()
        if self._stream is Stream.LOGS:
            records = [record for item in items if (record := self._record(item))]
            batches = [self._batch(some, len(some), now) for some in _portions(records, len, self._room)]
        else:
            points = [point for item in items if (point := self._point(item)) is not None]
            portions = _portions(points, lambda point: len(point[1]), self._room)
            batches = [self._batch(self._by_metric(some), len(some), now) for some in portions]
        return Encoded(tuple(batches), self._drops)

    def _said(self) -> Mapping[str, Value]:
        """By the resource."""
        return {
            "service.name": SERVICE,
            "service.version": self._identity.service_version,
            names.INSTALLATION: str(self._identity.installation),
            names.ORGANISATION: self._identity.organisation,
            names.CONSENT: str(self._identity.consent),
            names.DICTIONARY: self._dictionary.version,
        }

    def _record(self, item: Item) -> bytes:
        log = self._logs.get(item.name)
        if log is None or not isinstance(item, Event) or not self._may(item):
            self._refuse(item)
            return b""
        attributes = log.pairs.write(item.attributes)
        text = None
        if log.text and item.text:
            known = [*_names_of(log.kind, item.attributes), *item.names]
            text = layout.text_value(redact(item.text, self._pseudonyms, known))
        return layout.log_record(item.at, max(0, min(24, item.severity)), text, attributes, log.name)

    def _point(self, item: Item) -> tuple[str, bytes] | None:
        metric = self._metrics.get(item.name)
        if metric is None or not isinstance(item, Point) or not self._may(item):
            self._refuse(item)
            return None
        if not (value := metric.value(item.value)):
            return None
        attributes = metric.pairs.write(item.attributes)
        began = None
        if metric.kind.shape is Shape.DELTA:
            began = max(self._since, item.at if item.since is None else item.since)
        return item.name, layout.data_point(began, item.at, value, attributes)

    def _may(self, item: Item) -> bool:
        """As far as its time goes. NaN fails too."""
        return self._since <= item.at < LAST_S

    def _refuse(self, item: Item) -> None:
        """Count why it was."""
        kind = self._dictionary.kinds.get(item.name)
        if kind is None or kind.stream is not self._stream or (kind.shape is None) is not isinstance(item, Event):
            self._drop(Why.NOT_IN_DICTIONARY)
        elif item.name not in self._metrics and item.name not in self._logs:
            self._drop(Why.NOT_CONSENTED)
        elif not 0 <= item.at < LAST_S:
            self._drop(Why.WRONG_TYPE)
        else:
            self._drop(Why.BEFORE_CONSENT)

    def _drop(self, why: Why, count: int = 1) -> None:
        self._drops[why.value] += count

    def _by_metric(self, points: Iterable[tuple[str, bytes]]) -> list[bytes]:
        by_name: dict[str, list[bytes]] = {}
        for name, point in points:
            by_name.setdefault(name, []).append(point)
        kinds = ((self._metrics[name].kind, by_name[name]) for name in sorted(by_name))
        return [piece for kind, some in kinds for piece in layout.metric(kind.field, kind.shape, some)]

    def _batch(self, scoped: Sequence[bytes], records: int, now: float) -> Batch:
        return Batch(
            id=self._new_id(),
            stream=self._stream,
            raw=layout.request(self._resource, scoped),
            records=records,
            consent=self._identity.consent,
            epoch=self._identity.epoch,
            dictionary=self._dictionary.version,
            made_at=now,
        )


def _metric(kind: Kind, rules: Rules) -> _Metric:
    return _Metric(kind, rules.number(kind.field), Pairs(layout.OF_POINT, kind.attributes, rules))


def _log(kind: Kind, rules: Rules, scope: Scope) -> _Log:
    text = scope.free_text and kind.body is not None and rules.allow(kind.body)
    return _Log(kind, layout.event_name(kind.name), Pairs(layout.OF_RECORD, kind.attributes, rules), text)


T = TypeVar("T")


def _portions(some: Iterable[T], size_of: Callable[[T], int], room: int) -> Iterator[Sequence[T]]:
    """As many together as there is room for. One alone always fits: every field is bounded."""
    portion: list[T] = []
    used = 0
    for each in some:
        size = size_of(each)
        if portion and used + size > room:
            yield portion
            portion, used = [], 0
        portion.append(each)
        used += size
    if portion:
        yield portion


def _names_of(kind: Kind, values: Attributes) -> list[str]:
    """What a text may call the things that it is about."""
    return [str(values[n]) for n, field in kind.attributes.items() if field.type is Type.NAME and values.get(n)]
