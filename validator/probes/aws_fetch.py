"""From the pod's token to the role's credentials: one exchange with STS or with the node's agent.

Whose credentials came is checked as well: a set-up that is half right silently ends with the node's role.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from validator.clock import Clock
from validator.doctor import aws
from validator.file_thread import FileThread
from validator.net.failure import ProbeFailure
from validator.printable import printable
from validator.probes import aws_refusals as refusals
from validator.probes.aws_asking import Refused, asked
from validator.probes.aws_identity import AwsIdentity, PodIdentity, WebIdentity
from validator.probes.projected import claims_of, read_token
from validator.reasons import Reason, Stage

if TYPE_CHECKING:
    import aiohttp

LIFETIME_S = 3600
"""Of the credentials: the longest that every role allows."""

SESSION_NAME = "muster"
"""Shown in CloudTrail."""

AGENT = "the EKS Pod Identity agent"

OpenSts = Callable[[Mapping[str, str]], AbstractAsyncContextManager[Any]]
"""Opens a client of STS with these arguments of `create_client`; without any it does not sign."""


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """Of a role, for about an hour. Never shown."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    caller_arn: str
    """Whose they are, as STS says."""


class CredentialFetch:
    """The fetch behind `Renewed`."""

    def __init__(
        self,
        identity: AwsIdentity,
        sts: OpenSts,
        metadata: aiohttp.ClientSession,
        *,
        expected_role_arn: str | None,
        clock: Clock,
        files: FileThread,
    ) -> None:
        self._identity = identity
        self._sts = sts
        self._metadata = metadata
        self._expected_role_arn = expected_role_arn
        self._clock = clock
        self._files = files

    async def __call__(self) -> tuple[AwsCredentials, float]:
        """Credentials and when they expire (hub clock). Raises `ProbeFailure` with stage identity."""
        token = await read_token(self._identity.token_file, self._files)
        expected = self._expected_role_arn
        try:
            if isinstance(self._identity, WebIdentity):
                found, expires_at = await self._assume(self._identity, token)
                expected = expected or self._identity.role_arn
            else:
                found, expires_at = await self._from_agent(self._identity, token)
        except ProbeFailure as failure:
            failure.stage_ = Stage.IDENTITY
            raise
        if why := aws.why_wrong(found.caller_arn, expected):
            raise ProbeFailure(
                Reason.WRONG_IDENTITY,
                f"AWS gave credentials, but {why}",
                evidence={"identity": found.caller_arn, "expected_identity": expected or "the pod's own role"},
            )
        return found, min(expires_at, self._clock.now() + LIFETIME_S)  # the node's clock may be far off

    async def _assume(self, identity: WebIdentity, token: str) -> tuple[AwsCredentials, float]:
        async with self._sts({}) as client:
            try:
                answer = await asked(
                    client.assume_role_with_web_identity(
                        RoleArn=identity.role_arn,
                        RoleSessionName=SESSION_NAME,
                        WebIdentityToken=token,
                        DurationSeconds=LIFETIME_S,
                    )
                )
            except Refused as refused:
                raise refusals.of_web_identity(refused, identity.role_arn, claims_of(token)) from None
        try:
            given = answer["Credentials"]
            found = AwsCredentials(
                _text(given["AccessKeyId"]),
                _text(given["SecretAccessKey"]),
                _text(given["SessionToken"]),
                printable(_text(answer["AssumedRoleUser"]["Arn"]), 300),
            )
            return found, given["Expiration"].timestamp()
        except (KeyError, AttributeError, TypeError):
            raise _odd("STS") from None

    async def _from_agent(self, identity: PodIdentity, token: str) -> tuple[AwsCredentials, float]:
        from validator.net.sdk_session import ERRORS, transport_failure  # noqa: PLC0415 - imports aiohttp

        try:
            answer = await self._metadata.get(identity.url, headers={"Authorization": token}, allow_redirects=False)
            text = (await answer.read()).decode("utf-8", "replace")
        except ERRORS as error:
            failure = transport_failure(error, AGENT)
            if failure.unanswered:
                failure.reason = Reason.IDENTITY_UNAVAILABLE
            raise failure from None
        if answer.status != 200:
            raise refusals.of_pod_identity(answer.status, text, claims_of(token))
        try:
            given = json.loads(text)
            access_key, secret_key = _text(given["AccessKeyId"]), _text(given["SecretAccessKey"])
            session_token = _text(given["Token"])
            expires_at = datetime.fromisoformat(_text(given["Expiration"])).timestamp()
        except (ValueError, KeyError, TypeError, RecursionError):
            raise _odd(AGENT) from None
        caller = await self._caller(access_key, secret_key, session_token)
        return AwsCredentials(access_key, secret_key, session_token, caller), expires_at

    async def _caller(self, access_key: str, secret_key: str, session_token: str) -> str:
        """Who one is with these: the agent does not say. Needs no right."""
        signed = {
            "aws_access_key_id": access_key,
            "aws_secret_access_key": secret_key,
            "aws_session_token": session_token,
        }
        async with self._sts(signed) as client:
            try:
                answer = await asked(client.get_caller_identity())
            except Refused as refused:
                raise refusals.of_caller(refused) from None
        return printable(str(answer.get("Arn")), 300)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def _odd(who: str) -> ProbeFailure:
    return ProbeFailure(Reason.UNEXPECTED_STORAGE_ANSWER, f"{who} answers 200, but not with credentials")
