"""EST (RFC 7030, RFC 8951), the client's side: `cacerts`, `simpleenroll`, `simplereenroll`.

The token is shown without being asked for: TLS has authorised the server by then, with explicit anchors (section 3.2.3
asks for no more). `csrattrs` is not asked: our CSR is the same whatever it says, and servers may not have it. Nor is
`serverkeygen`: a key is born here. There is no tls-unique in TLS 1.3, so no proof of possession beyond the CSR's own.
"""

from __future__ import annotations

import base64
from typing import Final

from cryptography import x509

from uplink.client.enrolment.registrar import Later, NotNow, Refused, Signed
from uplink.client.network.skew import skew_s
from uplink.client.network.transport import Answer, Question, Transport
from uplink.client.network.trust import Trust
from uplink.wire import est
from uplink.wire.bounds import MAX_EST_BYTES
from uplink.wire.errors import WireError
from uplink.wire.retry import retry_after_s
from validator.clock import Clock
from validator.printable import printable

DEADLINE_S: Final = 40.0
"""Of one request: a CA behind it may ask an HSM."""

MAX_QUOTED_CHARS: Final = 200
"""Of what a server says why not."""


class EstRegistrar:
    """Of one server. `register_url` is an origin, with the path before `/.well-known/est` if there is one."""

    def __init__(self, transport: Transport, register_url: str, clock: Clock) -> None:
        self._transport = transport
        self._url = register_url.rstrip("/")
        self._clock = clock
        self.skew_s: float | None = None
        """How far our clock is ahead of the server's, since its last answer."""

    async def roots(self, trust: Trust) -> tuple[x509.Certificate, ...]:
        return self._certificates(await self._ask("GET", est.CACERTS, trust.anonymous()))

    async def enrol(
        self, trust: Trust, organisation: str, token: str, csr: x509.CertificateSigningRequest
    ) -> Signed | Later:
        login = base64.b64encode(f"{organisation}:{token}".encode()).decode()
        answer = await self._post(est.ENROLL, trust.anonymous(), csr, {"Authorization": f"Basic {login}"})
        return self._signed(answer, token)

    async def renew(self, trust: Trust, csr: x509.CertificateSigningRequest) -> Signed | Later:
        return self._signed(await self._post(est.REENROLL, trust, csr, {}))

    async def _post(
        self, path: str, trust: Trust, csr: x509.CertificateSigningRequest, headers: dict[str, str]
    ) -> Answer:
        typed = {"Content-Type": est.CSR_TYPE, est.TRANSFER_ENCODING: "base64", **headers}
        return await self._ask("POST", path, trust, est.encode_csr(csr), typed)

    async def _ask(
        self, method: str, path: str, trust: Trust, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        question = Question(
            method,
            self._url + path,
            {"Accept": est.CERTIFICATES_TYPE, **(headers or {})},
            body,
            max_answer_bytes=MAX_EST_BYTES,
            deadline_s=DEADLINE_S,
        )
        answer = await self._transport.ask(question, trust)
        self.skew_s = skew_s(answer.date, self._clock.now())
        return answer

    def _signed(self, answer: Answer, secret: str = "") -> Signed | Later:
        if answer.status == 202:
            return Later(retry_after_s(answer.retry_after, self._clock.now()))
        if answer.status in (401, 403):
            raise Refused(f"{self._url} answers {answer.status}{_quoted(answer, secret)}")
        return Signed(self._certificates(answer, secret))

    def _certificates(self, answer: Answer, secret: str = "") -> tuple[x509.Certificate, ...]:
        if answer.status != 200:
            raise NotNow(f"{self._url} {_said(answer)}{_quoted(answer, secret)}", self._wait_s(answer))
        if _type(answer) != est.CERTIFICATES_TYPE:
            raise NotNow(f"{self._url} answers with {_type(answer) or 'no type'}: that is no EST server. See its URL")
        try:
            return tuple(est.decode_certificates(answer.body))
        except WireError as error:
            raise NotNow(f"{self._url}: {error}") from error

    def _wait_s(self, answer: Answer) -> float | None:
        return None if answer.retry_after is None else retry_after_s(answer.retry_after, self._clock.now())


def _type(answer: Answer) -> str:
    return printable((answer.content_type or "").partition(";")[0].strip().lower())


def _said(answer: Answer) -> str:
    if 300 <= answer.status < 400:
        return f"redirects ({answer.status}), and redirects are never followed: set the URL that it leads to"
    return f"answers {answer.status}"


def _quoted(answer: Answer, secret: str) -> str:
    """What the server says of it. Nothing where the token is in it, which then would be in our log, too."""
    text = printable(answer.body[: 4 * MAX_QUOTED_CHARS].decode("utf-8", "replace"), MAX_QUOTED_CHARS)
    if _type(answer) != "text/plain" or not text or (secret and secret[:16] in text):
        return ""
    return f": {text}"
