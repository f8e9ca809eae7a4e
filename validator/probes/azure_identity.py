"""The identity that azure-workload-identity has injected into this pod, from the environment alone.

Only that counts: the rest of the SDK's chain (secrets in the environment, a developer's login, the node's managed
identity) would let a probe pass with rights that the backup's own pods do not have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from validator.net.failure import ProbeFailure
from validator.reasons import Reason

_NEEDED = ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE")
_CLIENT = re.compile(r"[0-9A-Za-z-]{1,64}")
_TENANT = re.compile(r"[0-9A-Za-z.-]{1,253}")


@dataclass(frozen=True, slots=True)
class AzureIdentity:
    """Who asks; nothing of it is secret. The token's path is what the webhook says: it has moved before (1.6.0)."""

    client_id: str
    tenant_id: str
    token_file: Path


def identity_from(environ: Mapping[str, str]) -> AzureIdentity:
    """The identity that was injected. Raises `ProbeFailure(IDENTITY_UNAVAILABLE)`, which names what is missing."""
    values = [environ.get(name, "") for name in _NEEDED]
    missing = [name for name, value in zip(_NEEDED, values, strict=True) if not value]
    if missing:
        raise ProbeFailure(
            Reason.IDENTITY_UNAVAILABLE,
            f"{', '.join(missing)} not in the environment: azure-workload-identity has injected nothing into this pod",
        )
    client_id, tenant_id, token_file = values
    if not _CLIENT.fullmatch(client_id) or not _TENANT.fullmatch(tenant_id):
        name = "AZURE_TENANT_ID" if _CLIENT.fullmatch(client_id) else "AZURE_CLIENT_ID"
        raise ProbeFailure(Reason.IDENTITY_UNAVAILABLE, f"{name} in the environment is no id")
    return AzureIdentity(client_id, tenant_id, Path(token_file))
