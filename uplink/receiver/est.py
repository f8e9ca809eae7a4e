"""EST over HTTP (RFC 7030, RFC 8951): `cacerts`, `csrattrs`, `simpleenroll`, `simplereenroll`.

`serverkeygen` is not here: a key is born where it is used. Answers have a `Content-Length` and one line of base64, and
`Retry-After` is in seconds, since strongSwan's client reads nothing else.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web
from cryptography import x509

from store.errors import StoreError
from uplink.receiver.audit import STRANGER, Action
from uplink.receiver.enrolment import Enrolments, Refused, Waiting
from uplink.receiver.generations import Generations
from uplink.receiver.limits import Buckets
from uplink.receiver.peers import NO_CERTIFICATE, NotKnown, Peers
from uplink.receiver.reading import BodyTooLarge, BodyTooSlow, read_body
from uplink.receiver.refusals import Refusals, Seen
from uplink.wire import est
from uplink.wire.bounds import MAX_CSR_BYTES
from uplink.wire.errors import WireError
from uplink.wire.retry import retry_after_header
from validator.clock import Clock

_log = structlog.get_logger(__name__)

REALM = 'Basic realm="muster receiver", charset="UTF-8"'

MAX_AUTHORIZATION_CHARS = 1024

BURST = 20
EVERY_S = 3.0
"""Enrolments of one address: twenty at once, then one every 3 s. A token can't be guessed; this is for the signing."""

AGAIN_S = 10.0
"""Where the database is away."""

Handler = Callable[[web.Request], Awaitable[web.Response]]


class EstDoor:
    """The four resources."""

    def __init__(
        self,
        enrolments: Enrolments,
        peers: Peers,
        refusals: Refusals,
        generations: Generations,
        clock: Clock,
    ) -> None:
        self._enrolments = enrolments
        self._refusals = refusals
        self._peers = peers
        self._clock = clock
        self._generations = generations
        self._buckets = Buckets(BURST, EVERY_S)

    def routes(self) -> list[web.RouteDef]:
        """What the server has to know."""
        return [
            web.get(est.CACERTS, self._get_cacerts),
            web.get(est.CSRATTRS, self._get_csrattrs),
            web.post(est.ENROLL, self._answering(self._enrol)),
            web.post(est.REENROLL, self._answering(self._renew)),
        ]

    async def _get_cacerts(self, _: web.Request) -> web.Response:
        return _base64(est.encode_certificates(self._generations.now.bundle), est.CERTIFICATES_TYPE)

    async def _get_csrattrs(self, _: web.Request) -> web.Response:
        return _base64(est.WANTED, est.CSRATTRS_TYPE)

    async def _enrol(self, request: web.Request) -> web.Response:
        organisation, token = _basic(request)
        csr = await self._csr(request)
        found = await self._enrolments.enrol(organisation, token, csr, self._clock.now(), request.remote or "")
        if isinstance(found, Waiting):
            text = "The operator of the receiver has to approve this. Repeat the same request.\n"
            headers = {"Retry-After": retry_after_header(found.retry_after_s)}
            return web.Response(status=202, text=text, headers=headers)
        return _base64(est.encode_certificates([found]), est.CERTS_ONLY_TYPE)

    async def _renew(self, request: web.Request) -> web.Response:
        source = request.remote or ""
        try:
            peer = await self._peers.of(request, self._clock.now())
        except NotKnown as error:
            if error.why != NO_CERTIFICATE:
                who = STRANGER if error.installation is None else str(error.installation)
                seen = Seen(source, who, error.organisation, error.installation)
                about = {"status": error.status, "why": str(error), "certificate": error.why}
                await self._refusals.note(Action.REFUSE_RENEWAL, seen, self._clock.now(), **about)
            raise
        made = await self._enrolments.renew(peer, await self._csr(request), self._clock.now(), source)
        return _base64(est.encode_certificates([made]), est.CERTS_ONLY_TYPE)

    async def _csr(self, request: web.Request) -> x509.CertificateSigningRequest:
        if request.content_type != est.CSR_TYPE:
            raise Refused(415, f"The body has to be {est.CSR_TYPE}.")
        return est.decode_csr(await read_body(request, MAX_CSR_BYTES))

    def _not_too_often(self, request: web.Request) -> None:
        if wait_s := self._buckets.wait_s(request.remote or "", self._clock.now()):
            raise Refused(429, "Too many enrolments from this address.", wait_s)

    def _answering(self, handler: Handler) -> Handler:
        """Bound how often an address asks, and turn what goes wrong into EST's plain text."""

        async def answer(request: web.Request) -> web.Response:
            try:
                self._not_too_often(request)
                return await handler(request)
            except Refused as error:
                refused = error
            except NotKnown as error:
                refused = Refused(error.status, str(error))
            except BodyTooLarge:
                refused = Refused(413, f"The CSR is longer than {MAX_CSR_BYTES} bytes.")
            except BodyTooSlow:
                refused = Refused(408, "The CSR did not come in time.")
            except WireError as error:
                refused = Refused(400, f"{error}.")
            except StoreError as error:
                _log.warning("enrolment without a database", error=error.message)
                refused = Refused(503, "The receiver's database is away.", AGAIN_S)
            _log.info("enrolment refused", status=refused.status, why=str(refused), address=request.remote)
            return _text(refused, asks_for_token=request.path == est.ENROLL)

        return answer


def _basic(request: web.Request) -> tuple[str, str]:
    """Organisation and token of `Authorization: Basic`. Raises `Refused`."""
    header = request.headers.get("Authorization", "")
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic" or len(header) > MAX_AUTHORIZATION_CHARS:
        raise Refused(401, "The organisation's id and an activation token are needed, as HTTP Basic.")
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Refused(400, "The Authorization header is no HTTP Basic.") from error
    if not colon or "\0" in user:
        raise Refused(400, "The Authorization header is no HTTP Basic.")
    return user, password


def _base64(body: bytes, content_type: str) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": content_type, est.TRANSFER_ENCODING: "base64"})


def _text(refused: Refused, *, asks_for_token: bool) -> web.Response:
    response = web.Response(status=refused.status, text=f"{refused}\n")
    if refused.status == 401 and asks_for_token:
        response.headers["WWW-Authenticate"] = REALM
    if refused.retry_after_s is not None:
        response.headers["Retry-After"] = retry_after_header(refused.retry_after_s)
    if refused.status in (403, 408, 413):
        response.force_close()
    return response
