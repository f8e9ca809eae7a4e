"""Structured logs on stderr: ours and those of libraries, through one set of processors.

Last of them before rendering is redaction: a secret has no business in a log call, but a driver's error text or a
traceback may bring one along. What is masked: values of keys that are called like a secret, the user information of
URLs, what follows `Bearer` or `Basic`, and our own tokens wherever they are.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from muster.access.secret import without_tokens
from muster.escape import escaped

MASK = "***"

MAX_DEPTH = 6
"""Nesting that redaction follows; what lies deeper is masked whole."""

_SECRET_KEY = re.compile(r"(^|[_.-])(token|password|passwd|authorization|secret|private_key)s?$", re.IGNORECASE)
_USERINFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/?#]*@", re.IGNORECASE)
_SCHEME = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9+/=._~-]{4,}", re.IGNORECASE)

_NOISY = ("aiohttp.access", "asyncio")
"""Below warning these tell ticks, not edges."""


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Processor: mask what looks like a secret, in place of trusting every caller."""
    return {key: _masked(key, value, 0) for key, value in event.items()}


def configure_logs(
    level: str = "info", log_format: Literal["json", "console"] = "json", to: TextIO | None = None
) -> None:
    """Set up structlog and the standard library's logging for this process; `to` is stderr unless given."""
    stream = sys.stderr if to is None else to
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                *_rendering(log_format, stream),
            ],
        )
    )
    logging.getLogger().handlers = [handler]
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    set_level(level)


def level() -> str:
    """Least level that is logged now, e.g. `info`."""
    return logging.getLevelName(logging.getLogger().level).lower()


def set_level(level: str) -> None:
    """Log from this level on, ours and libraries'. Loggers look at each call, so those that exist obey too."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(number)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(number))


def _rendering(log_format: str, stream: TextIO) -> list[Processor]:
    if log_format == "json":
        return [_what_matters_first, structlog.processors.JSONRenderer()]
    console = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(),
        # Plain, since tracebacks are text by now: rich ones would show the values of local variables.
        exception_formatter=structlog.dev.plain_traceback,
        timestamp_key="time",
    )
    return [_for_a_terminal, console]


def _what_matters_first(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {**{key: event[key] for key in ("time", "level", "event") if key in event}, **event}


def _for_a_terminal(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {key: escaped(value, "\n\t") if isinstance(value, str) else value for key, value in event.items()}


def _masked(key: str, value: Any, depth: int) -> Any:
    if _SECRET_KEY.search(key) or depth > MAX_DEPTH:
        return MASK
    if isinstance(value, Mapping):
        return {inner: _masked(str(inner), item, depth + 1) for inner, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked("", item, depth + 1) for item in value]
    if isinstance(value, bool | int | float | None):
        return value
    return _SCHEME.sub(rf"\1 {MASK}", _USERINFO.sub(rf"\g<1>{MASK}@", without_tokens(str(value))))
