"""A support bundle has what helps, and nothing else: canaries are planted wherever text may come from."""

from __future__ import annotations

import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from muster.api import schemas
from muster.ops.bundle.contents import MAX_DOCUMENT_BYTES, Collected, documents
from muster.ops.bundle.file import write_bundle
from muster.ops.bundle.gate import without_secrets
from muster.ops.bundle.pseudonyms import Pseudonyms
from muster.ops.doctor.finding import problem

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLUSTER_ID = "6d757374-6572-4000-8000-000000000001"
PASSWORD = "hunter2-canary"
TOKEN = "muster_" + "c" * 43
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"
KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCanary\n-----END EC PRIVATE KEY-----"
SECRETS = (PASSWORD, TOKEN, JWT, "MHcCanary")
NAMES = ("acme-prod", "api.acme.example", "10.20.30.40", "team-rockets", "/etc/acme")

EVIL = f"acme-prod at api.acme.example (10.20.30.40) postgresql://m:{PASSWORD}@db Bearer {TOKEN} {JWT} {KEY}"


def cluster() -> schemas.Cluster:
    values: dict[str, Any] = {
        "id": CLUSTER_ID,
        "name": "acme-prod",
        "source": "static:/etc/acme/c.yaml",
        "endpoint": "https://api.acme.example:6443",
        "lifecycle": "Active",
        "labels": {"team": "team-rockets"},
        "health": "Unreachable",
        "check": "apiserver",
        "reason": "ConnectTimeout",
        "stage": "connect",
        "message": EVIL,
        "since": NOW,
        "last_known": None,
        "last_success_at": None,
        "age_s": 3.0,
        "flapping": False,
        "pending": False,
        "pause": None,
    }
    return schemas.Cluster.model_validate(values)


def transition() -> schemas.Transition:
    values: dict[str, Any] = {
        "id": 7,
        "at": NOW,
        "since": NOW,
        "cluster_id": CLUSTER_ID,
        "cluster_name": "acme-prod",
        "check": "apiserver",
        "from_health": "Healthy",
        "to_health": "Unreachable",
        "reason": "ConnectTimeout",
        "stage": "connect",
        "message": EVIL,
        "evidence": {"address": "10.20.30.40", "said": EVIL},
        "flapping": False,
        "collapsed": 0,
    }
    return schemas.Transition.model_validate(values)


METRICS = (
    'muster_cluster_health{cluster="acme-prod",cluster_id="'
    + CLUSTER_ID
    + '",health="Unreachable",source="static"} 1\n'
    'muster_cluster_health{cluster="with \\"quotes\\" acme-prod",health="Healthy"} 1\n'
    'muster_lane_busy{lane="live"} 3\n'
)


def collected(**more: Any) -> Collected:
    return Collected(
        release="0.1.0",
        created_at="2026-01-01T00:00:00+00:00",
        settings=[
            {"key": "interval_s", "value": 30.0, "source": "default", "place": ""},
            {"key": "contexts", "value": ["acme-prod"], "source": "file", "place": "/etc/acme/muster.toml:3"},
            {
                "key": "database_url",
                "value": "postgresql://m:***@api.acme.example/m",
                "source": "variable",
                "place": "",
            },
            {"key": "log_level", "value": "info", "source": "default", "place": ""},
        ],
        findings=[problem("dns", EVIL, "see /etc/acme")],
        migrations=[{"package": "store", "name": "0001_leadership"}],
        fleet=None,
        clusters=[cluster()],
        transitions=[transition()],
        metrics=METRICS,
        missing=(f"fleet: {EVIL}",),
        secrets=frozenset({PASSWORD}),
        **more,
    )


def fleet() -> schemas.Fleet:
    lane = {"slots": 64, "busy": 0, "waiting": 0, "lateness_p99_s": None}
    values: dict[str, Any] = {
        "generation": 1,
        "now": NOW,
        "version": "0.1.0",
        "role": "leading",
        "started_at": NOW,
        "total": 1,
        "counts": {"Unreachable": 1},
        "reasons": {"ConnectTimeout": 1},
        "flapping": 0,
        "oldest_fact_age_s": 1.0,
        "store": {"degraded_since": None},
        "guard": {"holding": False, "since": None, "why": EVIL},
        "source_problems": [
            {"source": "s", "where": "/etc/acme/x", "message": EVIL, "remedy": "r", "entry": "acme-prod"}
        ],
        "source_problems_total": 1,
        "lanes": {"live": lane, "dead": lane},
    }
    return schemas.Fleet.model_validate(values)


def whole(made: dict[str, bytes]) -> str:
    return b"\n".join(made.values()).decode()


def with_fleet() -> Collected:
    from dataclasses import replace  # noqa: PLC0415

    return replace(collected(), fleet=fleet())


def test_no_name_and_no_secret_is_in_a_bundle() -> None:
    made = documents(with_fleet(), Pseudonyms(b"k" * 32, [*NAMES]))
    text = whole(made)
    assert [found for found in (*SECRETS, *NAMES) if found in text] == []
    assert set(made) == {
        "about.json",
        "clusters.jsonl",
        "doctor.json",
        "fleet.json",
        "metrics.txt",
        "schema.json",
        "settings.json",
        "transitions.jsonl",
    }


def test_what_helps_is_in_it() -> None:
    made = documents(with_fleet(), Pseudonyms(b"k" * 32, []))
    row = json.loads(made["clusters.jsonl"])
    assert (row["id"], row["health"], row["reason"]) == (CLUSTER_ID, "Unreachable", "ConnectTimeout")
    assert json.loads(made["transitions.jsonl"])["to_health"] == "Unreachable"
    assert json.loads(made["fleet.json"])["counts"] == {"Unreachable": 1}
    settings = {row["key"]: row["value"] for row in json.loads(made["settings.json"])}
    assert settings == {"interval_s": 30.0, "contexts": "1 of them", "database_url": "set", "log_level": "info"}
    assert b'muster_lane_busy{lane="live"} 3' in made["metrics.txt"]
    assert CLUSTER_ID.encode() in made["metrics.txt"]


def test_a_cluster_has_one_pseudonym_in_a_bundle_and_another_in_the_next() -> None:
    made, next_one = (documents(with_fleet(), Pseudonyms(key * 32, [])) for key in (b"a", b"b"))
    name = json.loads(made["clusters.jsonl"])["name"]
    assert f'cluster="{name}"'.encode() in made["metrics.txt"]
    assert json.loads(next_one["clusters.jsonl"])["name"] != name


def test_with_names_there_is_still_no_secret() -> None:
    text = whole(documents(with_fleet(), None))
    assert "acme-prod" in text
    assert [secret for secret in SECRETS if secret in text] == []


def test_free_text_keeps_what_names_nobody() -> None:
    text = Pseudonyms(b"k" * 32, ["edge-1"]).text(
        "edge-1: db.acme.example 10.1.2.3 fd00::1 127.0.0.1:8645 at 12:30:05, PostgreSQL 18.1, /home/me/x.yaml"
    )
    assert text.endswith("127.0.0.1:8645 at 12:30:05, PostgreSQL 18.1, /home/…")
    assert not any(name in text for name in ("edge-1", "acme", "10.1.2.3", "fd00", "/me/"))


@pytest.mark.parametrize(
    "secret", [TOKEN, JWT, KEY, "https://u:p4ss@h", "password=p4ss", "Authorization: Basic cDRzc3dvcmQ="]
)
def test_the_last_gate_finds_what_looks_like_a_secret(secret: str) -> None:
    cleaned = without_secrets(f"before {secret} after")
    assert cleaned.startswith("before ")
    assert not any(part in cleaned for part in (TOKEN, JWT, "MHcCanary", "p4ss", "cDRzc3dvcmQ"))


def test_a_huge_document_is_cut_and_says_so() -> None:
    from dataclasses import replace  # noqa: PLC0415

    made = documents(replace(collected(), metrics="x" * (MAX_DOCUMENT_BYTES + 100)), None)
    assert len(made["metrics.txt"]) < MAX_DOCUMENT_BYTES + 100
    assert made["metrics.txt"].endswith(b"bytes in all]\n")


def test_the_file_is_for_its_owner_and_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    size_bytes = write_bundle(path, {"about.json": b"{}"}, 0.0)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size == size_bytes
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["b/about.json"]
    with pytest.raises(FileExistsError):
        write_bundle(path, {}, 0.0)
    assert list(tmp_path.iterdir()) == [path]
