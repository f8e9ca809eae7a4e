"""Logs: one format for ours and for libraries', and no secret in either."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import structlog

from muster.logs import configure_logs

Logged = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield io.StringIO()
    logging.captureWarnings(False)
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_ours_and_a_librarys_look_the_same(stream: io.StringIO) -> None:
    configure_logs("info", to=stream)
    structlog.get_logger("muster.app").info("leading", clusters=3)
    logging.getLogger("some.library").warning("%d left", 2)
    logging.getLogger("some.library").debug("ticks")
    structlog.get_logger("muster.app").debug("ticks")
    ours, theirs = lines(stream)
    assert list(ours)[:3] == ["time", "level", "event"]
    assert (ours["event"], ours["level"], ours["logger"], ours["clusters"]) == ("leading", "info", "muster.app", 3)
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("2 left", "warning", "some.library")
    assert ours["time"].endswith("Z")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_reaches_the_log(stream: io.StringIO, log_format: Literal["json", "console"]) -> None:
    configure_logs("info", log_format, to=stream)
    log = structlog.get_logger("x")
    log.info(
        "a",
        token="canary-1",
        Authorization="canary-2",
        db_password="canary-3",
        url="postgresql://user:canary-4@host/db",
        header="Bearer canary-5",
        path=f"/api/v1/tokens/muster_{'x' * 37}canary",
        nested={"secret": "canary-6", "list": [{"client_secret": "canary-7"}, "https://canary-8@h"]},
        odd=ValueError("https://u:canary-9@h/"),
    )
    logging.getLogger("lib").error("Basic canary-0=", extra={"token": "canary-1"})
    try:
        int("postgresql://u:canary-4@h")
    except ValueError:
        log.exception("failed with https://u:canary-8@h")
    assert "canary" not in stream.getvalue()
    assert "host/db" in stream.getvalue()
    assert "ValueError" in stream.getvalue()


def test_what_only_sounds_like_a_secret_is_shown(stream: io.StringIO) -> None:
    configure_logs(to=stream)
    structlog.get_logger("x").info(
        "a", token_file="/etc/t", tokens_fetched=3, secretary="Ms Moneypenny", mail="a@b.example"
    )
    (line,) = lines(stream)
    assert (line["token_file"], line["tokens_fetched"], line["mail"]) == ("/etc/t", 3, "a@b.example")
    assert line["secretary"] == "Ms Moneypenny"


def test_what_nests_without_end_is_cut(stream: io.StringIO) -> None:
    configure_logs(to=stream)
    endless: dict[str, Any] = {}
    endless["again"] = endless
    structlog.get_logger("x").info("a", endless=endless)
    assert "***" in stream.getvalue()


def test_a_cluster_cannot_write_to_the_terminal_through_the_log(stream: io.StringIO) -> None:
    configure_logs("info", "console", to=stream)
    structlog.get_logger("x").info("evil\x1b[2J", cluster="a\x1b]0;owned\x07")
    assert "\x1b" not in stream.getvalue()
    assert "owned" in stream.getvalue()


def test_warnings_of_python_are_logged(stream: io.StringIO) -> None:
    configure_logs(to=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("careful", stacklevel=1)
    assert "careful" in lines(stream)[0]["event"]
