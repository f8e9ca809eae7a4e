"""What of new settings is taken up while the service runs, and what has to wait for a restart: a pure decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from muster.config.fields import Settings

_DATABASE = "the pool, the lock that makes a leader, and the embedded server all hang on it"
_SOURCES = "what a source has found belongs to it; one that is gone must not take its clusters along by mistake"
_PROBES = "the probes of pairs are made with it"
_ENDPOINT = "connections, an enrolment under way and what was learned of new roots hang on it"
_RHYTHM = "every target's phase, allowance and lane is counted from it"

NEEDS_RESTART: Mapping[str, str] = MappingProxyType(
    {
        "database_url": _DATABASE,
        "database_url_file": _DATABASE,
        "data_dir": _DATABASE,
        "listen": "the socket is open, and callers are told to use it",
        "agent_listen": "the socket is open, and agents are told to use it",
        "behind_proxy": "it decides who is believed about where a call comes from",
        "session_s": "sessions that were granted keep their end",
        "kubeconfig": _SOURCES,
        "contexts": _SOURCES,
        "static": _SOURCES,
        "in_cluster": _SOURCES,
        "interval_s": _RHYTHM,
        "timeout_s": _RHYTHM,
        "backoff_max_s": _RHYTHM,
        "read_every": _RHYTHM,
        "pair_interval_s": _RHYTHM,
        "pair_timeout_s": _RHYTHM,
        "resource_interval_s": _RHYTHM,
        "identity_interval_s": _RHYTHM,
        "direct_owners": _PROBES,
        "direct_endpoints": _PROBES,
        "stork_status_paths": _PROBES,
        "velero_period_s": _PROBES,
        "stork_period_s": _PROBES,
        "log_format": "whoever reads the log would meet two formats in one stream",
        "telemetry_ca_file": _ENDPOINT,
        "telemetry_proxy": _ENDPOINT,
        "otlp_endpoint": "the exporter is bound to it",
        "telemetry_secret": "the key that is in use lies where it was put",
    }
)
"""Why. Files that kubeconfig, static and the like name are watched by themselves; this is about their names."""

AT_RUN_TIME = frozenset(
    {
        "agent_tls_certificate",
        "agent_tls_key",
        "agent_url",
        "backup_max_age_h",
        "hosts",
        "log_level",
        "reference_targets",
        "retention_days",
        "telemetry_ingest_url",
        "telemetry_organisation",
        "telemetry_register_url",
        "sync_interval_h",
        "tls_certificate",
        "tls_key",
    }
)
"""TLS files: other ones, or new content. To begin or to end with TLS is a matter of the open socket."""


@dataclass(frozen=True, slots=True)
class Change:
    """What to do about new settings."""

    settings: Settings
    """What is in effect from now on: the running ones with all that could be taken up."""
    applied: frozenset[str]
    waiting: frozenset[str]
    """Differ from what runs, and need a restart."""


def change(running: Settings, wanted: Settings) -> Change:
    """Decide. All or nothing of what can change is taken up, where a part of the whole would not go together."""
    differing = frozenset(key for key in Settings.model_fields if getattr(running, key) != getattr(wanted, key))
    possible = differing & AT_RUN_TIME
    if (running.tls_certificate is None) != (wanted.tls_certificate is None):
        possible -= {"tls_certificate", "tls_key"}
    mixed = running.model_copy(update={key: getattr(wanted, key) for key in possible})
    if any(mixed.contradictions()):
        return Change(running, frozenset(), differing)
    return Change(mixed, possible, differing - possible)
