"""What happens, as it happens: server-sent events.

A reader is registered first and then sent what it has missed, so that nothing can fall in between: from memory or the
database up to the id that was the last one when it was registered, everything above it live. That is all there is to
it, since transitions are published in the order of their ids (see `collector/publication.py`).
"""

from __future__ import annotations

import asyncio
import random
from typing import Annotated

import structlog
from aiohttp import web
from pydantic import Field

from collector.history import History
from muster.access.principal import STILL_MAY
from muster.access.roles import Role
from muster.api import present, schemas
from muster.api.names import Names, as_uuid
from muster.api.picture import Pictures
from muster.api.problems import Kind as Problem
from muster.api.problems import ProblemError
from muster.api.queries import Query, read_query, some_of
from muster.api.sse import MEDIA_TYPE, encoded, fleet_event, transition_event
from muster.api.stream import WRITE_TIMEOUT_S, Stream, TooSlow
from muster.api.table import Route
from muster.events import Ended, Event, Kind, Overrun, Reader, Wanted
from muster.hub import Hub, Leading
from store.errors import StoreError
from validator.reasons import Health

_log = structlog.get_logger(__name__)

MAX_STREAMS = 2000
"""Open at once: a descriptor each, and at worst 60 kB of ours and 128 kB of the kernel's memory."""

MAX_REPLAY = 10_000
"""Transitions that are sent again; who has missed more reads the fleet anew, which is shorter."""

REPLAY_PAGE = 50
"""Transitions in one query and one write: some 35 kB."""

CHECK_EVERY_S = 60.0
"""How often a stream looks whether its token or session is still good. Heartbeats make sure that it gets to it."""

AGAIN_MS = (1000, 5000)
"""When a browser connects again, drawn by lot for each stream: not all of them at once."""

MAX_ID = 2**63 - 1


class EventsQuery(Query):
    """Which events."""

    types: Annotated[frozenset[Kind], *some_of(Kind)] = frozenset()
    """Names of events; without it, all of them."""
    health: Annotated[frozenset[Health], *some_of(Health)] = frozenset()
    """Transitions from or to one of these healths only."""
    cluster: Annotated[str, Field(max_length=1024)] = ""
    """Transitions and validations of this cluster only; a name or an id."""
    after: Annotated[int, Field(ge=0, le=MAX_ID)] | None = None
    """Go on after this transition. A `Last-Event-ID` header counts more: browsers send it when they connect again."""


class EventStreams:
    """Handlers on one hub."""

    def __init__(
        self,
        hub: Hub,
        pictures: Pictures,
        names: Names,
        *,
        max_streams: int = MAX_STREAMS,
        max_replay: int = MAX_REPLAY,
        write_timeout_s: float = WRITE_TIMEOUT_S,
        check_every_s: float = CHECK_EVERY_S,
    ) -> None:
        self._hub = hub
        self._events = hub.events
        self._pictures = pictures
        self._names = names
        self._max_streams = max_streams
        self._max_replay = max_replay
        self._write_timeout_s = write_timeout_s
        self._check_every_s = check_every_s
        self._replaying = asyncio.Semaphore(1)
        """Held for one query: however many come back at once, the recorder keeps its connections."""

    def routes(self) -> list[Route]:
        """Its rows of the route table."""
        return [
            Route(
                "GET",
                "/api/v1/events",
                self.events,
                Role.VIEWER,
                "What happens, as it happens: `hello`, `transition`, `fleet`, `validation`, `dropped`, `bye`",
                query=EventsQuery,
                media_type=MEDIA_TYPE,
                events=(
                    ("hello", schemas.Hello),
                    (Kind.TRANSITION, schemas.Transition),
                    (Kind.FLEET, schemas.FleetChanged),
                    (Kind.VALIDATION, schemas.ValidationStep),
                    ("dropped", schemas.Dropped),
                    ("bye", schemas.Bye),
                ),
                problems=(
                    Problem.NOT_LEADING,
                    Problem.STORE_UNAVAILABLE,
                    Problem.BUSY,
                    Problem.CLUSTER_NOT_FOUND,
                    Problem.AMBIGUOUS_CLUSTER,
                ),
            )
        ]

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream events until the client leaves or is too slow, its access ends, or this instance leads no more.

        `hello` comes first and says whether all since `Last-Event-ID` follows. Every id is a point to go on from.
        """
        query = read_query(EventsQuery, request.query)
        after = _last_event_id(request.headers.getall("Last-Event-ID", []))
        leading = self._pictures.leading()
        cluster_id = as_uuid(query.cluster) or (await self._names.find(query.cluster) if query.cluster else None)
        wanted = Wanted(query.types, query.health, cluster_id)
        if request.method == "HEAD":
            return web.Response(content_type=MEDIA_TYPE)
        if len(self._events.readers) >= self._max_streams:
            raise ProblemError(Problem.BUSY, f"{self._max_streams} streams are open, and there are no more. Try later.")
        stream = Stream(request, MEDIA_TYPE, self._write_timeout_s)
        try:
            reader = self._events.subscribe(wanted, stream.hurry)
        except Ended as ended:
            raise ProblemError(Problem.NOT_LEADING, f"no events: {ended}") from None
        try:
            await self._serve(stream, reader, leading, request, query.after if after is None else after)
        finally:
            self._events.leave(reader)
        return stream.response

    async def _serve(
        self, stream: Stream, reader: Reader, leading: Leading, request: web.Request, after: int | None
    ) -> None:
        start, history = self._events.position, leading.history  # no await since the reader was registered
        at_hand = after is not None and self._events.back_to(reader, after)
        replay = after is not None and not at_hand and await self._can_replay(history, after, start)
        resumed = at_hand or replay
        picture = await self._pictures.now()
        hello = schemas.Hello(
            now=present.instant(self._hub.clock.now()),
            version=self._hub.version,
            generation=picture.generation,
            resumed=resumed,
        )
        try:
            await stream.open()
            again_ms = random.randint(*AGAIN_MS)  # noqa: S311 - a lot, not a secret
            await stream.send(encoded("hello", hello, position=after if resumed else start, again_ms=again_ms))
            if replay and after is not None:
                await self._replay(stream, reader.wanted, history, after, start)
            await self._follow(stream, reader, request)
        except (TooSlow, Overrun):
            missed = self._events.behind(reader)
            self._events.dropped += 1
            _log.debug("event reader dropped", events=missed, client=request.remote)
            await stream.say_goodbye(encoded("dropped", schemas.Dropped(events=missed)))
        except Ended as ended:
            await stream.say_goodbye(encoded("bye", schemas.Bye(why=str(ended))))
        except StoreError as error:  # while it was replayed; the head is sent, so it can't be a problem document
            await stream.say_goodbye(encoded("bye", schemas.Bye(why=error.message)))
        except ConnectionError:
            pass  # the client has left

    async def _follow(self, stream: Stream, reader: Reader, request: web.Request) -> None:
        loop, still_may = asyncio.get_running_loop(), request.get(STILL_MAY)
        check_at = loop.time() + self._check_every_s
        while True:
            piece = await self._events.next(reader)
            if still_may is not None and loop.time() >= check_at:
                check_at = loop.time() + self._check_every_s
                if not still_may():
                    raise Ended("the token or session by which this stream was opened is no longer good")
            await stream.send(piece)

    async def _can_replay(self, history: History, after: int, until: int) -> bool:
        return 0 <= until - after <= self._max_replay and await history.reaches_back_to(after)

    async def _replay(self, stream: Stream, wanted: Wanted, history: History, after: int, until: int) -> None:
        while after < until:
            async with self._replaying:
                changes = await history.after(after, REPLAY_PAGE)
            if not changes:
                return
            after = changes[-1].id
            missed = [transition_event(change) for change in changes if change.id <= until]
            if wires := [event.wire for event in missed if wanted.takes(event)]:
                await stream.send(b"".join(wires))


class FleetTeller:
    """The picture as an event, whenever it means something else."""

    def __init__(self, hub: Hub, pictures: Pictures) -> None:
        self._hub = hub
        self._pictures = pictures
        self._told: tuple[Leading, int] | None = None

    async def __call__(self) -> Event | None:
        """The picture now; None if it was told already, or there is none."""
        try:
            picture = await self._pictures.now()
        except ProblemError:  # leads no more
            return None
        if (told := (picture.leading, picture.generation)) == self._told:
            return None
        self._told = told
        document = schemas.FleetChanged(
            now=present.instant(picture.snapshot.now),
            generation=picture.generation,
            counts={health.value: picture.snapshot.counts[health] for health in present.ATTENTION},
        )
        return fleet_event(document, self._hub.events.position)


def _last_event_id(given: list[str]) -> int | None:
    texts = [text for text in given if text]  # some clients send it empty at first
    if not texts:
        return None
    if (
        len(texts) > 1
        or not (texts[0].isascii() and texts[0].isdigit())
        or len(texts[0]) > 19
        or int(texts[0]) > MAX_ID
    ):
        raise ProblemError(
            Problem.BAD_REQUEST,
            f"Last-Event-ID {texts[0][:64]!r} is no number, as the ids of events are. Leave it out to begin now.",
        )
    return int(texts[0])
