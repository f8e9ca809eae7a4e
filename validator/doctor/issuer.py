"""The cluster's OpenID issuer: the clouds fetch its keys, so it has to be reachable from outside. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from validator.doctor.case import Case
from validator.doctor.facts import Unread
from validator.doctor.hosts import host_of
from validator.doctor.step import Step, bad, good, unseen
from validator.printable import printable
from validator.reasons import Reason

_INTERNAL = (".local", ".internal", ".cluster", ".svc", ".localhost", ".lan", ".home.arpa")
"""Ends of names that no public name server knows (RFC 6762, RFC 8375, ICANN's `.internal`, and Kubernetes' own)."""


def issuer_step(case: Case, fix: Sequence[str] = ()) -> Step:
    """Whether a cloud can fetch the keys, judged by the URL alone: nothing outside the cluster is asked.

    `fix`: commands of a managed service that has an issuer of its own.
    """
    issuer = case.cluster.issuer
    if isinstance(issuer, Unread):
        show = case.kubectl.run("get", "--raw", "/.well-known/openid-configuration")
        return unseen("issuer", f"not readable: {issuer.message}", show)
    why = _private(issuer)
    if why is None:
        return good("issuer", issuer)
    public = "# kube-apiserver: --service-account-issuer=https://PUBLIC_HOST, serving there what these two print:"
    shoot = "# Gardener: kubectl annotate shoot SHOOT authentication.gardener.cloud/issuer=managed"
    shown = tuple(case.kubectl.run("get", "--raw", path) for path in _PUBLISHED)
    mended = tuple(fix) or (shoot, public, *shown)
    return bad("issuer", Reason.ISSUER_UNREACHABLE, f"{printable(issuer)} {why}; no cloud can fetch its keys", mended)


_PUBLISHED = ("/.well-known/openid-configuration", "/openid/v1/jwks")


def _private(issuer: str) -> str | None:
    """Why it can't be reached from the internet, if the URL shows it."""
    host = host_of(issuer)
    if not issuer.startswith("https://") or not host:
        return "is no https URL"
    try:
        return None if ipaddress.ip_address(host).is_global else "is a private address"
    except ValueError:
        internal = "." not in host or host.endswith(_INTERNAL)
        return "is a name inside the cluster" if internal else None
