"""OTLP over HTTP: `/v1/metrics`, `/v1/logs`, and the DELETE by which an installation is forgotten.

Whose a batch is comes from the certificate (`peers.py`). Every answer is protobuf, since a client takes a 4xx for the
receiver's word only then. A batch id that comes again with the same content is answered like the first time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID, uuid4

import structlog
from aiohttp import web

from store.errors import StoreError
from uplink.receiver.audit import By, Door
from uplink.receiver.batches import Batches, Stored
from uplink.receiver.limits import Buckets, Busy
from uplink.receiver.peers import FORGOTTEN, NotKnown, Peer, Peers
from uplink.receiver.reading import BodyTooLarge, BodyTooSlow, read_body
from uplink.wire import names
from uplink.wire.bounds import MAX_PACKED_BYTES, MAX_RAW_BYTES
from uplink.wire.errors import TooLarge, WireError
from uplink.wire.identity import uuid_of
from uplink.wire.otlp import CONTENT_TYPE, ENCODING, Code, Signal, accepted, refusal, unpack
from uplink.wire.retry import retry_after_header
from validator.clock import Clock

_log = structlog.get_logger(__name__)

BURST = 600
EVERY_S = 0.05
"""Batches of one organisation: 600 at once, then 20 a second: an outage of 88 hours is caught up within minutes."""

MAX_BUSY = 8
"""Requests of one organisation under way: 8 MiB. A client of ours has one."""

FULL_S = 3600.0
"""Where the quota is used up: retention makes room, or a person does."""
AGAIN_S = 10.0
BUSY_S = 1.0

Handler = Callable[[web.Request], Awaitable[web.Response]]


class OtlpRefused(Exception):  # noqa: N818 - what it is
    """The answer to a request that was not taken."""

    def __init__(self, status: int, code: Code, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


class OtlpDoor:
    """Both signals, and forgetting."""

    def __init__(self, batches: Batches, peers: Peers, clock: Clock) -> None:
        self._batches = batches
        self._peers = peers
        self._clock = clock
        self.buckets = Buckets(BURST, EVERY_S)
        self.busy = Busy.of(MAX_BUSY)

    def routes(self) -> list[web.RouteDef]:
        """What the server has to know."""
        signals = [web.post(signal.path, _answering(partial(self._ingest, signal))) for signal in Signal]
        return [*signals, web.delete(names.FORGET_PATH, _answering(self._forget))]

    async def _ingest(self, signal: Signal, request: web.Request) -> web.Response:
        peer = await self._peers.of(request, self._clock.now())
        if wait_s := self.buckets.wait_s(peer.organisation, self._clock.now()):
            raise OtlpRefused(429, Code.RESOURCE_EXHAUSTED, "too many batches of this organisation", wait_s)
        with self.busy.one(peer.organisation) as admitted:
            if not admitted:
                raise OtlpRefused(429, Code.RESOURCE_EXHAUSTED, "too many batches at a time", BUSY_S)
            return await self._take(signal, peer, request)

    async def _take(self, signal: Signal, peer: Peer, request: web.Request) -> web.Response:
        batch_id = _batch_id(request)
        raw = await _raw(request)
        now = self._clock.now()
        stored = await self._batches.take(
            peer.organisation, peer.installation, batch_id, signal, raw, now, certificate=peer.sha256
        )
        if stored is Stored.REVOKED:
            raise NotKnown(403, "This certificate was revoked.", stored.value)
        if stored is Stored.OTHER:
            raise OtlpRefused(409, Code.ALREADY_EXISTS, f"another batch has this {names.BATCH_ID}")
        if stored is Stored.FULL:
            raise OtlpRefused(429, Code.RESOURCE_EXHAUSTED, "the quota of this organisation is used up", FULL_S)
        return web.Response(body=accepted(signal), content_type=CONTENT_TYPE)

    async def _forget(self, request: web.Request) -> web.Response:
        now = self._clock.now()
        try:
            peer = await self._peers.of(request, now)
        except NotKnown as error:
            if error.why != FORGOTTEN:
                raise
            return web.Response(status=204)  # the answer to the first DELETE got lost
        by = By(str(peer.installation), Door.OTLP, request.remote or "")
        batches = await self._batches.forget(peer.installation, now, FORGOTTEN, by)
        _log.info("forgotten", organisation=peer.organisation, installation=str(peer.installation), batches=batches)
        return web.Response(status=204)


def _batch_id(request: web.Request) -> UUID:
    """The sender's id of the batch; a fresh one for plain clients, whose repeats can't be told."""
    given = request.headers.getall(names.BATCH_ID, [])
    if not given:
        return uuid4()
    if len(given) > 1:
        raise WireError(f"there are {len(given)} {names.BATCH_ID} headers")
    return uuid_of(given[0], names.BATCH_ID)


async def _raw(request: web.Request) -> bytes:
    if request.content_type != CONTENT_TYPE:
        raise OtlpRefused(415, Code.INVALID_ARGUMENT, f"the body has to be {CONTENT_TYPE}")
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in (ENCODING, "identity"):
        raise OtlpRefused(415, Code.INVALID_ARGUMENT, f"the only Content-Encoding here is {ENCODING}")
    body = await read_body(request, MAX_PACKED_BYTES)
    return unpack(body) if encoding == ENCODING else body


def _answering(handler: Handler) -> Handler:
    """Turn what goes wrong into a status of G5 with a `google.rpc.Status`."""

    async def answer(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except OtlpRefused as error:
            refused = error
        except NotKnown as error:
            code = Code.UNAUTHENTICATED if error.status == 401 else Code.PERMISSION_DENIED
            refused = OtlpRefused(error.status, code, str(error))
        except (BodyTooLarge, TooLarge) as error:
            text = str(error) or f"the body is longer than {MAX_RAW_BYTES} bytes"
            refused = OtlpRefused(413, Code.RESOURCE_EXHAUSTED, text)
        except BodyTooSlow:
            refused = OtlpRefused(503, Code.UNAVAILABLE, "the body did not come in time", BUSY_S)
        except WireError as error:
            refused = OtlpRefused(400, Code.INVALID_ARGUMENT, str(error))
        except StoreError as error:
            _log.warning("ingest without a database", error=error.message)
            refused = OtlpRefused(503, Code.UNAVAILABLE, "the receiver's database is away", AGAIN_S)
        return _refusing(refused)

    return answer


def _refusing(refused: OtlpRefused) -> web.Response:
    body = refusal(refused.code, str(refused))
    response = web.Response(status=refused.status, body=body, content_type=CONTENT_TYPE)
    if refused.retry_after_s is not None:
        response.headers["Retry-After"] = retry_after_header(refused.retry_after_s)
    if refused.status in (401, 403, 413) or (refused.status == 503 and refused.retry_after_s == BUSY_S):
        response.force_close()
    return response
