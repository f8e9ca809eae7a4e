"""From the pod's identity to an access token of Google: the metadata server, or STS and perhaps one more exchange.

Whose token it is is asked as well: on a node pool without workload identity, the metadata server gives every pod the
node's own.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from gcloud.aio.auth import Token
from gcloud.aio.storage import Storage

from validator.clock import Clock
from validator.doctor import gcp
from validator.file_thread import FileThread
from validator.net.failure import ProbeFailure
from validator.net.policy import Destination
from validator.net.sdk_session import ERRORS, SdkSessions, transport_failure
from validator.printable import printable
from validator.probes import gcs_readings
from validator.probes.gcs_asking import refused_by
from validator.probes.gcs_identity import POD_TOKEN, ExternalAccount, GcpIdentity, MetadataIdentity
from validator.probes.projected import Claims, claims_of, read_token
from validator.reasons import Reason, Stage
from validator.scrub import scrub

SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
"""Reads buckets, writes objects; changes no policies."""

LIFETIME_S = 3600
MAX_QUOTED_CHARS = 250

TRIES = 4
"""The metadata server of GKE does not answer, or with 404 and 5xx, in the first seconds of a pod."""

_METADATA = "computeMetadata/v1/instance/service-accounts/default"


@dataclass(frozen=True, slots=True)
class GcpToken:
    """Good for about an hour. Never shown."""

    text: str = field(repr=False)
    identity: str
    """Whose it is: an e-mail, or `principal://…`."""
    member: str
    """The same as IAM names it in a binding."""


class TokenFetch:
    """The fetch behind `Renewed`."""

    def __init__(
        self,
        identity: GcpIdentity,
        sessions: SdkSessions,
        *,
        expected_email: str | None,
        pause_s: float,
        clock: Clock,
        files: FileThread,
    ) -> None:
        self._identity = identity
        self._sessions = sessions
        self._expected_email = expected_email
        self._pause_s = pause_s
        self._clock = clock
        self._files = files

    async def __call__(self) -> tuple[GcpToken, float]:
        """A token and when it expires (hub clock). Raises `ProbeFailure` with stage identity."""
        try:
            if isinstance(self._identity, ExternalAccount):
                return await self._exchange(self._identity)
            return await self._from_metadata(self._identity)
        except ProbeFailure as failure:
            failure.stage_ = Stage.IDENTITY
            raise

    async def _exchange(self, account: ExternalAccount) -> tuple[GcpToken, float]:
        claims = claims_of(await read_token(account.token_file, self._files))
        token = Token(
            service_file=io.StringIO(json.dumps(account.settings)),
            session=self._sessions.to(Destination.TOKENS),  # type: ignore[arg-type] # its own alias of aiohttp's class
            scopes=[SCOPE],
        )
        try:
            # Not `get`: that retries for minutes and leaves tasks behind.
            found = await token.refresh(timeout=LIFETIME_S)
        except (*ERRORS, LookupError, TypeError) as error:
            raise self._exchange_failed(error, account, claims) from None  # the error holds the request's headers
        member = gcp.pool_member(account.audience, claims.subject or "SUBJECT")
        if account.impersonates:
            member = f"serviceAccount:{account.impersonates}"
        if not isinstance(found.value, str) or not found.value:
            raise ProbeFailure(
                Reason.UNEXPECTED_STORAGE_ANSWER, "Google's token service answers 200, but with no token"
            )
        identity = printable(account.impersonates or member, 300)
        return GcpToken(found.value, identity, member), self._clock.now() + _lifetime_s(found.expires_in)

    def _exchange_failed(self, error: Exception, account: ExternalAccount, claims: Claims) -> ProbeFailure:
        refusal = refused_by(error)
        if refusal is None:
            return transport_failure(error, "Google's token service", Stage.IDENTITY)
        reason = gcs_readings.token_reason(refusal.status, refusal.code, refusal.message)
        evidence: dict[str, str | int | float | bool] = {"http_status": refusal.status, "error_code": refusal.code}
        said = {"issuer": claims.issuer, "subject": claims.subject, "audience": ", ".join(claims.audiences)}
        evidence |= {key: value for key, value in said.items() if value}
        if reason is Reason.TRUST_POLICY_MISSING and account.impersonates and refusal.code != "invalid_target":
            member = gcp.pool_member(account.audience, claims.subject or "SUBJECT")
            evidence["fix"] = gcp.impersonation_command(account.impersonates, member)
        text = f"Google gives no token ({refusal.status} {refusal.code}): {_quoted(refusal.message)}"
        return ProbeFailure(reason, text, Stage.IDENTITY, evidence, retry_after_s=refusal.retry_after_s)

    async def _from_metadata(self, identity: MetadataIdentity) -> tuple[GcpToken, float]:
        email = printable(await self._metadata(identity, "email"), 300)
        if gcs_readings.node_account(email) or (self._expected_email and email != self._expected_email):
            whose = "the node's own account" if gcs_readings.node_account(email) else "another account"
            raise ProbeFailure(
                Reason.WRONG_IDENTITY,
                f"the metadata server gives tokens of {whose}",
                evidence={"identity": email, "expected_identity": self._expected_email or "the pod's own account"},
            )
        text = await self._metadata(identity, f"token?scopes={SCOPE}", email)
        try:
            given = json.loads(text)
            token, lifetime_s = given["access_token"], _lifetime_s(given["expires_in"])
        except (ValueError, LookupError, TypeError, RecursionError):
            raise _odd() from None
        if not isinstance(token, str) or not token:
            raise _odd()
        return GcpToken(token, email, await self._member(email)), self._clock.now() + lifetime_s

    async def _metadata(self, identity: MetadataIdentity, what: str, email: str = "") -> str:
        """One value, asked for again while the server may only be not ready. Renewed's deadline is around it."""
        for attempt in range(1, TRIES + 1):
            try:
                return await self._metadata_once(identity, what, email)
            except ProbeFailure as failure:
                if attempt == TRIES or not failure.evidence.get("transient"):
                    raise
            await asyncio.sleep(self._pause_s * 2 ** (attempt - 1))
        raise AssertionError

    async def _metadata_once(self, identity: MetadataIdentity, what: str, email: str) -> str:
        url = f"http://{identity.host}/{_METADATA}/{what}"
        session = self._sessions.to(Destination.METADATA)
        try:
            answer = await session.get(url, headers={"Metadata-Flavor": "Google"}, allow_redirects=False)
            text = (await answer.read()).decode("utf-8", "replace")
        except ERRORS as error:
            failure = transport_failure(error, identity.host, Stage.IDENTITY)
            if not failure.unanswered:
                raise failure from error
            text = f"the metadata server can't be reached: {failure.message}"
            evidence = {"transient": True}
            raise ProbeFailure(Reason.IDENTITY_UNAVAILABLE, text, evidence=evidence, unanswered=True) from None
        if answer.status == 200 and answer.headers.get("Metadata-Flavor") == "Google":
            return text.strip()
        if answer.status == 200:
            raise _odd()
        reason = gcs_readings.metadata_reason(answer.status, text)
        found: dict[str, Any] = {"http_status": answer.status, "identity": email or "unknown"}
        if gcs_readings.is_passing(answer.status, text):
            found["transient"] = True
        if reason is Reason.TRUST_POLICY_MISSING and email:
            found["fix"] = gcp.impersonation_command(email, await self._member("PROJECT_ID.svc.id.goog"))
        message = f"the metadata server gives no {what.partition('?')[0]} ({answer.status}): {_quoted(text)}"
        raise ProbeFailure(reason, message, evidence=found)

    async def _member(self, email: str) -> str:
        """How IAM names this identity; without an annotation GKE's identity is the pool itself, as its `email`."""
        if not email.endswith(".svc.id.goog"):
            return f"serviceAccount:{email}"
        try:
            claims = claims_of(await read_token(POD_TOKEN, self._files))
        except ProbeFailure:
            claims = Claims()
        return gcp.gke_member(email.removesuffix(".svc.id.goog"), *(claims.service_account or ("NAMESPACE", "NAME")))


def _lifetime_s(seconds: object) -> float:
    """Never longer than an hour, whatever is claimed; 0 where it is no number."""
    return min(float(seconds), LIFETIME_S) if isinstance(seconds, int | float) and seconds > 0 else 0.0


def _quoted(text: str) -> str:
    return printable(scrub(text), MAX_QUOTED_CHARS) or "no more is said"


def _odd() -> ProbeFailure:
    text = "what answers as the metadata server is none: no Metadata-Flavor, or no token"
    return ProbeFailure(Reason.UNEXPECTED_STORAGE_ANSWER, text)


def open_storage(http: aiohttp.ClientSession, endpoint: str, token: Callable[[], Awaitable[GcpToken]]) -> Storage:
    """A client that sends everything through `http` and asks `token` whenever it needs one."""
    return Storage(token=_Newest(token), session=http, api_root=endpoint, api_is_dev=False)  # type: ignore[arg-type]


class _Newest:
    """What the SDK takes for its `Token`. Its own has background tasks of its own, and cancels them for everybody."""

    def __init__(self, token: Callable[[], Awaitable[GcpToken]]) -> None:
        self._token = token

    async def get(self) -> str:
        return (await self._token()).text
