"""The body of a request: bounded in bytes and time, as it came.

aiohttp would unpack it for us (and stop at its own bound, with an answer of its own): the server is built without that.
"""

from __future__ import annotations

import asyncio

from aiohttp import ClientError, web
from aiohttp.web import RequestPayloadError

BODY_S = 15.0
"""For all of a body: 1 MiB at 70 KB/s. Who sends slower sends smaller batches."""


class BodyTooLarge(ValueError):  # noqa: N818 - what it is
    """Longer than allowed."""


class BodyTooSlow(ValueError):  # noqa: N818 - what it is
    """Not there in time, or cut off."""


async def read_body(request: web.Request, limit: int, within_s: float = BODY_S) -> bytes:
    """All of it. Raises `BodyTooLarge`, before anything is read where the length is told, and `BodyTooSlow`."""
    if request.content_length is not None and request.content_length > limit:
        raise BodyTooLarge
    found = bytearray()
    try:
        async with asyncio.timeout(within_s):
            async for chunk in request.content.iter_any():
                found += chunk
                if len(found) > limit:
                    raise BodyTooLarge
    except (OSError, RequestPayloadError, ClientError) as error:  # TimeoutError is an OSError
        raise BodyTooSlow from error
    return bytes(found)
