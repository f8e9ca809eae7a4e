"""The projected service-account token: the file that every kind of workload identity starts from."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from pathlib import Path

from validator.file_thread import FileThread
from validator.files import FileError, read_file
from validator.net.failure import ProbeFailure
from validator.reasons import Reason

MAX_TOKEN_BYTES = 64 * 1024
"""Real ones have about 1 KiB."""

READ_DEADLINE_S = 2.0
"""The file is in memory (tmpfs); only a broken mount takes longer."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says of itself. Not verified: good for messages and generated text, never for trust."""

    issuer: str = ""
    subject: str = ""
    audiences: tuple[str, ...] = ()
    expires_at: float | None = None

    @property
    def service_account(self) -> tuple[str, str] | None:
        """Namespace and name, where the subject is a Kubernetes service account."""
        parts = self.subject.split(":")
        return (parts[2], parts[3]) if len(parts) == 4 and parts[:2] == ["system", "serviceaccount"] else None


async def read_token(path: Path, files: FileThread) -> str:
    """The file's content, read anew each time because the kubelet renews it.

    Raises `ProbeFailure(IDENTITY_UNAVAILABLE)`, which names the file and never quotes it.
    """
    try:
        content = await files.run(lambda: read_file(path, MAX_TOKEN_BYTES), READ_DEADLINE_S)
    except FileError as error:
        text = f"the token file can't be used: {error.message}"
        raise ProbeFailure(Reason.IDENTITY_UNAVAILABLE, text) from error
    except TimeoutError:
        raise ProbeFailure(Reason.IDENTITY_UNAVAILABLE, f"reading the token file {path} hangs") from None
    token = content.text.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise ProbeFailure(Reason.IDENTITY_UNAVAILABLE, f"the token file {path} is empty or holds no token")
    return token


def claims_of(token: str) -> Claims:
    """The claims of a JWT; empty ones where it is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return Claims()
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return Claims()
    if not isinstance(claims, dict):
        return Claims()
    audience, expires = claims.get("aud"), claims.get("exp")
    return Claims(
        issuer=_text(claims.get("iss")),
        subject=_text(claims.get("sub")),
        audiences=tuple(_text(one) for one in (audience if isinstance(audience, list) else [audience])[:10]),
        expires_at=float(expires) if isinstance(expires, int | float) and not isinstance(expires, bool) else None,
    )


def _text(value: object) -> str:
    return value[:500] if isinstance(value, str) and value.isprintable() else ""
