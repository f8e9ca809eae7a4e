"""To stdout: for people through rich, for programs as JSON or YAML in plain ASCII."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.text import Text

from muster.cli.options import Output
from muster.escape import escaped

UNCUT = 10_000
"""Width where nothing is cut: pipes and files get whole lines."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let whoever runs the command end it: rich itself would end it with 1, as if a cluster were broken."""
        raise  # noqa: PLE0704 - rich calls this where it handles BrokenPipeError


def console() -> Console:
    """For stdout. Colours only on a terminal and without NO_COLOR; lines are cut only on a terminal."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name that this terminal can't show must not end the command
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else UNCUT
    return _Console(width=width, highlight=False, markup=False, emoji=False)


def show(lines: Iterable[Text], to: Console) -> None:
    """Print lines as they are: they were made to fit."""
    for line in lines:
        to.print(harmless(line), soft_wrap=True)


def harmless(line: Text) -> Text:
    """The line, or its escaped text if anything in it was forgotten to be escaped: the last gate to the terminal."""
    return line if line.plain.isprintable() else Text(escaped(line.plain))


def data(document: Any, output: Output) -> None:
    """Print plain data. ASCII only: a terminal may be on the other end, and names come from elsewhere."""
    if output is Output.JSON:
        print(json.dumps(document, indent=2))
        return
    import yaml  # noqa: PLC0415 - only this output needs it

    print(yaml.safe_dump(document, sort_keys=False, width=120), end="")
