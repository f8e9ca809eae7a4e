"""`--watch`: the screen again every two seconds, through restarts of the service."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from muster.cli.asking import asking
from muster.cli.client import Client, NotReachable, Refused
from muster.cli.options import Output
from muster.cli.picture import Picture
from muster.cli.render import output as out
from muster.cli.render.table import DIM
from muster.cli.render.text import cut, span

EVERY_S = 2.0


class Seen(Protocol):
    """One answer of the service, ready to be shown."""

    def lines(self, console: Console, *, wide: bool = False, height: int | None = None, footer: str = "") -> list[Text]:
        """For people."""
        ...

    def data(self) -> dict[str, Any]:
        """For programs."""
        ...


class Look(Protocol):
    """Asks for one."""

    def __call__(self, client: Client, *, limit: int | None = None) -> Seen:
        """With a `limit`, for as much as a screen with so many lines shows. Raises what the client raises."""
        ...


Note = Callable[[], str]


def watch_status(
    server: str,
    output: Output,
    *,
    everything: bool,
    token_file: Path | None = None,
    ca_file: Path | None = None,
    note: Note = lambda: "",
) -> None:
    """The fleet."""
    watch(server, output, partial(Picture, everything=everything), token_file=token_file, ca_file=ca_file, note=note)


def watch(
    server: str,
    output: Output,
    look: Look,
    *,
    token_file: Path | None = None,
    ca_file: Path | None = None,
    note: Note = lambda: "",
) -> None:
    """Until Ctrl-C. On a terminal the screen is rewritten; elsewhere each picture follows the one before.

    `note` is asked for lines below each picture for people.

    It waits for a service that is not there, and ends where the token is not good: looking again would not change that.
    """
    with asking(server, token_file, ca_file, patiently=False) as client:
        _knock(client)
        console = out.console()
        if output.is_data:
            _stream_data(client, output, look)
        elif console.is_terminal:
            _screen(client, console, look, note, wide=output is Output.WIDE)
        else:
            _stream_text(client, console, look, note, wide=output is Output.WIDE)


def _knock(client: Client) -> None:
    """Raise `Refused` if we may not look. A service leaves its token just after it has begun to listen: twice, then."""
    for last in (False, True):
        try:
            client.fleet()
        except NotReachable:
            return
        except Refused as refused:
            if refused.problem.status not in {401, 403}:
                return
            if last or not client.transport.takes_local_token:
                raise
            time.sleep(EVERY_S / 4)
        else:
            return


def _screen(client: Client, console: Console, look: Look, note: Note, *, wide: bool) -> None:
    """The alternate screen, as `less` and `top` use it; what was there before comes back."""
    watched = _Watched(client, look, note)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            lines = watched.look(console, wide=wide, height=console.height)
            screen = Text("\n", no_wrap=True, overflow="crop").join(map(out.harmless, lines[: console.height]))
            live.update(screen, refresh=True)
            time.sleep(EVERY_S)


class _Watched:
    """The last picture, and what is to be said while there is no newer one."""

    def __init__(self, client: Client, look: Look, note: Note) -> None:
        self._client = client
        self._look = look
        self._note = note
        self._last: Seen | None = None
        self._lost_at: float | None = None

    def look(self, console: Console, *, wide: bool, height: int) -> list[Text]:
        """The screen now."""
        try:
            self._last = self._look(self._client, limit=max(1, height))
            self._lost_at = None
        except (NotReachable, Refused) as error:
            _end_if_not_allowed(self._client, error)
            if self._lost_at is None:
                self._lost_at = time.monotonic()
            said = [Text(cut(f"✖ {error}", console.width), "bold red")]
            if self._last is None:
                return [*said, Text(f"Trying again every {EVERY_S:.0f} s.")]
            gone = span(time.monotonic() - self._lost_at)
            said.append(Text(cut(f"  What follows is {gone} old. Trying again.", console.width), "bold red"))
            stale = self._last.lines(console, wide=wide, height=height - len(said))
            return [*said, *(Text(line.plain, DIM) for line in stale)]  # no colours: nothing here is green now
        footer = f"every {EVERY_S:.0f} s · Ctrl-C ends\n{self._note()}"
        return self._last.lines(console, wide=wide, height=height, footer=footer)


def _stream_text(client: Client, console: Console, look: Look, note: Note, *, wide: bool) -> None:
    while True:
        try:
            lines = look(client).lines(console, wide=wide, footer=note())
        except (NotReachable, Refused) as error:
            _end_if_not_allowed(client, error)
            lines = [Text(str(error))]
        out.show([*lines, Text()], console)
        console.file.flush()
        time.sleep(EVERY_S)


def _stream_data(client: Client, output: Output, look: Look) -> None:
    """One JSON document a line, or YAML documents; while the service is away there is an `error` in place of facts."""
    while True:
        try:
            document = look(client).data()
        except (NotReachable, Refused) as error:
            _end_if_not_allowed(client, error)
            document = {"error": str(error)}
        if output is Output.JSON:
            print(json.dumps(document), flush=True)
        else:
            print("---", flush=True)
            out.data(document, output)
        time.sleep(EVERY_S)


def _end_if_not_allowed(client: Client, error: Exception) -> None:
    if isinstance(error, Refused) and error.problem.status in {401, 403} and not client.transport.takes_local_token:
        raise error
