"""Telemetry for people: its state, a preview's head, the fields, the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.text import Text

from muster.api import schemas
from muster.cli.render.table import DIM, Column, table
from muster.cli.render.text import ago, count, local, squeezed
from muster.escape import escaped

_STYLES = {"on": "green", "suspended": "yellow", "off": ""}

_WIDTH = 14
"""Of the names before the colons."""


def status_lines(telemetry: schemas.Telemetry, now: datetime) -> Iterator[Text]:
    """A few lines, the state first."""
    yield Text.assemble(
        "Telemetry is ",
        (escaped(telemetry.state), _STYLES.get(telemetry.state, "")),
        f": {escaped(telemetry.why)}." if telemetry.why else ".",
    )
    if telemetry.decided_at is not None:
        by, way = escaped(telemetry.decided_by or ""), escaped(telemetry.interface or "")
        yield _line("Decided", f"{local(telemetry.decided_at)} by {by} ({way})")
    if (consent := telemetry.consent) is not None:
        yield _line("Organisation", escaped(consent.organisation))
        yield _line("To", escaped(consent.ingest_url or "no network; `muster telemetry export` writes files"))
        yield _line("Installation", escaped(consent.installation_id))
        agreed = f"commitments {consent.commitments_version}, dictionary {consent.dictionary_version}"
        yield _line("Consented to", escaped(agreed))
    yield _line("File", escaped(telemetry.place))
    if telemetry.state != "off":
        yield from _link(telemetry.link, now)
        yield Text()
        yield from _streams(telemetry)
    if telemetry.receipt is not None:
        yield _line("Receipt", escaped(telemetry.receipt))
    if telemetry.trouble:
        yield Text(f"Beside that: {escaped(telemetry.trouble)}", "yellow")


def preview_lines(preview: schemas.TelemetryPreview) -> Iterator[Text]:
    """What stands above the readable form."""
    if preview.sha256 is None:
        yield Text(f"There is nothing to send in the stream {escaped(preview.stream)}.")
        return
    if preview.placeholder:
        yield Text(
            "Telemetry is off for this stream. This was made to be looked at, and is forgotten already.", "yellow"
        )
    sizes = f"{preview.raw_bytes:,} bytes, {preview.packed_bytes:,} as they travel"
    more = f"; {count(preview.more, 'more batch', 'more batches')} would follow" if preview.more else ""
    yield _line("Batch", f"{count(preview.records, 'record')}, {sizes}{more}")
    yield _line("SHA-256", escaped(preview.sha256))
    if preview.dropped:
        dropped = ", ".join(f"{escaped(why)} {number}" for why, number in sorted(preview.dropped.items()))
        yield _line("Left out", dropped)
    yield Text()


def fields_table(terms: schemas.TelemetryTerms, *, wide: bool) -> list[Text]:
    """One line a field that can leave."""
    columns = [Column("STREAM"), Column("FIELD"), Column("TYPE"), Column("CLASSIFICATION"), Column("KEPT")]
    if wide:
        columns += [Column("EXAMPLE"), Column("PURPOSE")]
    rows: list[list[Text | str]] = [
        [
            escaped(field.stream or "every"),
            escaped(field.id),
            escaped(field.type),
            Text(escaped(field.classification), "yellow" if field.classification == "customer" else ""),
            escaped(field.retention),
            *((escaped(field.example), escaped(field.purpose)) if wide else ()),
        ]
        for field in terms.fields
    ]
    return table(columns, rows)


def audit_lines(log: schemas.TelemetryAudit, *, wide: bool) -> Iterator[Text]:
    """One line a decision, then whether the log is whole."""
    if not log.entries_total and log.intact:
        yield Text("Nobody has decided anything.")
        return
    columns = [
        Column("NUMBER", right=True),
        Column("WHEN", style=DIM),
        Column("WHO"),
        Column("BY WAY OF"),
        Column("WHAT"),
    ]
    if wide:
        columns += [Column("HASH OF THE LINE BEFORE")]
    rows: list[list[Text | str]] = [
        [
            str(entry.number),
            local(entry.at),
            squeezed(entry.by, 40),
            escaped(entry.interface),
            escaped(_what(entry)),
            *((escaped(entry.before),) if wide else ()),
        ]
        for entry in log.entries
    ]
    yield from table(columns, rows)
    yield Text()
    if log.intact:
        yield Text(
            f"✔ {count(log.entries_total, 'line')}, none changed. Receipt of the last: {escaped(log.head)}", "green"
        )
    else:
        yield Text(f"✘ The log is not whole: {escaped(log.problem)}.", "red")


def _what(entry: schemas.TelemetryAuditEntry) -> str:
    scope = entry.about.get("scope")
    return f"{entry.action}: {', '.join(map(str, scope))}" if isinstance(scope, dict) else entry.action


def _link(link: schemas.TelemetryLink, now: datetime) -> Iterator[Text]:
    yield _line("Sending", escaped(f"{link.state}{': ' if link.detail else ''}{link.detail}"))
    yield _line("Waiting", f"{count(link.waiting_batches, 'batch', 'batches')}, {link.waiting_bytes:,} bytes")
    yield _line("Last success", ago(now, link.last_success_at))
    if link.next_attempt_at is not None:
        yield _line("Next attempt", local(link.next_attempt_at))
    if link.certificate_expires_at is not None:
        yield _line("Certificate", f"until {local(link.certificate_expires_at)}")
    if link.clock_skew_s is not None and abs(link.clock_skew_s) >= 1:
        yield _line("Clock", f"{link.clock_skew_s:+.0f} s against the endpoint's")


def _streams(telemetry: schemas.Telemetry) -> list[Text]:
    rows: list[list[Text | str]] = [
        [
            escaped(name),
            Text("allowed", "green") if stream.allowed else Text("not allowed", "yellow" if stream.consented else DIM),
            ("plain" if stream.plain_names else "hashed") if stream.consented else "-",
            ("redacted" if stream.free_text else "none") if stream.consented else "-",
            escaped(stream.why),
        ]
        for name, stream in telemetry.streams.items()
    ]
    return table([Column("STREAM"), Column("STATE"), Column("NAMES"), Column("MESSAGES"), Column("WHY")], rows)


def _line(name: str, text: str) -> Text:
    return Text.assemble((f"{name}:".ljust(_WIDTH), DIM), text)
