"""Settings of the `apiserver` probe, with units and reasons."""

from __future__ import annotations

from dataclasses import dataclass

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class ApiServerSettings:
    """How an API server is asked."""

    timeout_s: float = 10.0
    """For the whole ask, from slot to answer (DESIGN, "The engine")."""
    read_timeout_s: float = 5.0
    """For the namespace read within it. A real server with a frozen etcd hangs for over 15 s there (transcripts), while
    a healthy one answers in milliseconds."""
    reuse_timeout_s: float = 4.0
    """On a kept connection the answer is waited for this long; then the connection is taken for dead (a NAT or firewall
    that forgot it) and the question is asked again on a fresh one, within the same timeout."""
    read_every: int = 4
    """Every so many asks also read one namespace: `/readyz` alone can be stale green. 4 x 30 s = two minutes."""
    renew_after_s: float = 300.0
    """Oldest a kept connection may get: so changes of DNS, certificate and routes are seen."""
    slow_after_s: float = 3.0
    """An answer that takes longer is a finding: client-go's default timeouts of webhooks and leases start at 5-10 s."""
    expiring_within_s: float = 14 * DAY_S
    """A certificate with less left than this is a finding."""
    skew_limit_s: float = 60.0
    """More clock skew than this is a finding: service-account tokens are refused from about a minute on."""
