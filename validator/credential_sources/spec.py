"""What an entry of a source says about its credential: parsed and bounded, no I/O done yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from validator.credentials import Credential, CredentialError
from validator.model import MAX_MESSAGE_CHARS
from validator.reasons import Reason

Material = str | Path | None
"""Written in the entry, in a file that is read again and again, or absent."""


class ExecVersion(StrEnum):
    """The versions of the exec plugin protocol that are spoken; v1alpha1 went with Kubernetes 1.24."""

    V1 = "client.authentication.k8s.io/v1"
    V1BETA1 = "client.authentication.k8s.io/v1beta1"


@dataclass(frozen=True, slots=True)
class ExecSpec:
    """An exec plugin, as `users[].user.exec` has it."""

    command: str
    version: ExecVersion
    args: tuple[str, ...] = field(default=(), repr=False)
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Added to the hub's own environment. Not shown: people put secrets into it."""
    install_hint: str = ""
    cluster_info: Mapping[str, object] | None = None
    """`spec.cluster` for the plugin, when `provideClusterInfo` is set."""


@dataclass(frozen=True, slots=True)
class CredentialSpec:
    """Exactly one way to a credential: `exec`, or a token and a client certificate in any mixture."""

    owner: str
    """Where it stands, for messages: `user "prod" in /etc/muster/kubeconfig`."""
    token: Material = field(default=None, repr=False)
    chain: Material = field(default=None, repr=False)
    key: Material = field(default=None, repr=False)
    exec: ExecSpec | None = None


def invalid(owner: str, what: str) -> CredentialError:
    """The entry itself is at fault; waiting will not mend it."""
    return CredentialError(Reason.CREDENTIAL_INVALID, _message(owner, what))


def unavailable(owner: str, what: str) -> CredentialError:
    """It could not be obtained just now."""
    return CredentialError(Reason.CREDENTIAL_UNAVAILABLE, _message(owner, what))


def _message(owner: str, what: str) -> str:
    text = f"{owner}: {what}"
    return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 1] + "…"


def same_or(new: Credential, old: Credential | None) -> Credential:
    """The old object when nothing changed, so that whoever compares by identity keeps the connection."""
    return old if old == new and old is not None else new
