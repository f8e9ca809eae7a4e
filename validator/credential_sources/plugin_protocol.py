"""What an exec plugin is told and what it answers: `ExecCredential` of client.authentication.k8s.io. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from validator.credential_sources.material import assemble
from validator.credential_sources.spec import ExecSpec
from validator.credentials import Credential

INFO_VARIABLE = "KUBERNETES_EXEC_INFO"
_OWN_PREFIX = "MUSTER_"


def environment(spec: ExecSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """The plugin's environment: the hub's without its own settings (a database password is no plugin's business)."""
    kept = {name: value for name, value in environ.items() if not name.startswith(_OWN_PREFIX)}
    return {**kept, **dict(spec.env), INFO_VARIABLE: exec_info(spec)}


def exec_info(spec: ExecSpec) -> str:
    """The request: who asks (never a person at a terminal), and for which cluster, where the entry wants that told."""
    request: dict[str, object] = {"interactive": False}
    if spec.cluster_info is not None:
        request["cluster"] = dict(spec.cluster_info)
    return json.dumps({"apiVersion": spec.version, "kind": "ExecCredential", "spec": request}, separators=(",", ":"))


def parse_answer(spec: ExecSpec, stdout: bytes) -> Credential:
    """The credential in a plugin's output. Raises ValueError, in words that hold nothing of the output."""
    status = _status(spec, stdout)
    parts = {name: _text(status, name) for name in ("token", "clientCertificateData", "clientKeyData")}
    if not any(parts.values()):
        raise ValueError("its status holds neither a token nor a client certificate")
    expires_at = _instant(_text(status, "expirationTimestamp"))
    return assemble(parts["token"], parts["clientCertificateData"], parts["clientKeyData"], expires_at)


def _status(spec: ExecSpec, stdout: bytes) -> dict[str, Any]:
    if not stdout.strip():
        raise ValueError("it printed nothing to stdout")
    try:
        answer = json.loads(stdout)
    except (ValueError, RecursionError) as error:
        raise ValueError("its stdout is not one JSON object (not shown: it may hold the credential)") from error
    if not isinstance(answer, dict) or answer.get("kind") != "ExecCredential":
        raise ValueError('its answer is not of the kind "ExecCredential"')
    if answer.get("apiVersion") != spec.version:
        raise ValueError(f"its answer has another apiVersion than the entry asks for ({spec.version})")
    status = answer.get("status")
    if not isinstance(status, dict):
        raise ValueError("its answer has no status")  # noqa: TRY004 - one error type for all that is wrong with it
    return status


def _text(status: dict[str, Any], name: str) -> str | None:
    value = status.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"status.{name} is no string")
    return value or None


def _instant(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("status.expirationTimestamp is no RFC 3339 time") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
