"""Which identity of Google this process has been given. Pure, but for reading the file that says so.

Only workload identity counts: an `external_account` file, or else GKE's metadata server. Keys of service accounts and a
person's gcloud login are credentials that should not be here; `google.auth.default()` would take them, and asks other
hosts while it looks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from validator.file_thread import FileThread
from validator.files import FileError, read_file
from validator.net.failure import ProbeFailure
from validator.reasons import Reason

MAX_FILE_BYTES = 64 * 1024
READ_DEADLINE_S = 2.0

METADATA_HOST = "metadata.google.internal"
"""Resolved inside every Compute Engine machine and GKE pod; 169.254.169.254 by another name."""

POD_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""Only read for the names of namespace and service account in generated commands."""


@dataclass(frozen=True, slots=True)
class MetadataIdentity:
    """GKE: the node's metadata server gives tokens for the pod's service account."""

    host: str = METADATA_HOST


@dataclass(frozen=True, slots=True)
class ExternalAccount:
    """Workload identity federation: a projected token that Google's STS changes for its own."""

    audience: str
    token_file: Path
    impersonates: str | None
    """E-mail of the service account that is acted as; None where the federated identity itself has the roles."""
    settings: dict[str, Any] = field(repr=False, hash=False)
    """The whole file, for the SDK."""


GcpIdentity = MetadataIdentity | ExternalAccount


async def identity_from(
    environ: Mapping[str, str], files: FileThread, *, metadata_host: str | None, plain_http: bool = False
) -> GcpIdentity:
    """The identity of this pod. `plain_http`: token services may be emulators (tests).

    Raises `ProbeFailure(IDENTITY_UNAVAILABLE)`, which names the file and the field.
    """
    name = environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if not name:
        return MetadataIdentity(metadata_host or METADATA_HOST)
    try:
        content = await files.run(lambda: read_file(Path(name), MAX_FILE_BYTES), READ_DEADLINE_S)
    except FileError as error:
        raise _unavailable(error.message) from error
    except TimeoutError:
        raise _unavailable(f"reading {name} hangs") from None
    return external_account(content.text, plain_http=plain_http)


def external_account(text: str, *, plain_http: bool = False) -> ExternalAccount:
    """The identity that an `external_account` file describes. Raises `ProbeFailure(IDENTITY_UNAVAILABLE)`."""
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError):
        raise _unavailable("the file is no JSON") from None
    if not isinstance(settings, dict) or settings.get("type") != "external_account":
        kind = settings.get("type") if isinstance(settings, dict) else None
        found = f"is of the type {kind}" if kind in {"service_account", "authorized_user"} else "has another type"
        raise _unavailable(f"the file {found}; only workload identity (external_account) is used")
    source = settings.get("credential_source")
    file = source.get("file") if isinstance(source, dict) else None
    if not isinstance(file, str) or not file:
        raise _unavailable("credential_source in the file names no `file` with a projected token")
    for key in ("audience", "token_url", "subject_token_type"):
        if not isinstance(settings.get(key), str):
            raise _unavailable(f"the file has no {key}")
    acting_as = settings.get("service_account_impersonation_url")
    for key, url in (("token_url", settings["token_url"]), ("service_account_impersonation_url", acting_as)):
        if url is not None and not (isinstance(url, str) and url.startswith(("https://", *("http://",) * plain_http))):
            raise _unavailable(f"{key} in the file is no https:// URL")
    return ExternalAccount(settings["audience"], Path(file), _email(acting_as), settings)


def _email(url: str | None) -> str | None:
    return url.rpartition("/")[2].partition(":")[0] if url else None


def _unavailable(why: str) -> ProbeFailure:
    return ProbeFailure(Reason.IDENTITY_UNAVAILABLE, f"GOOGLE_APPLICATION_CREDENTIALS: {why}")
