"""Takes secrets out of what clouds say: signatures, tokens, keys, and dumps of whole requests. Pure.

Errors of storage SDKs quote URLs with shared access signatures, headers and bodies. What leaves a probe goes through
here first. The list of parameters is that of Velero's `sanitizeStorageError` and of each provider's signing page; what
looks like a secret and is not is taken out too: a message that says less is the cheaper mistake.
"""

from __future__ import annotations

import re

GONE = "[secret]"

_PARAMETERS = (
    # Azure: service, account and user delegation SAS
    *("sig", "se", "st", "sp", "sv", "sr", "srt", "ss", "spr", "sip", "si", "ses", "sdd", "saoid", "suoid", "scid"),
    *("skoid", "sktid", "skt", "ske", "sks", "skv", "skdutid", "sduoid"),
    # AWS and Google, signed URLs
    *("x-amz-signature", "x-amz-credential", "x-amz-security-token", "x-goog-signature", "x-goog-credential"),
    *("signature", "awsaccesskeyid", "googleaccessid"),
    # token exchange and connection strings
    *("client_assertion", "client_secret", "assertion", "subject_token", "access_token", "refresh_token", "id_token"),
    *("webidentitytoken", "sessiontoken", "secretaccesskey", "secret_access_key", "session_token"),
    *("accountkey", "sharedaccesssignature", "sharedaccesskey", "password", "token"),
)
_LONGEST = max(map(len, _PARAMETERS))
_PARAMETER = re.compile(
    # First any word that something is given to: comparing fifty with all else took five times as long.
    rf"(?<![A-Za-z0-9_-])(?=[A-Za-z0-9_-]{{1,{_LONGEST}}}(?:\s*=|%3d|['\"]\s*:))"
    rf"({'|'.join(map(re.escape, sorted(_PARAMETERS, key=len, reverse=True)))})"
    r"(\s*=\s*|%3d|['\"]\s*:\s*)(['\"]?)[^&\s'\"<>,;]+",
    re.IGNORECASE,
)
_XML = re.compile(
    r"<(SessionToken|SecretAccessKey|WebIdentityToken|AccessKeyId|CanonicalRequest|StringToSign|SignatureProvided"
    r"|AWSAccessKeyId)>[^<]*",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"\b(authorization|x-ms-copy-source(?:-authorization)?|x-amz-security-token|set-cookie|cookie|proxy-authorization"
    r"|metadata-flavor-token)(['\"]?\s*[:=]\s*)[^\r\n]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(bearer|sharedkey|sharedkeylite)\s+[^\s'\",;<>]+", re.IGNORECASE)
_SHAPES = re.compile(
    r"eyJ[\w-]{8,}(\.[\w-]*){0,2}"  # a JWT
    r"|ya29\.[\w.-]+"  # a Google access token
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}"  # an AWS key id
    r"|-----BEGIN [^-]*KEY-----[^-]*(-----END [^-]*-----)?"
)
_DUMP = re.compile(
    r"-{20,}|={20,}"  # Go's Azure SDK rules off its dumps
    r"|^(?:(?:GET|PUT|HEAD|POST|DELETE) https?://|RESPONSE \d{3}|Request headers:|Content: ?<)",
    re.IGNORECASE | re.MULTILINE,
)
"""Where a dump begins; it goes to the end."""


def scrub(text: str) -> str:
    """The text without whatever may be a secret, and without dumps of requests and answers. Idempotent."""
    dump = _DUMP.search(text)
    text = text if dump is None else text[: dump.start()].rstrip()
    text = _HEADER.sub(rf"\1\2{GONE}", text)
    text = _XML.sub(rf"<\1>{GONE}", text)
    text = _PARAMETER.sub(rf"\1\2{GONE}", text)
    text = _BEARER.sub(rf"\1 {GONE}", text)
    return _SHAPES.sub(GONE, text)
