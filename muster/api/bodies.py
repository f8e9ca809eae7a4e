"""Request bodies: JSON of a known shape, bounded in size and time, every field that is wrong named in the error.

Two readings of one body: the standard library's, which knows where the syntax breaks and can refuse a name that comes
twice, and pydantic's strict one, which takes no "60" for 60. A body is 64 KiB at most; both together take microseconds.
"""

from __future__ import annotations

import asyncio
import difflib
import json
from typing import Any, TypeVar

from aiohttp import ClientError, web
from pydantic import BaseModel, ValidationError

from muster.api.problems import Kind, ProblemError
from validator.clean import clean_text

MAX_BODY_BYTES = 64 * 1024
"""Largest request body; the largest honest one, a pause with the longest reason, is 3 KB."""

READ_S = 10.0
"""For a whole body to come. A sender that trickles holds a socket, and for no longer than this."""

MAX_ERRORS = 10
"""Fields in one answer."""

B = TypeVar("B", bound=BaseModel)


async def read_body(request: web.Request, kind: type[B], *, required: bool = True, within_s: float = READ_S) -> B:
    """The body as `kind` has it; where it is not `required` and there is none, `kind()`.

    Raises `ProblemError`: 415 for another content type, 413 (aiohttp's, by way of `problems`) for too much, 408 for a
    slow sender, 422 for JSON that is broken or of another shape. Values are never repeated in errors: a body may have
    a secret. The raw bytes can be had from `request.read()` afterwards, without waiting.
    """
    if not request.body_exists and not required:
        return kind()
    check_json(request)  # before it is read: what is compressed would be expanded
    raw = await read_raw(request, within_s)
    _check_syntax(raw)
    try:
        return kind.model_validate_json(raw, strict=True)
    except ValidationError as error:
        found = [_field_error(kind, e["loc"], e["type"], e["msg"]) for e in error.errors()[:MAX_ERRORS]]
        detail = "; ".join(f"{each['field']}: {each['message']}" for each in found)
        raise ProblemError(Kind.BAD_BODY, f"{detail}.".replace("?.", "?"), errors=found) from None


async def read_raw(request: web.Request, within_s: float = READ_S) -> bytes:
    """The body as it came, as large as the server takes. Raises `ProblemError`: 413, 408, 400."""
    try:
        async with asyncio.timeout(within_s):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:  # ours, so that the audit log has it too
        raise ProblemError(Kind.TOO_LARGE, error.reason) from None
    except TimeoutError:
        detail = f"The body did not come within {within_s:g} s. Send it at once."
        raise ProblemError(Kind.SLOW_REQUEST, detail) from None
    except (ClientError, ConnectionError, web.RequestPayloadError):  # nobody is there to read the answer
        raise ProblemError(Kind.BAD_REQUEST, "The body ended early.") from None


def check_json(request: web.Request) -> None:
    """Raises `ProblemError` (415) for anything but JSON in UTF-8 that is not compressed."""
    encoding = request.headers.get("Content-Encoding", "identity")
    charset = request.charset or "utf-8"
    if request.content_type != "application/json" or charset.lower() not in {"utf-8", "utf8"} or encoding != "identity":
        raise ProblemError(
            Kind.UNSUPPORTED_MEDIA_TYPE,
            "Send JSON in UTF-8, uncompressed, with `Content-Type: application/json`.",
        )


def _check_syntax(raw: bytes) -> None:
    """Refuse what is no JSON, or could be read in two ways."""
    try:
        json.loads(raw.decode(), object_pairs_hook=_only_once, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise _bad(f"Byte {error.start} is not UTF-8. Send UTF-8.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _bad(f"No JSON: {error.msg} at {where}.", line=error.lineno, column=error.colno) from None
    except RecursionError:
        raise _bad("No JSON that is of use here: it is nested too deeply.") from None
    except ValueError as error:  # of the hooks; also an integer of thousands of digits
        raise _bad(f"{error}.") from None


def _only_once(pairs: list[tuple[str, Any]]) -> None:
    names: set[str] = set()
    for name, _ in pairs:
        if name in names:
            raise ValueError(f"{clean_text(name, 64)}: given more than once")
        names.add(name)


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")


def _field_error(kind: type[BaseModel], loc: tuple[int | str, ...], error: str, message: str) -> dict[str, str]:
    field = clean_text(".".join(str(part) for part in loc)[:256], 64) or "body"
    if error == "extra_forbidden":
        close = difflib.get_close_matches(field, kind.model_fields, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(kind.model_fields)}"
        return {"field": field, "message": f"unknown; {hint}"}
    return {"field": field, "message": clean_text(message.removeprefix("Value error, "), 300)}


def _bad(detail: str, **members: Any) -> ProblemError:
    return ProblemError(Kind.BAD_BODY, detail, **members)
