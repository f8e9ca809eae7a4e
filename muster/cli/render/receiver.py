"""What a receiver knows, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.text import Text

from muster.cli.render.table import DIM, Column, table
from muster.cli.render.text import ago, local
from muster.escape import escaped
from uplink.receiver.activations import Activation
from uplink.receiver.view import OrgLine, OrgView


def orgs_table(orgs: Sequence[OrgLine], counts: Mapping[str, int], now: datetime) -> list[Text]:
    """One line an organisation, then what was counted."""
    columns = ["ORGANISATION", "INSTALLATIONS", "CERTIFICATES", "TO APPROVE", "STORED", "LAST RECEIVED"]
    rows: list[list[Text | str]] = [
        [
            escaped(org.id),
            f"{org.installations}",
            f"{org.certificates}",
            Text(f"{org.waiting}", "yellow" if org.waiting else DIM),
            _bytes(org.stored_bytes),
            _ago(now, org.received_at),
        ]
        for org in orgs
    ]
    lines = table([Column(name) for name in columns], rows)
    if counts:
        lines += [Text(), Text(", ".join(f"{escaped(name)}: {count}" for name, count in sorted(counts.items())))]
    return lines


def activations_table(activations: Sequence[Activation], now: datetime) -> list[Text]:
    """One line a token."""
    columns = ["ID", "ORGANISATION", "PREFIX", "STATE", "EXPIRES", "INSTALLATION"]
    rows: list[list[Text | str]] = [
        [
            str(each.id),
            escaped(each.org_id),
            Text(escaped(each.prefix), DIM),
            each.state(now.timestamp()),
            local(_at(each.expires_at)),
            str(each.installation_id or "any"),
        ]
        for each in activations
    ]
    return table([Column(name) for name in columns], rows)


def org_lines(view: OrgView, now: datetime) -> list[Text]:
    """All of one organisation."""
    lines = [Text(f"{escaped(view.id)}: {_bytes(view.stored_bytes)} stored")]
    installations: list[list[Text | str]] = [
        [
            str(each.id),
            f"until {local(_at(each.ends_at))}" if each.ends_at is not None else Text("none that works", "yellow"),
            escaped(each.serial or "-"),
            f"{each.batches}",
            _ago(now, each.received_at),
        ]
        for each in view.installations
    ]
    lines += _section("INSTALLATION", "CERTIFICATE", "SERIAL", "BATCHES", "LAST RECEIVED", rows=installations)
    clusters: list[list[Text | str]] = [
        [
            escaped(each.uid),
            escaped(each.health or "-"),
            _ago(now, each.health_at),
            _ago(now, each.last_seen_at),
            escaped(" ".join(f"{name}={value}" for name, value in each.attributes.items() if value != each.uid)),
        ]
        for each in view.clusters
    ]
    lines += _section("CLUSTER", "HEALTH", "SINCE", "LAST HEARD OF", "WHAT IT IS", rows=clusters)
    changes: list[list[Text | str]] = [
        [local(_at(each.at)), escaped(each.uid), escaped(each.health)] for each in view.changes
    ]
    lines += _section("WHEN", "CLUSTER", "BECAME", rows=changes)
    logs: list[list[Text | str]] = [
        [
            local(_at(each.at)),
            escaped(each.severity),
            escaped(each.event or "-"),
            escaped(" ".join([each.body, *(f"{name}={value}" for name, value in each.attributes.items())]).strip()),
        ]
        for each in view.logs
    ]
    return lines + _section("WHEN", "SEVERITY", "EVENT", "WHAT", rows=logs)


def _section(*names: str, rows: list[list[Text | str]]) -> list[Text]:
    return [Text(), *table([Column(name) for name in names], rows)] if rows else []


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _ago(now: datetime, seconds: float | None) -> str:
    return "never" if seconds is None else ago(now, _at(seconds))


def _bytes(count: int) -> str:
    return f"{count / 1024**2:.1f} MiB" if count >= 1024**2 else f"{count / 1024:.1f} KiB"
