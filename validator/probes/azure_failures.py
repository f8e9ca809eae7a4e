"""Errors of the Azure SDK as the one error type of the probes, each with exactly one reason.

The SDK's classes overlap (a 401 of Entra and one of storage are the same class), so nothing is decided by class where
there was an answer: only by status and code.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TypeVar

from azure.core.exceptions import AzureError, HttpResponseError

from validator.model import Evidence
from validator.net.failure import ProbeFailure
from validator.net.sdk_session import ERRORS, transport_failure
from validator.printable import printable
from validator.probes.azure_readings import aadsts_code, entra_reason, said, storage_reason
from validator.probes.retry_after import retry_after_s
from validator.reasons import Reason, Stage

T = TypeVar("T")


async def asked(question: Awaitable[T], what: str, host: str) -> T:
    """The answer of storage to one question. Raises `ProbeFailure`; lets TimeoutError and cancellation pass."""
    try:
        return await question
    except TimeoutError:
        raise
    except HttpResponseError as error:
        raise (unanswered(error, host) if error.response is None else _refused(error, what, host)) from error
    except (*ERRORS, AzureError) as error:
        raise unanswered(error, host) from error
    except Exception as error:  # the SDK's own deserialisation raises whatever a strange answer makes it trip over
        text = f"{host}: {what} is not answered as Azure does ({type(error).__name__})"
        raise ProbeFailure(Reason.UNEXPECTED_STORAGE_ANSWER, text) from error


def _refused(error: HttpResponseError, what: str, host: str) -> ProbeFailure:
    status, headers = error.status_code or 0, _headers(error)
    code = printable(headers.get("x-ms-error-code") or _code(error))
    reason = storage_reason(status, code)
    named = {"error_code": code, "request_id": printable(headers.get("x-ms-request-id") or "")}
    evidence: Evidence = {"http_status": status, **{key: value for key, value in named.items() if value}}
    text = said(error.message or "") if code else ""  # without a code it is not Azure that speaks
    message = f"{host}: {what} is answered with {status} {code}".rstrip() + (f": {text}" if text else "")
    return ProbeFailure(reason, message, evidence=evidence, retry_after_s=retry_after_s(headers.get("retry-after")))


def _headers(error: HttpResponseError) -> Mapping[str, str]:
    """Names in whatever case: the SDK's mapping does not mind."""
    return getattr(error.response, "headers", None) or {}


def _code(error: HttpResponseError) -> str:
    code = getattr(error, "error_code", None)  # a string, or an enum of strings
    return str(getattr(code, "value", code) or "")


def entra_failure(error: Exception, host: str) -> ProbeFailure:
    """Why there is no token. The text of Entra is kept, without its trace ids; the assertion is not in it."""
    if not isinstance(error, HttpResponseError) or error.response is None:
        failure = unanswered(error, host, Stage.IDENTITY)
        if failure.reason in {Reason.STORAGE_UNREACHABLE, Reason.STORAGE_TLS_FAILED, Reason.UNEXPECTED_STORAGE_ANSWER}:
            text = f"no token: {failure.message}"
            return ProbeFailure(Reason.IDENTITY_UNAVAILABLE, text, unanswered=failure.unanswered)
        return failure
    status, text = error.status_code or 0, error.message or ""
    code = aadsts_code(text)
    evidence: Evidence = {"http_status": status, **({"aadsts": f"AADSTS{code}"} if code else {})}
    message = f"{host} gives no token ({status}): {said(text) if code else 'not in the words of Entra'}"
    wait_s = retry_after_s(_headers(error).get("retry-after"))
    return ProbeFailure(entra_reason(code), message, Stage.IDENTITY, evidence, retry_after_s=wait_s)


def unanswered(error: Exception, host: str, stage: Stage = Stage.STORAGE) -> ProbeFailure:
    """No HTTP answer: what the wire said, beneath the SDK's wrapping."""
    inner: BaseException = error
    while isinstance(inner, AzureError):
        below = inner.inner_exception or inner.__cause__
        if below is None:
            text = f"{host} answers with something that is not Azure's"
            return ProbeFailure(Reason.UNEXPECTED_STORAGE_ANSWER, text, stage)
        inner = below
    if isinstance(inner, ProbeFailure) and inner.reason is Reason.DNS_NAME_NOT_FOUND and stage is Stage.STORAGE:
        return ProbeFailure(Reason.ACCOUNT_NOT_FOUND, inner.message)
    return transport_failure(inner if isinstance(inner, Exception) else error, host, stage)
