"""Backup locations as a table, and one of them in full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from muster.api import schemas
from muster.cli.client import as_json
from muster.cli.options import Output
from muster.cli.render import output as out
from muster.cli.render.health import badge
from muster.cli.render.table import DIM, HEAD, Column, table
from muster.cli.render.text import local
from muster.escape import escaped

_STYLES = {"Valid": "green", "LimitedAvailability": "yellow", "ValidationFailed": "red"}


def show_location(location: schemas.LocationDetail, output: Output) -> None:
    """To stdout, for people or for programs."""
    if output.is_data:
        out.data(as_json(location), output)
    else:
        out.show(location_lines(location), out.console())


def locations_table(locations: Sequence[schemas.Location], *, wide: bool) -> list[Text]:
    """One line a location."""
    columns = [Column("LOCATION"), Column("STATUS"), Column("CLUSTERS", right=True), Column("OWNER"), Column("WHERE")]
    if wide:
        columns += [Column("SHARED WITH"), Column("MADE"), Column("ID"), Column("MESSAGE")]
    rows: list[list[Text | str]] = [
        [
            escaped(each.name),
            _status(each),
            f"{each.assigned:,}",
            escaped(each.owner),
            escaped(each.url),
            *(
                (escaped(", ".join(each.shared_with)) or "-", local(each.created_at), each.id, escaped(each.message))
                if wide
                else ()
            ),
        ]
        for each in locations
    ]
    return table(columns, rows)


def location_lines(location: schemas.LocationDetail) -> list[Text]:
    """What it is, what to know, and how it works from each cluster."""
    head = Text(escaped(location.name), HEAD)
    lines = [head.append("  ").append_text(_status(location)).append(f"  {escaped(location.message)}", DIM)]
    facts = list(_facts(location))
    width = max(len(name) for name, _ in facts)
    lines += [Text(f"  {name:<{width}}  ", DIM).append(escaped(value), "not dim") for name, value in facts]
    lines += [Text(f"  {escaped(note)}", "yellow") for note in location.notes]
    if location.clusters:
        columns = [Column("CLUSTER"), Column("HEALTH"), Column("ASSIGNED"), Column("BY")]
        rows: list[list[Text | str]] = [
            [
                escaped(each.name) if each.name is not None else Text(f"{escaped(each.id)} (not in the fleet)", DIM),
                badge(each.health),
                local(each.assigned_at),
                escaped(each.assigned_by),
            ]
            for each in location.clusters
        ]
        lines += [Text(), *table(columns, rows, indent=2)]
    return lines


def _facts(location: schemas.LocationDetail) -> Iterator[tuple[str, str]]:
    yield "where", location.url
    yield "provider", location.provider
    for name, value in (
        ("environment", location.environment),
        ("resource group", location.resource_group),
        ("subscription", location.subscription_id),
        ("region", location.region),
        ("encryption key", location.encryption_key),
    ):
        if value is not None:
            yield name, value
    flags = (
        ("path style", location.path_style),
        ("sync", location.sync),
        ("write probe", location.write_probe),
        ("may be shared", location.allow_shared),
    )
    if switched_on := [name for name, on in flags if on]:
        yield "switched on", ", ".join(switched_on)
    yield "owner", location.owner
    yield "made", f"{local(location.created_at)} by {location.created_by}"
    if location.deleting_at is not None:
        yield "deleted", f"{local(location.deleting_at)} by {location.deleting_by}"
    yield "id", location.id


def _status(location: schemas.Location) -> Text:
    return Text(escaped(location.status), _STYLES.get(location.status, ""))
