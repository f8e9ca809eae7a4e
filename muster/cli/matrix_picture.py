"""What `muster matrix` shows: one answer of the service, as a screen, as data, as an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from muster.cli.exits import Exit
from muster.cli.options import Output
from muster.cli.picture import NEEDS_ATTENTION, PROMPT_LINES

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from muster.api import schemas
    from muster.cli.client import Client

CELLS_A_LINE = 20
"""Asked for at once for a screen: a row of more columns fits onto none."""

LEAST_CELLS = 200
MOST_CELLS = 5000
"""On one page."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to see."""

    query: tuple[tuple[str, str], ...]
    """Filters."""
    problems: bool
    """Only what is not healthy: of a grid the rows with such a cell, of a list those cells."""
    everything: bool
    """Also what does not fit onto the screen."""
    output: Output

    @property
    def grid(self) -> bool:
        """Whether it is shown as rows and columns."""
        return self.output is Output.TABLE

    def screen(self) -> int | None:
        """Lines of the screen that it has to fit onto; None = it need not."""
        if not self.grid or self.everything:
            return None
        from muster.cli.render import output as out  # noqa: PLC0415 - needs rich

        console = out.console()
        return console.height if console.is_terminal else None

    def sent(self) -> list[tuple[str, str]]:
        """The query of the API."""
        by_health = [] if self.grid or not self.problems or "health" in dict(self.query) else [NEEDS_ATTENTION]
        sort = "rows" if self.grid else "cluster" if self.output.is_data else "attention"
        return [*self.query, *(("health", each) for each in by_health), ("sort", sort)]


class MatrixPicture:
    """One answer of the service, ready to be shown. Raises what the client raises."""

    def __init__(self, client: Client, *, asked: Asked, limit: int | None = None) -> None:
        """With a `limit` only so many rows are asked for."""
        self._where = client.url
        self._asked = asked
        size = MOST_CELLS if limit is None else min(MOST_CELLS, max(LEAST_CELLS, CELLS_A_LINE * limit))
        pages = client.matrix_pages(asked.sent(), size)
        self.head: schemas.MatrixPage = next(pages)
        self.cells: list[schemas.MatrixCell] = list(self._wanted(self.head, pages, limit))

    def _wanted(
        self, page: schemas.MatrixPage, pages: Iterator[schemas.MatrixPage], limit: int | None
    ) -> Iterator[schemas.MatrixCell]:
        """Of a grid whole rows, up to the last one that has to be there."""
        row: list[schemas.MatrixCell] = []
        rows = 0
        while True:
            for cell in page.cells:
                if self._asked.grid and row and row[0].cluster_id != cell.cluster_id:
                    if self._is_fine(row) or rows == limit:
                        return
                    yield from row
                    row, rows = [], rows + 1
                row.append(cell)
            if not self._asked.grid:
                yield from row
                row = []
            if page.next is None:
                break
            page = next(pages)
        if not self._is_fine(row) and rows != limit:
            yield from row

    def _is_fine(self, row: list[schemas.MatrixCell]) -> bool:
        """Whether it is left out, and so are all that follow it: the worst rows come first."""
        return self._asked.grid and self._asked.problems and all(cell.health == "Healthy" for cell in row)

    @property
    def code(self) -> Exit:
        """How a script should take it."""
        from muster.cli.render.health import is_broken  # noqa: PLC0415 - needs rich

        return Exit.UNHEALTHY if is_broken(self._matching()) else Exit.HEALTHY

    def _matching(self) -> dict[str, int]:
        """Cells by health, without those that their health keeps out."""
        chosen = {each.strip().casefold() for each in dict(self._asked.query).get("health", "").split(",")} - {""}
        return {name: n for name, n in self.head.counts.items() if not chosen or name.casefold() in chosen}

    def show(self) -> None:
        """Print it."""
        from muster.cli.render import output as out  # noqa: PLC0415 - needs rich

        asked = self._asked
        if asked.output.is_data:
            out.data(self.data(), asked.output)
            return
        console = out.console()
        height = None if (lines := asked.screen()) is None else lines - PROMPT_LINES
        out.show(self.lines(console, wide=not asked.grid, height=height), console)

    def data(self) -> dict[str, Any]:
        """For programs: all of it, as if it were one page."""
        from muster.cli.client import as_json  # noqa: PLC0415 - needs pydantic

        document: dict[str, Any] = as_json(self.head)
        del document["next"]
        return {**document, "cells": [as_json(cell) for cell in self.cells]}

    def lines(self, console: Console, *, wide: bool = False, height: int | None = None, footer: str = "") -> list[Text]:
        """For people."""
        from muster.cli.render.matrix import View, matrix_lines  # noqa: PLC0415 - needs rich
        from muster.cli.render.status import Screen  # noqa: PLC0415 - the same

        colour = console.color_system is not None and not console.no_color
        screen = Screen(console.width, None if self._asked.everything else height, colour)
        asked = self._asked
        view = View(wide, asked.problems, bool(asked.query), self._matching())
        return matrix_lines(self.head, self.cells, view, screen, self._where, footer)
