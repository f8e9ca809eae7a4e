"""A sync in a line, and the inventory of a location as a table."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from muster.api import schemas
from muster.cli.render.table import DIM, HEAD, Column, table
from muster.cli.render.text import count, local, span
from muster.escape import escaped

_UNITS = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def sync_line(known: schemas.Sync, found: schemas.Inventory | None) -> str:
    """How it stands."""
    who = "the hub" if known.cluster is None else f"the agent of {known.cluster}"
    if known.state == "Succeeded" and found is not None:
        text = f"{known.location}: {count(found.backups, 'backup')}, {count(known.listed, 'object')} listed by {who}"
        text += f", {count(found.missing_total, 'object')} missing" if found.missing_total else ""
        return escaped(f"{text}. `muster locations inventory {known.location}` shows them.")
    if known.state == "Failed":
        remedy = f" {known.remedy}" if known.remedy else ""
        return escaped(
            f"{known.location} could not be listed by {who}: {known.reason or 'Failed'}: {known.message}{remedy}"
        )
    if known.before:
        return escaped(f"{known.location} waits until its bucket is free: {known.before} before it.")
    left = f", about {span(known.estimate_s)} to go" if known.estimate_s is not None else ""
    return escaped(f"{known.location} is being listed by {who} ({count(known.listed, 'object')} so far{left}).")


def inventory_lines(found: schemas.Inventory, *, wide: bool) -> list[Text]:
    """The sums, the groups, and what is missing."""
    who = "the hub" if found.cluster is None else f"the agent of {found.cluster}"
    sums = f"{count(found.backups, 'backup')} in {count(found.objects, 'object')}, {_size(found.size_bytes)}"
    lines = [Text(escaped(found.location), HEAD).append(f"  {sums}", "not bold")]
    lines.append(Text(escaped(f"  listed {span(found.age_s)} ago by {who} in {span(found.took_s)}"), DIM))
    if found.truncated:
        lines.append(Text(escaped(f"  Not all: {found.truncated}."), "yellow"))
    lines += [Text(), *table(_columns(wide=wide), [_row(each, wide=wide) for each in found.groups], indent=2)]
    if found.missing_total:
        verb = "is" if found.missing_total == 1 else "are"
        lines += [Text(), Text(f"  {count(found.missing_total, 'object')} {verb} missing:", "red")]
        lines += list(_missing(found, len(found.missing) if wide else 5))
    return lines


def _columns(*, wide: bool) -> list[Column]:
    columns = [Column("PRODUCT"), Column("STORE OR NAMESPACE"), Column("CLUSTER"), Column("BACKUPS", right=True)]
    return [*columns, Column("NEWEST"), Column("AGE"), *([Column("ENDED"), Column("PHASE")] if wide else [])]


def _row(group: schemas.InventoryGroup, *, wide: bool) -> list[Text | str]:
    ended = "-" if group.newest_at is None else local(group.newest_at)
    return [
        escaped(group.product),
        escaped(group.prefix) if group.prefix else "(top)",
        "-" if group.cluster is None else escaped(group.cluster),
        f"{group.backups:,}",
        "-" if group.newest is None else escaped(group.newest),
        "-" if group.newest_age_s is None else span(group.newest_age_s),
        *((ended, escaped(group.phase or "-")) if wide else ()),
    ]


def _missing(found: schemas.Inventory, most: int) -> Iterator[Text]:
    shown = found.missing[:most]
    yield from (Text(escaped(f"    {each}")) for each in shown)
    if (more := found.missing_total - len(shown)) > 0:
        yield Text(f"    and {more:,} more", DIM)


def _size(size_bytes: int) -> str:
    for unit, one in _UNITS:
        if size_bytes >= one:
            return f"{size_bytes / one:.1f} {unit}"
    return f"{size_bytes} bytes"
