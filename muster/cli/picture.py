"""What `muster status` shows: one answer of the service, as a screen, as data, as an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from muster.cli.exits import Exit
from muster.cli.options import Output

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from muster.api import schemas
    from muster.cli.client import Client

NEEDS_ATTENTION = "Unreachable,Unhealthy,Unknown,Degraded,Suspended"

PROMPT_LINES = 2
"""Left free below the screen, so that its first line does not scroll away."""


class Picture:
    """One answer of the service, ready to be shown. Raises what the client raises."""

    def __init__(self, client: Client, *, everything: bool, limit: int | None = None) -> None:
        """With a `limit` only so many clusters are asked for: as many as a screen has lines."""
        self._where = client.url
        self._everything = everything
        self.fleet: schemas.Fleet = client.fleet()
        query = [] if everything else [("health", NEEDS_ATTENTION)]
        pages = client.pages(query) if limit is None else iter([client.page(limit, query)])
        self.clusters: list[schemas.Cluster] = [cluster for page in pages for cluster in page.clusters]

    @property
    def code(self) -> Exit:
        """How a script should take it."""
        from muster.cli.render.health import is_broken  # noqa: PLC0415 - needs rich

        broken = is_broken(self.fleet.counts) or self.fleet.source_problems_total > 0
        return Exit.UNHEALTHY if broken else Exit.HEALTHY

    def show(self, output: Output) -> None:
        """Print it."""
        from muster.cli.render import output as out  # noqa: PLC0415 - needs rich

        if output.is_data:
            out.data(self.data(), output)
            return
        console = out.console()
        one_screen = console.is_terminal and not self._everything
        height = console.height - PROMPT_LINES if one_screen else None
        out.show(self.lines(console, wide=output is Output.WIDE, height=height), console)

    def data(self) -> dict[str, Any]:
        """For programs: the fleet, and the clusters that a person would see."""
        from muster.cli.client import as_json  # noqa: PLC0415 - needs pydantic

        return {**as_json(self.fleet), "clusters": [as_json(cluster) for cluster in self.clusters]}

    def lines(self, console: Console, *, wide: bool = False, height: int | None = None, footer: str = "") -> list[Text]:
        """For people."""
        from muster.cli.render.status import Screen, status_lines  # noqa: PLC0415 - needs rich

        colour = console.color_system is not None and not console.no_color
        screen = Screen(console.width, height, colour)
        return status_lines(self.fleet, self.clusters, screen, self._where, footer, wide=wide)
