"""One ask: the trace, what was seen, the verdict, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.text import Text

from muster.api import schemas
from muster.cli.render.cluster import evidence_pairs, prose, remedy_lines
from muster.cli.render.health import badge, look
from muster.cli.render.table import HEAD
from muster.cli.render.trace import trace_lines
from muster.escape import escaped

if TYPE_CHECKING:
    from muster.cli.probing import Asked


def probe_lines(asked: Asked, width: int) -> list[Text]:
    """Everything, in the order in which it happened."""
    return [Text(escaped(asked.endpoint), HEAD), *check_lines(asked.checks, width)]


def check_lines(checks: Sequence[schemas.Check], width: int) -> list[Text]:
    """First what happened, then what it means."""
    lines: list[Text] = []
    now = datetime.now(UTC)
    for check in checks:
        if check.answer is not None and check.answer.stages:
            lines += [Text(), *trace_lines(check.answer.stages, 2, width)]
        if seen := evidence_pairs(check.evidence, now, width):
            lines += [Text(), *seen]
    for check in checks:
        lines += [Text(), *_verdict(check, width)]
    return lines


def _verdict(check: schemas.Check, width: int) -> Iterator[Text]:
    line = Text.assemble(badge(check.health), (f"   {escaped(check.check)}", HEAD))
    if check.reason:
        line.append(f"   {escaped(check.reason)}", look(check.health).style)
    yield line
    if check.message:
        yield from prose(check.message, 2, width)
    yield from remedy_lines(check.remedy, check.docs, 2, width)
