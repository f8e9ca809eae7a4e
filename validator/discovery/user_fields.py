"""Tokens, client certificates, exec plugins: from the text of a user entry to a `CredentialSpec`. Pure.

What kubectl does where several are set is kept: a token file wins over a token, `…-data` over a file, and both over
an exec plugin.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

from validator.credential_sources.material import MAX_TOKEN_CHARS
from validator.credential_sources.spec import CredentialSpec, ExecSpec, ExecVersion, Material
from validator.discovery.fields import FieldError, Fields, name_of, refused
from validator.model import Endpoint
from validator.pem import MAX_CLIENT_BYTES
from validator.printable import printable

MAX_EXEC_ITEMS = 256
"""Arguments, and variables: real ones have a dozen."""
CLUSTER_CONFIG_EXTENSION = "client.authentication.k8s.io/exec"
"""Name of the cluster's extension that is handed to the plugin as `spec.cluster.config`."""

_REFUSED = {
    "auth-provider": (
        "auth-provider was removed from Kubernetes 1.26",
        "Use the provider's exec plugin (`kubelogin`, `gke-gcloud-auth-plugin`) or a token.",
    ),
    "username": ("basic authentication was removed from Kubernetes 1.19", "Use a token or a client certificate."),
    "password": ("basic authentication was removed from Kubernetes 1.19", "Use a token or a client certificate."),
    "as": ("impersonation is not supported", "Give the hub a user of its own, without `as`."),
}


_WAYS_IN = (
    "token",
    "tokenFile",
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "exec",
)


def is_anonymous(fields: Fields) -> bool:
    """Whether the entry names no way in at all; kubectl then asks without a credential."""
    return not any(fields.body.get(key) for key in (*_WAYS_IN, *_REFUSED))


def user_spec(owner: str, fields: Fields, told: Mapping[str, object]) -> CredentialSpec:
    """How the user is let in, for an entry that is not anonymous; `told` as for `exec_spec`. Raises `FieldError`."""
    for key, (what, remedy) in _REFUSED.items():
        if fields.body.get(key):
            raise FieldError(f"{key}: {what}", remedy)
    token: Material = fields.path("tokenFile") or fields.text("token", MAX_TOKEN_CHARS)
    chain: Material = fields.data("client-certificate-data", MAX_CLIENT_BYTES) or fields.path("client-certificate")
    key_: Material = fields.data("client-key-data", MAX_CLIENT_BYTES) or fields.path("client-key")
    if token is not None or chain is not None or key_ is not None:
        return CredentialSpec(owner, token, chain, key_)
    plugin = fields.inner("exec")
    assert plugin is not None
    return CredentialSpec(owner, exec=exec_spec(plugin, told))


def exec_spec(fields: Fields, told: Mapping[str, object]) -> ExecSpec:
    """The exec plugin of an operator's own file; `told` is what it is told of the cluster. Raises `FieldError`."""
    if fields.origin.foreign_because is not None or fields.origin.directory is None:
        raise refused("exec", "runs a program on the hub", "Use a token or a client certificate", fields.origin)
    command = fields.line("command")
    if command is None:
        raise FieldError("exec.command is missing", "Name the plugin's program.")
    if "/" in command:
        command = str(fields.origin.directory / command)
    version = fields.line("apiVersion")
    if version not in set(ExecVersion):
        raise FieldError(
            f"exec.apiVersion is not spoken: {printable(version or 'missing')}",
            f"Update the plugin and write one of {', '.join(ExecVersion)}.",
        )
    if fields.line("interactiveMode") == "Always":
        raise FieldError(
            "exec.interactiveMode is Always, and nobody is there to answer", "Use a plugin that works unattended."
        )
    return ExecSpec(
        command,
        ExecVersion(version),
        _arguments(fields),
        _variables(fields),
        fields.text("installHint") or "",
        told if fields.flag("provideClusterInfo") else None,
    )


def told_of_cluster(plugin: object, fields: Fields, endpoint: Endpoint) -> dict[str, object]:
    """`spec.cluster` of the plugin's request; empty unless the plugin's entry says `provideClusterInfo`."""
    if not isinstance(plugin, Mapping) or not plugin.get("provideClusterInfo"):
        return {}
    info: dict[str, object] = {"server": endpoint.url}
    if endpoint.server_name:
        info["tls-server-name"] = endpoint.server_name
    if endpoint.insecure:
        info["insecure-skip-tls-verify"] = True
    if endpoint.ca_pem:
        info["certificate-authority-data"] = base64.b64encode(endpoint.ca_pem.encode()).decode()
    if proxy := fields.body.get("proxy-url"):
        info["proxy-url"] = proxy
    extensions = fields.body.get("extensions")
    for item in extensions if isinstance(extensions, list) else []:
        if isinstance(item, Mapping) and item.get("name") == CLUSTER_CONFIG_EXTENSION:
            info["config"] = item.get("extension")
    return info


def _arguments(fields: Fields) -> tuple[str, ...]:
    args = fields.items("args", MAX_EXEC_ITEMS)
    if not all(isinstance(arg, str) and "\0" not in arg for arg in args):
        raise FieldError("exec.args holds something that is no text", "Put every argument in quotes.")
    return tuple(args)


def _variables(fields: Fields) -> tuple[tuple[str, str], ...]:
    variables = []
    for number, item in enumerate(fields.items("env", MAX_EXEC_ITEMS)):
        try:
            name = name_of(item)
        except FieldError as error:
            raise error.at(f"exec.env[{number}]") from error
        value = item.get("value")
        if not isinstance(value, str | None) or "\0" in (value or "") or "=" in name:
            raise FieldError(f"exec.env[{number}]: is no name and text", "Write `name:` and `value:`, quoted.")
        variables.append((name, value or ""))
    return tuple(variables)
