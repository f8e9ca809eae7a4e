"""How much is logged, changed while the service runs."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from muster.logs import configure_logs, level, set_level


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, before = root.handlers, root.level
    stream = io.StringIO()
    configure_logs("info", to=stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers = handlers
    root.setLevel(before)
    structlog.reset_defaults()


def events(stream: io.StringIO) -> list[str]:
    return [json.loads(line)["event"] for line in stream.getvalue().splitlines()]


def test_loggers_that_exist_obey_a_new_level(stream: io.StringIO) -> None:
    ours, theirs = structlog.get_logger("muster.app"), logging.getLogger("some.library")
    ours.debug("too early")
    theirs.debug("too early")
    set_level("debug")
    assert level() == "debug"
    ours.debug("ours")
    theirs.debug("theirs")
    logging.getLogger("aiohttp.access").info("a tick")
    set_level("error")
    ours.warning("too late")
    theirs.warning("too late")
    ours.error("last")
    assert events(stream) == ["ours", "theirs", "last"]


def test_what_is_no_level_changes_nothing(stream: io.StringIO) -> None:
    with pytest.raises(KeyError):
        set_level("loud")
    assert level() == "info"
