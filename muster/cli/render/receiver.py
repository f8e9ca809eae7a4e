"""What a receiver knows, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.text import Text

from muster.cli.render.table import DIM, Column, table
from muster.cli.render.text import ago, local
from muster.escape import escaped
from uplink.receiver.activations import Activation
from uplink.receiver.view import OrgLine


def orgs_table(orgs: Sequence[OrgLine], counts: Mapping[str, int], now: datetime) -> list[Text]:
    """One line an organisation, then what was counted."""
    columns = ["ORGANISATION", "INSTALLATIONS", "CERTIFICATES", "TO APPROVE", "STORED", "LAST RECEIVED"]
    rows: list[list[Text | str]] = [
        [
            escaped(org.id),
            f"{org.installations}",
            f"{org.certificates}",
            Text(f"{org.waiting}", "yellow" if org.waiting else DIM),
            size(org.stored_bytes),
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


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _ago(now: datetime, seconds: float | None) -> str:
    return "never" if seconds is None else ago(now, _at(seconds))


def size(count: int) -> str:
    """`12.0 KiB`, `3.4 MiB`."""
    return f"{count / 1024**2:.1f} MiB" if count >= 1024**2 else f"{count / 1024:.1f} KiB"
