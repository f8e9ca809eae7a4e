"""Why a question got no usable answer: the one error type of the wire, with stage and reason.

What passes through unmapped: `CancelledError`, and programming errors, which the engine turns into ProbeDefect.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field

from validator.model import NO_EVIDENCE, Evidence
from validator.reasons import REASONS, Reason, Stage


@dataclass(slots=True)
class ProbeFailure(Exception):  # noqa: N818 - "failure" is the word of the domain: an error would be ours
    """One question failed at one stage."""

    reason: Reason
    message: str
    stage_: Stage | None = None
    """Where it happened, if not at the stage of the reason's row."""
    evidence: Evidence = field(default_factory=lambda: NO_EVIDENCE)
    unanswered: bool = False
    """True where nothing answered in time or at all: such a target belongs to the dead lane."""
    retry_after_s: float | None = None
    """What the server asked for with 429 or 503."""

    @property
    def stage(self) -> Stage:
        """The failing stage."""
        return self.stage_ or REASONS[self.reason].stage

    def __str__(self) -> str:
        return f"{self.reason} at {self.stage}: {self.message}"


_OURS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}
"""Out of descriptors, local ports or memory: the hub's trouble, never a statement about the cluster."""

_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EACCES, errno.EPERM}
"""No way there; EACCES/EPERM are a local firewall's answer to connect(2)."""


def connect_failure(error: OSError, where: str) -> ProbeFailure:
    """A failed connect(2), told apart by errno."""
    text = (error.strerror or str(error))[:200]
    if error.errno in _OURS:
        return ProbeFailure(Reason.HUB_OUT_OF_DESCRIPTORS, f"cannot open a socket to {where}: {text}")
    if error.errno in _NO_ROUTE:
        return ProbeFailure(Reason.NETWORK_UNREACHABLE, f"{where}: {text}", unanswered=True)
    if error.errno == errno.ETIMEDOUT:
        return ProbeFailure(Reason.CONNECT_TIMEOUT, f"{where}: {text}", unanswered=True)
    if error.errno == errno.ECONNREFUSED:
        return ProbeFailure(Reason.CONNECTION_REFUSED, f"{where} refuses the connection", unanswered=True)
    return ProbeFailure(Reason.CONNECTION_CLOSED, f"{where}: {text}", stage_=Stage.CONNECT, unanswered=True)
