"""Options that several commands share."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

DEFAULT_SERVER = "http://127.0.0.1:8645"


class Output(StrEnum):
    """How a listing is printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


ServerOption = Annotated[
    str,
    typer.Option("--server", envvar="MUSTER_SERVER", metavar="URL", help="Where the service listens."),
]

OutputOption = Annotated[
    Output,
    typer.Option("--output", "-o", help="How to print: for people (table, wide) or for programs (json, yaml)."),
]


def server_from_environment() -> str:
    """For completion, which runs without a parsed command line."""
    return os.environ.get("MUSTER_SERVER") or DEFAULT_SERVER
