"""What people who run the service change while it runs."""

from __future__ import annotations

from typing import get_args

import structlog
from aiohttp import web

from muster import logs
from muster.access.audit import Audit
from muster.access.principal import PRINCIPAL
from muster.access.roles import Role
from muster.api import schemas
from muster.api.answers import json_answer
from muster.api.bodies import read_body
from muster.api.problems import Kind
from muster.api.queries import NoQuery, read_query
from muster.api.table import Route
from store.errors import StoreError

_log = structlog.get_logger(__name__)

LOG_LEVEL = "/api/v1/log-level"

LEVELS: tuple[str, ...] = get_args(schemas.LogLevel.model_fields["level"].annotation)
"""From the most that is logged to the least."""


class Operations:
    """Handlers on this process. Each instance has a log of its own, so a standby answers as well."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def routes(self) -> list[Route]:
        """Its rows of the route table."""
        return [
            Route("GET", LOG_LEVEL, self.log_level, Role.ADMIN, "How much is logged", schemas.LogLevel),
            Route(
                "PUT",
                LOG_LEVEL,
                self.set_log_level,
                Role.ADMIN,
                "Log more, or less",
                schemas.LogLevel,
                body=schemas.LogLevel,
                problems=(Kind.BAD_BODY, Kind.UNSUPPORTED_MEDIA_TYPE, Kind.SLOW_REQUEST, Kind.TOO_LARGE),
                changes=True,
                action="log-level.set",
            ),
        ]

    async def log_level(self, request: web.Request) -> web.Response:
        """Of this instance, at this moment."""
        read_query(NoQuery, request.query)
        return json_answer(schemas.LogLevel.model_validate({"level": _nearest(logs.level())}))

    async def set_log_level(self, request: web.Request) -> web.Response:
        """Of this instance, until it ends or the setting `log_level` changes.

        A database that is away is when somebody wants to see more. So the level is set all the same; then the log has
        what the audit log would have.
        """
        wanted = await read_body(request, schemas.LogLevel)
        before, by = logs.level(), request[PRINCIPAL]
        try:
            await self._audit.write(by, "log-level.set", "log-level", {"level": before}, wanted.model_dump())
        except StoreError as error:
            _log.warning("not in the audit log", action="log-level.set", who=by.name, error=error.message)
        logs.set_level(wanted.level)
        _log.warning("log level set", before=before, now=wanted.level, who=by.name)
        return json_answer(wanted)


def _nearest(level: str) -> str:
    """`critical`, which only a test sets, is shown as `error`."""
    return level if level in LEVELS else LEVELS[-1]
