"""The doctor's checklist: what was looked at, in order, and below each finding the lines that mend it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

from muster.cli.render.cluster import MAX_WIDTH, prose
from muster.cli.render.table import DIM, HEAD
from muster.cli.render.text import count, duration
from muster.escape import escaped
from validator.model import Outcome

if TYPE_CHECKING:
    from muster.cli.examining import Examined
    from validator.doctor.step import Diagnosis, Step

_LOOKS = {
    Outcome.PASS: ("✔", "green"),
    Outcome.FINDING: ("▲", "yellow"),
    Outcome.FAIL: ("✖", "red bold"),
    Outcome.UNKNOWN: ("?", "cyan"),
}

_INDENT = 4


def doctor_lines(examined: Examined, width: int) -> list[Text]:
    """Everything, one service account after the other."""
    lines = [Text(f"{escaped(examined.cluster)}   {escaped(examined.endpoint)}", HEAD)]
    for diagnosis in examined.diagnoses:
        lines += [Text(), *_account(diagnosis, min(width, MAX_WIDTH))]
    return [*lines, Text(), *_calls(examined)]


def _account(diagnosis: Diagnosis, width: int) -> Iterator[Text]:
    cloud = diagnosis.cloud.value if diagnosis.cloud else "unknown cloud"
    found = len(diagnosis.findings)
    end = count(found, "finding") if found else "nothing is wrong with what can be seen from here"
    yield Text.assemble((str(diagnosis.account), HEAD), f"   {cloud}   ", (end, "red bold" if found else "green"))
    wide = max(len(step.name) for step in diagnosis.steps)
    for step in diagnosis.steps:
        yield from _step(step, wide, width)


def _step(step: Step, wide: int, width: int) -> Iterator[Text]:
    sign, style = _LOOKS[step.outcome]
    first, *rest = prose(step.seen, 0, max(40, width - wide - _INDENT)) or [Text()]
    line = Text.assemble((f"{sign} ", style), (f"{step.name:<{wide}}  ", HEAD))
    if step.reason:
        yield line.append(step.reason.value, style)
        rest = [first, *rest]
    else:
        yield line.append_text(first)
    for each in rest:
        yield Text(" " * (wide + _INDENT)).append_text(each)
    # Unwrapped, and no sign before them: they are there to be copied.
    for command in step.fix:
        yield Text(" " * (wide + _INDENT) + escaped(command), DIM if command.startswith("#") else "cyan")


def _calls(examined: Examined) -> Iterator[Text]:
    calls = examined.calls
    took_s = sum(call.took_ms for call in calls) / 1000
    yield Text(f"Asked with your kubeconfig, read-only: {count(len(calls), 'call')}, {duration(took_s)}", DIM)
    for call in calls:
        yield Text(f"  {call.status or '---'}  GET {escaped(call.path)}", DIM)
