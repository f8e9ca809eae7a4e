"""The reason that a product's own message holds: the code of the cloud that it quotes. Pure.

Only codes that mean one thing wherever they stand; what Velero and Stork add in words of their own decides nothing.
Sources: those of the tables of the storage probes.
"""

from __future__ import annotations

import re

from validator.printable import printable
from validator.reasons import REASONS, Reason, Stage
from validator.scrub import scrub

MAX_READ_CHARS = 8_000
"""Of a message: Velero's longest quote a whole answer of Azure, 2 KB."""

MAX_SAID_CHARS = 300
"""Of what is told on."""

_REASONS = {
    # Azure
    "AuthorizationPermissionMismatch": Reason.ROLE_MISSING,
    "AuthorizationFailure": Reason.NETWORK_BLOCKED,
    "AuthorizationSourceIPMismatch": Reason.NETWORK_BLOCKED,
    "AuthenticationFailed": Reason.IDENTITY_REJECTED,
    "InvalidAuthenticationInfo": Reason.IDENTITY_REJECTED,
    "KeyBasedAuthenticationNotPermitted": Reason.KEY_AUTH_REFUSED,
    "AccountIsDisabled": Reason.ACCOUNT_DISABLED,
    "ContainerNotFound": Reason.CONTAINER_NOT_FOUND,
    "ContainerBeingDeleted": Reason.CONTAINER_UNAVAILABLE,
    "ContainerDisabled": Reason.CONTAINER_UNAVAILABLE,
    "ServerBusy": Reason.STORAGE_THROTTLED,
    # Entra
    "AADSTS70021": Reason.FEDERATION_MISSING,
    "AADSTS700211": Reason.FEDERATION_MISSING,
    "AADSTS700213": Reason.FEDERATION_SUBJECT_MISMATCH,
    "AADSTS7002138": Reason.FEDERATION_SUBJECT_MISMATCH,
    "AADSTS700016": Reason.IDENTITY_NOT_FOUND,
    "AADSTS700024": Reason.ASSERTION_EXPIRED,
    "AADSTS90002": Reason.TENANT_NOT_FOUND,
    # AWS
    "sts:AssumeRoleWithWebIdentity": Reason.TRUST_POLICY_MISSING,
    "NoSuchBucket": Reason.CONTAINER_NOT_FOUND,
    "AccessDenied": Reason.ROLE_MISSING,
    "InvalidAccessKeyId": Reason.IDENTITY_REJECTED,
    "SignatureDoesNotMatch": Reason.IDENTITY_REJECTED,
    "ExpiredToken": Reason.IDENTITY_REJECTED,
    "SlowDown": Reason.STORAGE_THROTTLED,
    "AuthorizationHeaderMalformed": Reason.WRONG_REGION,
    "BucketRegionError": Reason.WRONG_REGION,
    # Google
    "storage: bucket doesn't exist": Reason.CONTAINER_NOT_FOUND,
}
_CODES = re.compile("|".join(rf"(?<!\w){re.escape(code)}(?!\w)" for code in _REASONS))


def said(message: str) -> str:
    """A product's message for people: without secrets and dumps, on one line, bounded."""
    return printable(scrub(message[:MAX_READ_CHARS]), MAX_SAID_CHARS)


def reason_in(message: str) -> Reason | None:
    """The one reason that the codes in it mean; None where there is none, or where they mean several.

    What is wrong with the identity goes first: without a token no storage was asked.
    """
    reasons = {_REASONS[code] for code in _CODES.findall(message[:MAX_READ_CHARS])}
    of_identity = {reason for reason in reasons if REASONS[reason].stage is Stage.IDENTITY}
    decisive = of_identity or reasons
    return decisive.pop() if len(decisive) == 1 else None
