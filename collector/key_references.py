"""An encryption key by reference: which texts name a key that is kept elsewhere. Pure.

Muster holds no keys. A text that is no reference may be a key that somebody pasted, so it is never repeated, neither in
an error nor in a log; the forms are strict enough that no base64, hexadecimal or PEM text is one of them.

Sources: Microsoft's "Azure Key Vault keys, secrets and certificates overview" (object identifiers), Amazon's "Key
identifiers (KeyId)", Google's "Getting a Cloud KMS resource ID", Kubernetes' "Object names and IDs".
"""

from __future__ import annotations

import re

from validator.locations import Environment

KEY_RULE = (
    "is a reference to a key, never a key itself: Muster holds no keys. Give an Azure Key Vault URI "
    "(https://VAULT.vault.azure.net/keys/NAME), an AWS KMS ARN or alias (arn:aws:kms:REGION:ACCOUNT:key/ID, "
    "alias/NAME), a Google KMS resource name (projects/P/locations/L/keyRings/R/cryptoKeys/K), or a Kubernetes Secret "
    "(NAMESPACE/NAME#KEY). What was sent was not kept; if it was a key, replace it"
)

_VAULT_SUFFIXES = {
    Environment.PUBLIC: ("vault.azure.net", "managedhsm.azure.net"),
    Environment.CHINA: ("vault.azure.cn", "managedhsm.azure.cn"),
}
_VAULT = re.compile(
    r"https://[a-z0-9][a-z0-9-]{1,22}[a-z0-9]\.(?P<suffix>(?:vault|managedhsm)\.azure\.(?:net|cn))"
    r"/(?:keys|secrets)/[0-9A-Za-z-]{1,127}(?:/[0-9a-f]{32})?",
    re.ASCII,
)
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_GCP_PART = r"[A-Za-z0-9_-]{1,63}"
_DNS_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_OTHERS = (
    re.compile(
        r"arn:aws(?:-[a-z-]{1,16})?:kms:[a-z0-9-]{5,32}:\d{12}:"
        rf"(?:key/(?:{_UUID}|mrk-[0-9a-f]{{32}})|alias/[A-Za-z0-9/_-]{{1,250}})",
        re.ASCII,
    ),
    re.compile(r"alias/[A-Za-z0-9/_-]{1,250}", re.ASCII),
    re.compile(
        rf"projects/[a-z0-9.:-]{{1,63}}/locations/[a-z0-9-]{{1,63}}/keyRings/{_GCP_PART}/cryptoKeys/{_GCP_PART}"
        r"(?:/cryptoKeyVersions/\d{1,10})?",
        re.ASCII,
    ),
    re.compile(
        rf"{_DNS_LABEL}/(?=[^#]{{1,253}}#){_DNS_LABEL}(?:\.{_DNS_LABEL})*#[A-Za-z0-9._-]{{1,253}}",
        re.ASCII,
    ),
)


def key_reference_problem(text: str, environment: Environment | None = None) -> str | None:
    """Why the text is no reference; None if it is one. `environment`: that of a location on Azure."""
    if (vault := _VAULT.fullmatch(text)) is not None:
        if environment is None or vault["suffix"] in _VAULT_SUFFIXES[environment]:
            return None
        wanted = _VAULT_SUFFIXES[environment][0]
        return f"is in another cloud than the location: the vaults of {environment} end in {wanted}"
    return None if any(form.fullmatch(text) for form in _OTHERS) else KEY_RULE
