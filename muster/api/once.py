"""`Idempotency-Key`: a request that is sent again is answered again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from muster.access.principal import PRINCIPAL
from muster.api.problems import Kind, ProblemError
from muster.idempotency import Idempotency, Kept, KeyConflict

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"

MAX_KEY_CHARS = 255


async def answer_once(
    idempotency: Idempotency, request: web.Request, act: Callable[[], Awaitable[web.Response]]
) -> web.Response:
    """What `act` answers; for a key that was answered before, that document again, and `Idempotency-Replayed: true`.

    Call it when the body has been read. Of the answer the status and the JSON document are kept, no other header.
    """
    key = key_of(request)
    if key is None:
        return await act()
    fresh: list[web.Response] = []

    async def keep() -> Kept:
        fresh.append(await act())
        assert isinstance(fresh[0].body, bytes)
        return Kept(fresh[0].status, fresh[0].body)

    principal = request[PRINCIPAL]
    route = f"{request.method} {request.path} {request.headers.get('If-Match', '')}"
    try:
        kept, replayed = await idempotency.once(
            key, f"{principal.kind}:{principal.name}", route, await request.read(), keep
        )
    except KeyConflict as conflict:
        raise ProblemError(Kind.IDEMPOTENCY_CONFLICT, str(conflict)) from None
    if not replayed:
        return fresh[0]
    return web.Response(status=kept.status, body=kept.body, content_type="application/json", headers={REPLAYED: "true"})


def key_of(request: web.Request) -> str | None:
    """The key, without the quotes that the draft asks for and few send. Raises `ProblemError`."""
    given = request.headers.getall(HEADER, [])
    if not given:
        return None
    key = given[0]
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if len(given) > 1 or not 1 <= len(key) <= MAX_KEY_CHARS or not (key.isascii() and key.isprintable()):
        raise ProblemError(
            Kind.BAD_REQUEST, f"{HEADER}: one key of 1 to {MAX_KEY_CHARS} printable ASCII characters; a UUID will do."
        )
    return key
