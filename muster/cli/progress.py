"""Signs of life on stderr, only on a terminal, for whatever takes longer than a second."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

AFTER_S = 1.0


@contextmanager
def waiting(what: str, *, shown: bool = True) -> Iterator[None]:
    """A spinner, if the block takes longer than a second."""
    if not shown or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - only on a terminal

    status = Console(stderr=True, markup=False, highlight=False).status(what)
    timer = threading.Timer(AFTER_S, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()


def progress_bar() -> Progress:
    """How many of how many; nothing where stderr is no terminal."""
    from rich.console import Console  # noqa: PLC0415 - `--help` needs none of these
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    console = Console(stderr=True, markup=False, highlight=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
