"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_SERVER = "http://127.0.0.1:8645"


class Output(StrEnum):
    """How a listing is printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"

    @property
    def is_data(self) -> bool:
        """Whether programs read it."""
        return self in {Output.JSON, Output.YAML}


ServerOption = Annotated[
    str,
    typer.Option("--server", envvar="MUSTER_SERVER", metavar="URL", help="Where the service listens."),
]

TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar="MUSTER_TOKEN_FILE",
        metavar="FILE",
        help="API token. On this machine, the user who runs the service needs none.",
    ),
]

CaFileOption = Annotated[
    Path | None,
    typer.Option(
        "--ca-file", envvar="MUSTER_CA_FILE", metavar="FILE", help="CA of an https service, if it is your own (PEM)."
    ),
]

OutputOption = Annotated[
    Output,
    typer.Option("--output", "-o", help="How to print: for people (table, wide) or for programs (json, yaml)."),
]
