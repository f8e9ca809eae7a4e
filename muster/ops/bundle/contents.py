"""What is in a bundle: documents made of what was collected; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from muster.api import schemas
from muster.ops.bundle.gate import without_secrets
from muster.ops.bundle.pseudonyms import Pseudonyms
from muster.ops.doctor.finding import Finding

MAX_DOCUMENT_BYTES = 8 * 1024 * 1024
"""Unpacked; 10,000 clusters' metrics have 4 MB."""

_PLAIN_SETTINGS = frozenset({"log_level", "log_format", "listen"})
"""Settings whose text tells of nobody."""
_CLUSTER = ("id", "lifecycle", "health", "check", "reason", "stage", "since", "last_known", "last_success_at", "age_s")
_CLUSTER_FLAGS = ("flapping", "pending")
_TRANSITION = ("id", "at", "since", "cluster_id", "check", "from_health", "to_health", "reason", "stage", "flapping")
_FLEET = ("generation", "now", "version", "role", "started_at", "total", "counts", "reasons", "flapping")
_FLEET_MORE = ("oldest_fact_age_s", "store", "lanes", "source_problems_total")


@dataclass(frozen=True, slots=True)
class Collected:
    """What could be had; None = it could not."""

    release: str
    created_at: str
    settings: Sequence[Mapping[str, Any]]
    findings: Sequence[Finding]
    migrations: Sequence[Mapping[str, Any]] | None = None
    fleet: schemas.Fleet | None = None
    clusters: Sequence[schemas.Cluster] = ()
    transitions: Sequence[schemas.Transition] = ()
    metrics: str | None = None
    missing: tuple[str, ...] = ()
    """A sentence for each thing that could not be had."""
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    """That this machine knows: the database's password, the local token."""


def documents(collected: Collected, pseudonyms: Pseudonyms | None) -> dict[str, bytes]:
    """By file name. Without `pseudonyms` the names are in it, and the free text."""
    made: dict[str, str] = {
        "settings.json": _json([_setting(row, pseudonyms) for row in collected.settings]),
        "doctor.json": _json([_finding(finding, pseudonyms) for finding in collected.findings]),
    }
    if collected.migrations is not None:
        made["schema.json"] = _json(list(collected.migrations))
    if collected.fleet is not None:
        made["fleet.json"] = _json(_fleet(collected.fleet, pseudonyms))
        made["clusters.jsonl"] = _lines(_cluster(cluster, pseudonyms) for cluster in collected.clusters)
        made["transitions.jsonl"] = _lines(_transition(change, pseudonyms) for change in collected.transitions)
    if collected.metrics is not None:
        made["metrics.txt"] = pseudonyms.metrics(collected.metrics) if pseudonyms else collected.metrics
    about = {
        "muster": collected.release,
        "created_at": collected.created_at,
        "names": "pseudonyms" if pseudonyms else "as they are",
        "files": sorted(made),
        "missing": [pseudonyms.text(sentence) if pseudonyms else sentence for sentence in collected.missing],
    }
    gated = {
        name: without_secrets(text, collected.secrets) for name, text in {"about.json": _json(about), **made}.items()
    }
    return {name: _bounded(text) for name, text in gated.items()}


def _setting(row: Mapping[str, Any], pseudonyms: Pseudonyms | None) -> dict[str, Any]:
    value, key = row["value"], row["key"]
    if pseudonyms and key not in _PLAIN_SETTINGS:
        if isinstance(value, list | tuple):
            value = f"{len(value)} of them"
        elif isinstance(value, str) and value:
            value = "set"
    return {"key": key, "value": value, "source": row["source"]}


def _finding(finding: Finding, pseudonyms: Pseudonyms | None) -> dict[str, Any]:
    row = asdict(finding)
    if pseudonyms:
        row["seen"], row["remedy"] = pseudonyms.text(finding.seen), pseudonyms.text(finding.remedy)
    return row


def _fleet(fleet: schemas.Fleet, pseudonyms: Pseudonyms | None) -> dict[str, Any]:
    row = fleet.model_dump(mode="json")
    return {key: row[key] for key in (*_FLEET, *_FLEET_MORE)} if pseudonyms else row


def _cluster(cluster: schemas.Cluster, pseudonyms: Pseudonyms | None) -> dict[str, Any]:
    row = cluster.model_dump(mode="json")
    if pseudonyms is None:
        return row
    named = {
        "name": pseudonyms.name("cluster", cluster.name),
        "source": pseudonyms.name("source", cluster.source),
        "paused": cluster.pause is not None,
    }
    return {**named, **{key: row[key] for key in (*_CLUSTER, *_CLUSTER_FLAGS)}}


def _transition(change: schemas.Transition, pseudonyms: Pseudonyms | None) -> dict[str, Any]:
    row = change.model_dump(mode="json")
    return {key: row[key] for key in (*_TRANSITION, "collapsed")} if pseudonyms else row


def _json(document: object) -> str:
    return json.dumps(document, indent=1) + "\n"


def _lines(rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _bounded(text: str) -> bytes:
    whole = text.encode(errors="replace")
    if len(whole) <= MAX_DOCUMENT_BYTES:
        return whole
    return whole[:MAX_DOCUMENT_BYTES] + f"\n[cut: {len(whole)} bytes in all]\n".encode()
