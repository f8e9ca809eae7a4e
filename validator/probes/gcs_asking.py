"""One question through gcloud-aio, with its refusals in a form that tables can read."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

import aiohttp

from validator.net.sdk_session import ERRORS, transport_failure
from validator.probes.gcs_readings import error_of
from validator.probes.retry_after import retry_after_s

T = TypeVar("T")


@dataclass(slots=True)
class Refused(Exception):  # noqa: N818 - the word of the domain: Google refused, nothing of ours went wrong
    """Google answered, and the answer is an error."""

    status: int
    code: str
    message: str
    retry_after_s: float | None = None


def refused_by(error: BaseException) -> Refused | None:
    """The refusal that gcloud-aio reports with this exception; None where it was no answer.

    It raises aiohttp's own class with `<phrase>: <body>` as the message. aiohttp itself raises that class for what is
    not HTTP, and then without headers.
    """
    if not isinstance(error, aiohttp.ClientResponseError) or error.headers is None or error.status < 400:
        return None
    code, message = error_of(error.message.partition(": ")[2])
    return Refused(error.status, code, message, retry_after_s(error.headers.get("Retry-After")))


async def asked(call: Awaitable[T], host: str) -> T:
    """The answer. Raises `Refused`, or `ProbeFailure` where it was no answer of Google."""
    try:
        return await call
    except (*ERRORS, LookupError, TypeError, AttributeError, RecursionError) as error:
        if (refused := refused_by(error)) is not None:
            raise refused from None  # the error holds the request's headers
        raise transport_failure(error, host) from None
