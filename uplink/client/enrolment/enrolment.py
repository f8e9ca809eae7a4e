"""What comes next with an identity, and what follows from what came back. Pure: `now` and dice are arguments.

The way: off -> the CA's roots -> asking (202: wait, the same request again) -> candidate -> probed -> active -> asking
anew at two thirds of the lifetime. Each step is a new document, written before the next begins; a crash repeats a step
and skips none. The `enroller` carries it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from uplink.client.enrolment.identity import Asking, Bond, Certified, Identity
from uplink.client.enrolment.issued import Checked, write_anchors
from uplink.client.enrolment.keys import Key, write_key

RENEW_AT: Final = 2 / 3
"""Of the lifetime."""
RENEW_SPREAD: Final = 1 / 12
"""Of the lifetime, later at most: of a thousand clients that were enrolled in one minute not all come back in one."""

BACKOFF_S: Final = 5.0
"""After the first failure; doubled with each."""
MAX_BACKOFF_S: Final = 3600.0
REFUSED_S: Final = 6 * 3600.0
"""After a renewal that was refused. The certificate may work on; somebody may have changed their mind."""
SPREAD: Final = 0.1
"""By which a 202's wait is made longer; RFC 7030 section 4.2.3 allows no shorter one."""

MAX_PROBES_REFUSED: Final = 5
"""Of a candidate, in a row: a vendor's ingest may hear of it a little later than its CA."""

FORCED_EVERY_S: Final = 24 * 3600.0
"""Between two renewals before their time: "re-enrol once" (G5)."""


class Do(StrEnum):
    """What is next."""

    PREPARE = "prepare"
    """Ask for the roots, then make a key and a CSR."""
    ASK = "ask"
    """Send the CSR."""
    PROBE = "probe"
    """Show the candidate to the ingest."""
    REST = "rest"
    """Until a moment."""
    STUCK = "stuck"
    """Somebody has to act."""


@dataclass(frozen=True, slots=True)
class Next:
    """`until` of a rest; `why` of what is stuck, or of the failure that the rest is for."""

    do: Do
    until: float = 0.0
    why: str = ""


class Word(StrEnum):
    """How far it is, for people."""

    OFF = "off"
    ENROLLING = "enrolling"
    ACTIVE = "active"
    DEGRADED = "degraded"
    """Works; the next certificate does not come."""
    HELD = "held"


NO_TOKEN: Final = "there is no activation token: switch telemetry on again with one from your vendor"  # noqa: S105 - a sentence
ENDED: Final = "the certificate has ended: switch telemetry on again with a new activation token"


def fresh(bond: Bond, token: str | None) -> Identity:
    """The first document of a consent."""
    return Identity(bond=bond, token=token)


def next_step(identity: Identity, now: float) -> Next:
    """What is to be done now."""
    if identity.held:
        return Next(Do.STUCK, why=identity.why)
    active = identity.active if identity.active is not None and identity.active.ends_at > now else None
    if identity.candidate is not None and identity.candidate.ends_at > now:
        return _when(identity, Do.PROBE, now)
    if identity.asking is not None and (active is not None or not identity.asking.renewal):
        return _when(identity, Do.ASK, now)
    if active is not None:
        return _when(identity, Do.PREPARE, now) if active.renew_at <= now else Next(Do.REST, active.renew_at)
    if identity.active is not None or identity.candidate is not None:
        return Next(Do.STUCK, why=ENDED)
    return Next(Do.STUCK, why=NO_TOKEN) if identity.token is None else _when(identity, Do.PREPARE, now)


def word(identity: Identity, now: float) -> Word:
    """How far it is."""
    works = identity.active is not None and identity.active.ends_at > now
    if next_step(identity, now).do is Do.STUCK:
        return Word.HELD
    if not works:
        return Word.ENROLLING
    return Word.DEGRADED if identity.failures else Word.ACTIVE


def _when(identity: Identity, do: Do, now: float) -> Next:
    return Next(do) if identity.not_before <= now else Next(Do.REST, identity.not_before, identity.why)


# -- what follows


def learned(identity: Identity, roots: tuple[x509.Certificate, ...], under: str) -> Identity:
    """New roots of the CA, beside those of before."""
    before = identity.learned if identity.learned_under == under else ()
    added = (each.public_bytes(Encoding.PEM).decode() for each in roots)
    return _with(identity, learned=tuple(dict.fromkeys((*added, *before)))[:8], learned_under=under)


def prepared(identity: Identity, key: Key, csr: x509.CertificateSigningRequest) -> Identity:
    """There is a key and a CSR; nobody has seen them yet."""
    generation = identity.generation + 1
    asking = Asking(
        generation=generation,
        key_pem=write_key(key),
        csr_pem=csr.public_bytes(Encoding.PEM).decode(),
        renewal=identity.active is not None,
    )
    return _with(identity, generation=generation, asking=asking, candidate=None, **_CLEAR)


def told_to_wait(identity: Identity, wait_s: float, now: float, dice: float) -> Identity:
    """202: the same again, not earlier."""
    why = "the other side has to approve it"
    return _with(identity, not_before=now + wait_s * (1 + SPREAD * dice), failures=0, why=why)


def signed(identity: Identity, checked: Checked, dice: float) -> Identity:
    """There is a certificate, and it is good: the token has done its work."""
    asking = identity.asking
    assert asking is not None
    lifetime = checked.ends_at - checked.begins_at
    candidate = Certified(
        generation=asking.generation,
        key_pem=asking.key_pem,
        chain_pem=write_anchors(checked.chain),
        begins_at=checked.begins_at,
        ends_at=checked.ends_at,
        renew_at=checked.begins_at + lifetime * (RENEW_AT + RENEW_SPREAD * dice),
    )
    return _with(identity, token=None, asking=None, candidate=candidate, **_CLEAR)


def promoted(identity: Identity) -> Identity:
    """The ingest has accepted the candidate."""
    return _with(identity, active=identity.candidate, candidate=None, **_CLEAR)


def failed(identity: Identity, why: str, now: float, dice: float, wait_s: float | None = None) -> Identity:
    """Again later: as the server asks, or after a half to the whole of a time that doubles."""
    backoff_s = min(MAX_BACKOFF_S, BACKOFF_S * 2.0 ** min(identity.failures, 30)) * (0.5 + 0.5 * dice)
    wait_s = backoff_s if wait_s is None else max(wait_s * (1 + SPREAD * dice), backoff_s)
    return _with(identity, failures=identity.failures + 1, not_before=now + wait_s, why=why)


def refused(identity: Identity, why: str, now: float, dice: float) -> Identity:
    """The CA has said no. A first enrolment ends here, and its token with it; a renewal tries again much later."""
    if identity.active is None:
        return _with(identity, token=None, asking=None, held=True, why=f"{why}. {NEW_TOKEN}")
    return _with(failed(identity, why, now, dice, REFUSED_S), asking=None)


NEW_TOKEN: Final = "Switch telemetry on again with a new activation token"  # noqa: S105 - a sentence


def candidate_refused(identity: Identity, why: str, now: float, dice: float) -> Identity:
    """The ingest does not accept the candidate. It is shown a few times more, then given up."""
    again = failed(identity, why, now, dice)
    if again.failures < MAX_PROBES_REFUSED:
        return again
    if identity.active is None:
        return _with(again, candidate=None, held=True, why=f"{why}, {MAX_PROBES_REFUSED} times. {NEW_TOKEN}")
    return _with(again, candidate=None, not_before=now + REFUSED_S)


def doubted(identity: Identity, generation: int, now: float) -> Identity:
    """The ingest does not accept the active certificate any more: renew it now, but not twice in a day."""
    active = identity.active
    if active is None or active.generation != generation or identity.asking or identity.candidate:
        return identity
    if identity.forced_at is not None and 0 <= now - identity.forced_at < FORCED_EVERY_S:
        return identity
    return _with(identity, active=_with_renewal(active, now), forced_at=now, not_before=0.0)


_CLEAR = {"failures": 0, "not_before": 0.0, "why": ""}


def _with_renewal(active: Certified, now: float) -> Certified:
    return active.model_copy(update={"renew_at": min(active.renew_at, now)})


def _with(identity: Identity, **changes: object) -> Identity:
    return identity.model_copy(update=changes)
