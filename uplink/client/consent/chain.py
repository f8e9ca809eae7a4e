"""The hash chain of the audit log: pure.

Each line has the hash of the line before it: an edited, removed, doubled or moved line shows in all that follow. A log
that was cut at its end is a whole chain, too: hence the head, the number and hash of the last line, which is kept
beside it, and in the service's other audit log with every decision. Whoever has all three can forge all three; a key
for signatures would lie on the same disk, for the same user.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

START = "0" * 64
"""What the first line has as the hash of the one before."""

_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Entry(BaseModel):
    """One line."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    number: Annotated[int, Field(ge=1)]
    at: float
    """Hub clock, seconds since the epoch."""
    by: str
    interface: str
    action: str
    """`on`, `off`, `narrow`, `export`."""
    about: dict[str, Any]
    """What was decided; no secret."""
    before: _Hash
    """Hash of the line before."""


class Head(BaseModel):
    """Where the log ends."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    number: Annotated[int, Field(ge=0)] = 0
    hash: _Hash = START


@dataclass(frozen=True, slots=True)
class Checked:
    """What verification has found."""

    entries: tuple[Entry, ...]
    """Those that are whole and in their place."""
    head: Head
    """After the last of them."""
    problem: str = ""
    """The first thing that is wrong; empty = nothing is."""
    torn: bool = False
    """The last line was cut off while it was written, before the decision that it is of was made."""


def line_of(entry: Entry) -> bytes:
    """As the file has it."""
    return entry.model_dump_json().encode() + b"\n"


def appended(
    head: Head, at: float, by: str, interface: str, action: str, about: Mapping[str, Any]
) -> tuple[bytes, Head]:
    """The next line, and the head after it."""
    known = json.loads(json.dumps(about, default=str))
    entry = Entry(
        number=head.number + 1, at=at, by=by, interface=interface, action=action, about=known, before=head.hash
    )
    line = line_of(entry)
    return line, Head(number=entry.number, hash=hashlib.sha256(line).hexdigest())


def check(lines: Sequence[bytes], head: Head | None) -> Checked:
    """Follow the chain to the head that was kept; None = none was.

    One whole line after the head is what a power cut leaves between the two, and no problem.
    """
    entries: list[Entry] = []
    at = Head()
    met = head is None or head == at
    for number, line in enumerate(lines, 1):
        last = number == len(lines)
        if last and not line.endswith(b"\n"):
            return Checked(tuple(entries), at, _end(head, at, met=met), torn=True)
        try:
            entry = Entry.model_validate_json(line)
        except ValidationError:
            return Checked(tuple(entries), at, f"line {number} can't be read: it was edited")
        if entry.number != number:
            return Checked(tuple(entries), at, f"line {number} has the number {entry.number}: one was removed or moved")
        if entry.before != at.hash:
            return Checked(tuple(entries), at, f"line {number} does not follow from the line before: one was edited")
        entries.append(entry)
        at = Head(number=number, hash=hashlib.sha256(line).hexdigest())
        met = met or head == at
    return Checked(tuple(entries), at, _end(head, at, met=met))


def _end(head: Head | None, at: Head, *, met: bool) -> str:
    if head is None:
        return "" if at.number == 0 else "its head is missing: whether lines were cut off at the end can't be told"
    if met and at.number <= head.number + 1:
        return ""
    if at.number < head.number:
        return f"lines {at.number + 1} to {head.number} are missing: the log was cut off"
    if at.number > head.number + 1:
        return f"{at.number - head.number} lines follow its head: they were added by somebody else"
    return f"line {head.number} is not the one that was written: it was edited"
