"""One question through botocore, with its refusals in a form that tables can read."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any

from validator.net.failure import ProbeFailure
from validator.probes.retry_after import retry_after_s
from validator.reasons import Reason


@dataclass(slots=True)
class Refused(Exception):  # noqa: N818 - the word of the domain: AWS refused, nothing of ours went wrong
    """AWS answered, and the answer is an error."""

    status: int
    code: str
    """`<Code>` of the body; after HEAD, which has no body, the status as text."""
    message: str
    region: str | None = None
    """Where the bucket is, when the answer says so."""
    retry_after_s: float | None = None
    """When AWS wants to be asked again."""


async def asked(call: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """The answer. Raises `Refused`, or `ProbeFailure` where it was no answer of AWS."""
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError  # noqa: PLC0415 - on first use
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 - imported on first use

    try:
        return await call
    except ClientError as error:
        raise _refused(error.response) from None  # its text repeats the request's
    except (ResponseParserError, ValueError, LookupError, TypeError, AttributeError) as error:
        text = f"the answer is not what AWS sends ({type(error).__name__})"  # the parser trips over strange ones
        raise ProbeFailure(Reason.UNEXPECTED_STORAGE_ANSWER, text) from error
    except ParamValidationError as error:
        text = "the SDK refuses the name of the bucket"
        raise ProbeFailure(Reason.INVALID_LOCATION_NAME, text) from error
    except BotoCoreError as error:
        text = f"the SDK can't ask: {type(error).__name__}"
        raise ProbeFailure(Reason.UNEXPECTED_STORAGE_ANSWER, text) from error


def _refused(response: Mapping[str, Any]) -> Refused:
    error, metadata = response.get("Error") or {}, response.get("ResponseMetadata") or {}
    headers = metadata.get("HTTPHeaders") or {}
    region = headers.get("x-amz-bucket-region") or error.get("Region")
    return Refused(
        int(metadata.get("HTTPStatusCode") or 0),
        str(error.get("Code") or "")[:100],
        str(error.get("Message") or "")[:1000],
        str(region)[:64] if region else None,
        retry_after_s(headers.get("retry-after")),
    )
