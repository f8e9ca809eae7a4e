"""Telemetry: what may leave, what it looks like, on and off."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Annotated, NoReturn

import structlog
from aiohttp import web
from pydantic import Field

from muster.access.audit import Audit
from muster.access.principal import PRINCIPAL, Principal
from muster.access.roles import Role
from muster.api import schemas
from muster.api.answers import json_answer
from muster.api.bodies import read_body
from muster.api.present import instant, maybe_instant
from muster.api.problems import Kind, ProblemError
from muster.api.queries import NoQuery, Query, one_of, read_query, some_of
from muster.api.table import Route
from store.errors import StoreError
from uplink.client.consent.chain import Checked, Head
from uplink.client.consent.consent import Impossible, Standing, TermsChanged, Wanted, Who
from uplink.client.consent.desk import Done
from uplink.client.consent.dictionary import Field as DictionaryField
from uplink.client.consent.record import Given, shown
from uplink.client.consent.streams import Stream
from uplink.client.encoding.preview import Preview
from uplink.client.telemetry import Telemetry
from uplink.wire.private_file import PrivateFileError
from validator.file_thread import FileThread

_log = structlog.get_logger(__name__)

TELEMETRY = "/api/v1/telemetry"

MAX_ENTRIES = 1000
"""Of the audit log in one answer."""

READING_S = 10.0
"""To decode a batch into what people read: 0.1 s for a megabyte, on a thread, so that probes stay on time."""

NOTED_S = 0.2
"""How long an answer waits for the service's audit log, which goes on without it: off is told within a second, also
where the database hangs, and a statement that nobody waits for takes seconds to give up."""

EXPORT_TYPE = "application/x-ndjson"


class OffQuery(Query):
    """What is switched off."""

    stream: Annotated[frozenset[Stream], *some_of(Stream)] = frozenset()
    """Only these; without it everything."""
    interface: Annotated[str, Field(pattern=r"^(api|cli|console)$")] = "api"
    """By which way."""


class PreviewQuery(Query):
    """Which batch."""

    stream: Annotated[Stream, *one_of(Stream)] = Stream.METRICS
    """Of which stream."""
    raw: bool = False
    """The bytes, in place of the readable form."""


class TelemetryRoutes:
    """Handlers on one instance's telemetry."""

    def __init__(self, telemetry: Telemetry, audit: Audit) -> None:
        self._telemetry = telemetry
        self._audit = audit
        self._reading = FileThread("telemetry-preview")
        self._noting: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        """Its rows of the route table."""
        body = (Kind.BAD_BODY, Kind.UNSUPPORTED_MEDIA_TYPE, Kind.SLOW_REQUEST, Kind.TOO_LARGE)
        refused = (Kind.TELEMETRY_IMPOSSIBLE, Kind.TELEMETRY_FILES)
        return [
            Route("GET", TELEMETRY, self.state, Role.VIEWER, "Whether anything leaves", schemas.Telemetry),
            Route(
                "GET",
                TELEMETRY + "/terms",
                self.terms,
                Role.VIEWER,
                "What somebody consents to",
                schemas.TelemetryTerms,
            ),
            Route(
                "GET",
                TELEMETRY + "/preview",
                self.preview,
                Role.VIEWER,
                "The next batch, byte for byte",
                schemas.TelemetryPreview,
                PreviewQuery,
                problems=(Kind.NOT_LEADING, Kind.TELEMETRY_IMPOSSIBLE),
            ),
            Route(
                "PUT",
                TELEMETRY,
                self.turn_on,
                Role.ADMIN,
                "Consent",
                schemas.Telemetry,
                body=schemas.TelemetryOn,
                problems=(*body, *refused, Kind.TELEMETRY_TERMS_CHANGED, Kind.STORE_UNAVAILABLE),
                changes=True,
                action="telemetry.on",
            ),
            Route(
                "DELETE",
                TELEMETRY,
                self.turn_off,
                Role.ADMIN,
                "Off",
                schemas.Telemetry,
                OffQuery,
                problems=refused,
                changes=True,
                action="telemetry.off",
            ),
            Route(
                "POST",
                TELEMETRY + "/forget",
                self.forget,
                Role.ADMIN,
                "Have the other side delete what it has, then off",
                schemas.Telemetry,
                problems=refused,
                changes=True,
                action="telemetry.forget",
            ),
            Route(
                "GET",
                TELEMETRY + "/audit",
                self.audit,
                Role.ADMIN,
                "Who switched what, and whether the log is whole",
                schemas.TelemetryAudit,
                problems=(Kind.TELEMETRY_FILES,),
            ),
            Route(
                "POST",
                TELEMETRY + "/export",
                self.export,
                Role.ADMIN,
                "A file for the receiver",
                media_type=EXPORT_TYPE,
                problems=refused,
                changes=True,
                action="telemetry.export",
            ),
        ]

    # -- looking

    async def state(self, request: web.Request) -> web.Response:
        """Of this host: the file that `place` names decides, and what overrides it is said in `why`."""
        read_query(NoQuery, request.query)
        return json_answer(await self._document())

    async def terms(self, request: web.Request) -> web.Response:
        """The commitments, and every field that can leave. What is not among the fields can't be sent."""
        read_query(NoQuery, request.query)
        offer = self._telemetry.offer
        of_all = [_field("", each) for each in offer.dictionary.resource.values()]
        others = [_field(kind.stream, each) for kind in offer.dictionary.kinds.values() for each in kind.fields()]
        return json_answer(
            schemas.TelemetryTerms(
                commitments_version=offer.commitments.version,
                commitments_sha256=offer.commitments.sha256,
                commitments=offer.commitments.text,
                dictionary_version=offer.dictionary.version,
                fields=(*of_all, *others),
                organisation=offer.organisation,
                register_url=offer.endpoints.register_url if offer.endpoints else None,
                ingest_url=offer.endpoints.ingest_url if offer.endpoints else None,
            )
        )

    async def preview(self, request: web.Request) -> web.Response:
        """By the encoder that makes what is sent, without touching the network.

        While the stream is off it is made of what is known now, and forgotten. While it is on, it is the batch that
        goes next: its `sha256` is that of what is sent.
        """
        query = read_query(PreviewQuery, request.query)
        async with _refusals():
            preview = await self._telemetry.preview(query.stream)
        if preview is None:
            raise ProblemError(
                Kind.NOT_LEADING, "A preview is made of the picture of the fleet, and there is none here."
            )
        document = partial(_preview, preview, raw=query.raw)
        return json_answer(await self._reading.run(document, READING_S))

    async def audit(self, request: web.Request) -> web.Response:
        """Of this host. Every line has the hash of the one before; `head` was kept apart from them."""
        read_query(NoQuery, request.query)
        async with _refusals():
            return json_answer(_checked(await self._telemetry.audit()))

    # -- deciding

    async def turn_on(self, request: web.Request) -> web.Response:
        """Consent to streams: a new consent, whatever there was before, with a new installation id.

        The request repeats the hash of the commitments and the version of the dictionary: what somebody has not read,
        they can't consent to. Where the database is away nothing is switched on, since nobody could see who did it.
        """
        wanted, by = await read_body(request, schemas.TelemetryOn), request[PRINCIPAL]
        token = None if wanted.activation_token is None else wanted.activation_token.get_secret_value()
        asked = wanted.model_dump(mode="json", exclude={"activation_token"})
        meant, who = _wanted(wanted), Who(by.name, wanted.interface)
        async with _refusals():
            self._telemetry.check(meant, who)
            await self._audit.write(by, "telemetry.on", "telemetry", await self._before(), asked)
            done = await self._telemetry.turn_on(meant, who, token)
        return await self._decided("telemetry.on", by, done)

    async def turn_off(self, request: web.Request) -> web.Response:
        """Off, at once and without network: what waits is deleted, key and certificate are destroyed.

        It needs neither database nor audit log. With `stream` the consent goes on for the others.
        """
        query, by = read_query(OffQuery, request.query), request[PRINCIPAL]
        async with _refusals():
            done = await self._telemetry.turn_off(Who(by.name, query.interface), query.stream)
        return await self._decided("telemetry.off", by, done, ",".join(sorted(query.stream)) or "telemetry")

    async def forget(self, request: web.Request) -> web.Response:
        """One request to the receiver to delete all that it has of this installation; then off.

        Where the receiver can't be reached nothing changes: switch off without it, and ask for the deletion otherwise.
        """
        read_query(NoQuery, request.query)
        by = request[PRINCIPAL]
        async with _refusals():
            done = await self._telemetry.forget(Who(by.name, "api"))
        return await self._decided("telemetry.forget", by, done, "telemetry")

    async def export(self, request: web.Request) -> web.StreamResponse:
        """OTLP as JSON lines with a signed manifest, for `muster receiver import`. It needs a consent, too."""
        read_query(NoQuery, request.query)
        by = request[PRINCIPAL]
        async with _refusals():
            pieces = await self._telemetry.export(Who(by.name, "api"))
            first = await anext(pieces, b"")
        await self._audit.note(by, "telemetry.export", "telemetry")
        response = web.StreamResponse(headers={"Content-Type": EXPORT_TYPE})
        await response.prepare(request)
        await response.write(first)
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
        return response

    # -- how

    async def _decided(self, action: str, by: Principal, done: Done, note: str = "") -> web.Response:
        """`note` is the subject of an entry that is not in the audit log yet."""
        receipt = None if done.head is None else _head(done.head)
        _log.warning(action, who=by.name, epoch=done.record.epoch, receipt=receipt, trouble=done.trouble)
        noting = asyncio.create_task(self._note(action, by, note, receipt), name="telemetry-noting")
        self._noting.add(noting)
        noting.add_done_callback(self._noting.discard)
        await asyncio.wait({noting}, timeout=NOTED_S)
        return json_answer(await self._document(receipt, done.trouble))

    async def _note(self, action: str, by: Principal, subject: str, receipt: str | None) -> None:
        if subject:
            await self._audit.note(by, action, subject)
        with suppress(StoreError):  # the decision stands in its own log; this one holds a copy of that log's end
            if receipt is not None:
                await self._audit.write(by, f"{action}.receipt", receipt, None, {"receipt": receipt}, timeout_s=1.0)

    async def _before(self) -> dict[str, object]:
        standing = await self._telemetry.standing()
        return {"state": standing.word.value, **({} if standing.record is None else shown(standing.record))}

    async def _document(self, receipt: str | None = None, trouble: str = "") -> schemas.Telemetry:
        standing = await self._telemetry.standing()
        record, link = standing.record, self._telemetry.link()
        return schemas.Telemetry(
            state=standing.word.value,
            why=standing.why,
            place=self._telemetry.place,
            epoch=0 if record is None else record.epoch,
            decided_at=None if record is None else instant(record.decided_at),
            decided_by=None if record is None else record.by,
            interface=None if record is None else record.interface,
            consent=_consent(record) if isinstance(record, Given) else None,
            streams=_streams(standing),
            link=schemas.TelemetryLink(
                state=link.word,
                detail=link.detail,
                waiting_batches=link.waiting_batches,
                waiting_bytes=link.waiting_bytes,
                last_success_at=maybe_instant(link.last_success_at),
                next_attempt_at=maybe_instant(link.next_attempt_at),
                certificate_expires_at=maybe_instant(link.certificate_expires_at),
                clock_skew_s=link.clock_skew_s,
            ),
            receipt=receipt,
            trouble=trouble,
        )


@asynccontextmanager
async def _refusals() -> AsyncIterator[None]:
    try:
        yield
    except TermsChanged as error:
        _refuse(Kind.TELEMETRY_TERMS_CHANGED, error)
    except Impossible as error:
        _refuse(Kind.TELEMETRY_IMPOSSIBLE, error)
    except PrivateFileError as error:
        _refuse(Kind.TELEMETRY_FILES, error)


def _refuse(kind: Kind, error: Exception) -> NoReturn:
    text = str(error)
    raise ProblemError(kind, f"{text[:1].upper()}{text[1:]}.") from None


def _wanted(body: schemas.TelemetryOn) -> Wanted:
    return Wanted(
        frozenset(map(Stream, body.streams)),
        body.commitments_sha256,
        body.dictionary_version,
        frozenset(map(Stream, body.plain_names)),
        frozenset(map(Stream, body.free_text)),
    )


def _consent(given: Given) -> schemas.TelemetryConsent:
    return schemas.TelemetryConsent(
        consent_id=str(given.consent_id),
        installation_id=str(given.installation_id),
        organisation=given.organisation,
        register_url=given.endpoints.register_url if given.endpoints else None,
        ingest_url=given.endpoints.ingest_url if given.endpoints else None,
        commitments_version=given.commitments.version,
        commitments_sha256=given.commitments.sha256,
        dictionary_version=given.dictionary,
    )


def _streams(standing: Standing) -> dict[str, schemas.TelemetryStream]:
    scopes = standing.record.scope if isinstance(standing.record, Given) else {}
    return {
        stream.value: schemas.TelemetryStream(
            consented=each.consented,
            allowed=each.allowed,
            why=each.why,
            plain_names=stream in scopes and scopes[stream].plain_names,
            free_text=stream in scopes and scopes[stream].free_text,
        )
        for stream, each in standing.streams.items()
    }


def _field(stream: str, field: DictionaryField) -> schemas.TelemetryField:
    return schemas.TelemetryField(
        id=field.id,
        stream=stream,
        type=field.type.value,
        purpose=field.purpose,
        classification=field.classification.value,
        retention=field.retention,
        example=field.example,
        values=field.values,
    )


def _preview(preview: Preview, *, raw: bool) -> schemas.TelemetryPreview:
    batch = preview.batch
    return schemas.TelemetryPreview(
        stream=preview.stream.value,
        placeholder=preview.placeholder,
        batch_id=None if batch is None or preview.placeholder else str(batch.id),
        path=preview.stream.signal.path,
        sha256=None if batch is None else batch.digest,
        raw_bytes=0 if batch is None else len(batch.raw),
        packed_bytes=preview.packed_bytes(),
        records=0 if batch is None else batch.records,
        more=preview.more,
        dropped=dict(preview.drops),
        request=None if raw else preview.readable(),
        raw=b64encode(b"" if batch is None else batch.raw).decode() if raw else None,
    )


def _checked(checked: Checked) -> schemas.TelemetryAudit:
    entries = tuple(
        schemas.TelemetryAuditEntry(**entry.model_dump(exclude={"at"}), at=instant(entry.at))
        for entry in checked.entries[-MAX_ENTRIES:]
    )
    return schemas.TelemetryAudit(
        intact=not checked.problem,
        problem=checked.problem,
        entries_total=len(checked.entries),
        head=_head(checked.head),
        entries=entries,
    )


def _head(head: Head) -> str:
    return f"{head.number}:{head.hash}"
