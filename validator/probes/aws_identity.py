"""Which identity of AWS this process has been given, from its environment alone. Pure, but for reading the token file.

Only what is injected into a pod counts: IRSA, then EKS Pod Identity, in the SDK's order. The rest of the SDK's chain is
left out on purpose. Static keys and profile files are credentials that should not be here, and the node's instance
metadata would let a probe pass with a role that the backup's own pods do not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from validator.net.failure import ProbeFailure
from validator.reasons import Reason

AGENT_HOSTS = frozenset({"169.254.170.23", "fd00:ec2::23"})
"""Where the EKS Pod Identity agent listens on every node (eks-pod-identity-agent, README); nothing else is believed."""

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

_UNUSED = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")


@dataclass(frozen=True, slots=True)
class WebIdentity:
    """IAM roles for service accounts: a projected token that STS changes for the role's credentials."""

    role_arn: str
    token_file: Path

    def __str__(self) -> str:
        return self.role_arn


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """EKS Pod Identity: the node's agent changes the projected token for credentials. The role is not said here."""

    url: str
    token_file: Path

    def __str__(self) -> str:
        return "EKS Pod Identity"


AwsIdentity = WebIdentity | PodIdentity


def identity_from(environ: Mapping[str, str], *, loopback: bool = False) -> AwsIdentity:
    """The identity that was injected. `loopback`: the agent may be an emulator on this machine (tests).

    Raises `ProbeFailure(IDENTITY_UNAVAILABLE)`, which names the variable that is missing.
    """
    role, file = environ.get("AWS_ROLE_ARN", ""), environ.get("AWS_WEB_IDENTITY_TOKEN_FILE", "")
    if role and file:
        return WebIdentity(role, Path(file))
    if role or file:
        present, missing = ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")[:: 1 if role else -1]
        raise _unavailable(f"{present} is set, but {missing} is not", environ)
    url = environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
    if not url:
        raise _unavailable("neither AWS_ROLE_ARN (IRSA) nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set", environ)
    host = _host(url)
    if host not in AGENT_HOSTS and not (loopback and host in _LOOPBACK):
        raise _unavailable(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI is not the address of the EKS Pod Identity agent", environ
        )
    file = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "")
    if not file:
        raise _unavailable(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI is set, but AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE is not", environ
        )
    return PodIdentity(url, Path(file))


def region_from(environ: Mapping[str, str]) -> str | None:
    """The region that was injected beside the identity."""
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or None


def _unavailable(why: str, environ: Mapping[str, str]) -> ProbeFailure:
    unused = [name for name in _UNUSED if environ.get(name)]
    note = f"; {', '.join(unused)} is set, but only workload identity is used" if unused else ""
    return ProbeFailure(Reason.IDENTITY_UNAVAILABLE, f"the environment has no identity of AWS: {why}{note}")


def _host(url: str) -> str | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.hostname if parts.scheme == "http" and parts.username is None else None
