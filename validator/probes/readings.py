"""What an API server's answer means: pure, from status, headers and body to a `Fact` or a `ProbeFailure`.

The recorded answers of a real kube-apiserver are the tests of this file.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from urllib.parse import urlsplit

from validator.net.failure import ProbeFailure
from validator.net.http1 import HttpAnswer
from validator.reasons import Reason

HEALTH_PATHS = ("/readyz", "/livez", "/healthz", "/version")
"""Asked in this order; a 403 or 404 leads on to the next (older servers, or anonymous access that is narrowed)."""

NAMESPACE_PATH = "/api/v1/namespaces/kube-system"
"""The light authenticated read: one object, goes through to etcd, and its UID is the cluster's identity."""

MAX_FAILING_CHECKS = 8
"""How many failing checks the evidence lists; the rest is counted."""

_FAILING = re.compile(rb"^\[-\]([A-Za-z0-9_./-]{1,100})", re.MULTILINE)
_UID = re.compile(rb'"uid":\s*"([0-9a-fA-F-]{36})"')


class Standing(Enum):
    """How the server answered a health path."""

    READY = auto()
    DENIED = auto()  # 401/403: alive, but does not tell us more
    ABSENT = auto()  # 404


def read_health(path: str, answer: HttpAnswer, now: float) -> Standing:
    """Judge the answer to one of `HEALTH_PATHS`. Raises `ProbeFailure` for everything but 200, 401, 403 and 404."""
    status = answer.status
    if status == 200:
        if path == "/version":
            read_version(answer)
            return Standing.READY
        if answer.body.strip() == b"ok":
            return Standing.READY
        raise ProbeFailure(
            Reason.UNEXPECTED_ANSWER,
            f"200 to {path}, but the body is not `ok`: {_kind(answer)}, {len(answer.body)} bytes",
        )
    if status in (401, 403):
        return Standing.DENIED
    if status == 404:
        return Standing.ABSENT
    raise refusal(path, answer, now)


def refusal(path: str, answer: HttpAnswer, now: float) -> ProbeFailure:
    """What a status that is no answer to a health question means."""
    status = answer.status
    if status == 429:
        return ProbeFailure(Reason.THROTTLED, f"429 to {path}", retry_after_s=retry_after_s(answer, now))
    if 300 <= status < 400:
        target = _host_of(answer.headers.get(b"location", b""))
        return ProbeFailure(Reason.UNEXPECTED_REDIRECT, f"{status} to {path}, leading to {target}")
    if status == 503:
        wait_s = retry_after_s(answer, now)
        return ProbeFailure(Reason.SERVICE_UNAVAILABLE, f"503 to {path}", retry_after_s=wait_s)
    if status >= 500:
        failing = [name.decode() for name in _FAILING.findall(answer.body)]
        if failing:
            shown = ", ".join(failing[:MAX_FAILING_CHECKS])
            rest = len(failing) - MAX_FAILING_CHECKS
            shown += f" and {rest} more" if rest > 0 else ""
            return ProbeFailure(
                Reason.NOT_READY, f"{status} to {path}; failing: {shown}", evidence={"failing_checks": shown}
            )
        return ProbeFailure(Reason.SERVER_ERROR, f"{status} to {path}")
    return ProbeFailure(Reason.UNEXPECTED_ANSWER, f"{status} to {path}: {_kind(answer)}")


def read_version(answer: HttpAnswer) -> str:
    """`gitVersion` of `/version`. Raises `ProbeFailure(UNEXPECTED_ANSWER)`."""
    try:
        version = json.loads(answer.body)["gitVersion"]
    except (ValueError, KeyError, TypeError, RecursionError):
        version = None
    if not isinstance(version, str) or not re.fullmatch(r"[\w.+-]{1,64}", version):
        raise ProbeFailure(Reason.UNEXPECTED_ANSWER, f"200 to /version without a gitVersion: {_kind(answer)}")
    return version


def read_namespace(answer: HttpAnswer, now: float) -> None:
    """Judge the answer to the namespace read, but for 401 and 403. Raises `ProbeFailure`."""
    status = answer.status
    if status in (200, 404):  # a virtual control plane may have no kube-system; storage has answered all the same
        return
    failure = refusal(NAMESPACE_PATH, answer, now)
    if status >= 500:
        raise ProbeFailure(Reason.READ_FAILED, failure.message, retry_after_s=failure.retry_after_s)
    raise failure


def namespace_uid(answer: HttpAnswer) -> str | None:
    """UID of the kube-system namespace. By pattern: `metadata.uid` is the only `uid` key of a Namespace."""
    found = _UID.search(answer.body)
    return found.group(1).decode().lower() if found else None


def retry_after_s(answer: HttpAnswer, now: float) -> float | None:
    """`Retry-After` in seconds from now, both forms of RFC 9110 10.2.3; None if absent or unreadable."""
    value = answer.headers.get(b"retry-after")
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text.isdecimal() and len(text) < 10:
        return float(text)
    moment = _http_date(text)
    return None if moment is None else max(0.0, moment - now)


def skew_s(answer: HttpAnswer, now: float) -> float | None:
    """How far the server's clock is ahead of `now` (negative: behind); None without a readable `Date`."""
    value = answer.headers.get(b"date")
    moment = _http_date(value.decode("latin-1")) if value else None
    return None if moment is None else round(moment + 0.5 - now, 1)  # the header is cut to whole seconds


def _http_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def certificate_end(not_after: str) -> float:
    """Seconds since the epoch of a `notAfter` as `ssl` prints it (`Nov 20 03:11:09 2027 GMT`)."""
    return datetime.strptime(not_after, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC).timestamp()


def _kind(answer: HttpAnswer) -> str:
    text = answer.headers.get(b"content-type", b"no content type").decode("latin-1")[:60]
    return "".join(c for c in text if c.isprintable())


def _host_of(location: bytes) -> str:
    """Only the host: a redirect's path and query may carry tokens."""
    try:
        host = urlsplit(location.decode("latin-1")).hostname
    except ValueError:
        host = None
    return "".join(c for c in (host or "nowhere") if c.isprintable())[:100]
