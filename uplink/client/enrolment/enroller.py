"""Carries enrolment out: asks `enrolment` what is next, does it, writes what follows, and only then goes on.

One task, `run`. It does nothing before `begin` and nothing after `destroy`, and may be cancelled at any await: what it
had not written yet it does again. What a request brings after the consent has ended is thrown away.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, NoReturn

import structlog
from cryptography import x509

from uplink.client.enrolment.enrolment import (
    NO_TOKEN,
    Do,
    Word,
    candidate_refused,
    doubted,
    failed,
    fresh,
    learned,
    next_step,
    prepared,
    promoted,
    refused,
    signed,
    told_to_wait,
    word,
)
from uplink.client.enrolment.identity import Bond, Certified, Identity, IdentityError, read_identity, write_identity
from uplink.client.enrolment.issued import BadCertificate, check, learn, read_anchors
from uplink.client.enrolment.keys import first_csr, new_key, read_key, renewal_csr
from uplink.client.enrolment.prober import Prober
from uplink.client.enrolment.registrar import Later, NotNow, Refused, Registrar
from uplink.client.enrolment.vault import Vault
from uplink.client.network.trust import Trust
from uplink.client.network.unreached import Silenced, Unreached
from uplink.wire.bounds import MAX_LIFETIME_DAYS
from uplink.wire.errors import WireError
from uplink.wire.private_file import PrivateFileError
from uplink.wire.verdicts import Act
from validator.clock import Clock

_log = structlog.get_logger(__name__)

LOOK_S: Final = 60.0
"""The longest sleep: clocks are set, and a moment in 4 days is looked at again."""
SILENT_S: Final = 0.25
"""Between two looks at whether something may be sent."""
DISK_S: Final = 15.0
"""Between two attempts where the vault can't be written."""

Step = Callable[["_Session"], Awaitable[Identity]]


@dataclass(frozen=True, slots=True)
class Enrolment:
    """How far it is, for people."""

    word: Word = Word.OFF
    detail: str = ""
    next_attempt_at: float | None = None
    expires_at: float | None = None
    """Of the certificate that is in use."""
    generation: int = 0


@dataclass(slots=True, eq=False)
class _Session:
    """From a `begin` to the next, or to `destroy`."""

    identity: Identity
    registrar: Registrar
    prober: Prober
    at: Identity | None = None
    """Of which `trust` was made."""
    trust: Trust | None = None


class _Over(Exception):  # noqa: N818 - what it is
    """The consent that this was for has ended."""


class Enroller:
    """Of one instance."""

    def __init__(
        self,
        vault: Vault,
        anchors_pem: str,
        clock: Clock,
        *,
        retire: Callable[[Trust], Awaitable[None]],
        promoted: Callable[[], None] = lambda: None,
        dice: Callable[[], float] = random.random,
        max_lifetime_days: int = MAX_LIFETIME_DAYS,
    ) -> None:
        """`retire` is the transport's; `promoted` is told that there is another certificate. `dice`: 0 to 1."""
        self._vault = vault
        self._anchors_pem = anchors_pem
        self._under = hashlib.sha256(anchors_pem.encode()).hexdigest()
        self._clock = clock
        self._retire = retire
        self._promoted = promoted
        self._dice = dice
        self._max_lifetime_days = max_lifetime_days
        self._session: _Session | None = None
        self._turn = 0
        self._trouble = ""
        self._woken = asyncio.Event()

    # -- what the link tells it

    async def begin(self, bond: Bond, token: str | None, registrar: Registrar, prober: Prober) -> bool:
        """There is a consent, new or from before. Without network. False: what was here was another's, and is gone.

        The token is written down until it has been used. Raises nothing: what is wrong with the vault is in `state`.
        """
        self._turn += 1
        turn, self._session = self._turn, None
        try:
            identity, ours = await self._found(bond, token)
        except PrivateFileError as error:
            self._trouble = str(error)
            return True
        if turn == self._turn:
            self._trouble = "" if identity is not None else self._trouble
            self._session = None if identity is None else _Session(identity, registrar, prober)
            self._woken.set()
        return ours

    async def destroy(self) -> None:
        """Forget key, certificate and token, here and in the vault. Without network. Raises `PrivateFileError`."""
        self._turn += 1
        self._session, self._trouble = None, ""
        self._woken.set()
        await self._vault.destroy()

    def not_accepted(self, generation: int) -> None:
        """The ingest does not accept this certificate: renew it before its time, once a day at most."""
        if (session := self._session) is not None:
            session.identity = doubted(session.identity, generation, self._clock.now())
            self._woken.set()  # written with the next step: lost in a crash, it is said again

    # -- what others ask

    @property
    def begun(self) -> bool:
        """Whether there is an identity to go on with, or to become one."""
        return self._session is not None

    def trust(self) -> Trust | None:
        """What data goes with; None while there is no certificate that works."""
        session = self._session
        if session is None or (active := session.identity.active) is None or active.ends_at <= self._clock.now():
            return None
        if session.at is not session.identity or session.trust is None:
            session.at, session.trust = session.identity, self._as(session.identity, active)
        return session.trust

    def state(self) -> Enrolment:
        """Now."""
        session, now = self._session, self._clock.now()
        if session is None:
            return Enrolment(Word.HELD, self._trouble) if self._trouble else Enrolment()
        identity = session.identity
        step, active = next_step(identity, now), identity.active
        return Enrolment(
            word(identity, now),
            self._trouble or step.why or identity.why,
            None if step.do is Do.STUCK else max(step.until, now),
            None if active is None else active.ends_at,
            0 if active is None else active.generation,
        )

    # -- the task

    async def run(self) -> NoReturn:
        """Until it is cancelled."""
        while True:
            self._woken.clear()
            session = self._session
            wait_s = None if session is None else await self._step(session)
            if wait_s != 0.0:
                await self._pause(wait_s)

    async def _step(self, session: _Session) -> float:
        """Do what is next; gives the seconds until the one after it."""
        now = self._clock.now()
        step = next_step(session.identity, now)
        if step.do is Do.REST:
            return min(max(step.until - now, 0.01), LOOK_S)
        if step.do is Do.STUCK:
            return LOOK_S
        try:
            await self._keep(session, await self._after(session, step.do))
        except (Silenced, _Over):
            return SILENT_S
        except PrivateFileError as error:
            if not self._trouble:
                _log.error("enrolment stands still: its identity can't be written", error=str(error))
            self._trouble = str(error)
            return DISK_S
        return 0.0

    async def _after(self, session: _Session, do: Do) -> Identity:
        """The document after this step, whatever comes of it. Raises `Silenced`."""
        steps: dict[Do, Step] = {Do.PREPARE: self._prepare, Do.ASK: self._ask, Do.PROBE: self._probe}
        try:
            return await steps[do](session)
        except Silenced:
            raise
        except Refused as error:
            after = refused(session.identity, str(error), self._clock.now(), self._dice())
        except NotNow as error:
            after = failed(session.identity, str(error), self._clock.now(), self._dice(), error.wait_s)
        except (Unreached, BadCertificate) as error:
            after = failed(session.identity, str(error), self._clock.now(), self._dice())
        if after.why != session.identity.why:
            _log.warning("enrolment does not get on", step=do.value, why=after.why, held=after.held)
        return after

    async def _prepare(self, session: _Session) -> Identity:
        identity = session.identity
        trust = self._as(identity)
        if offered := await session.registrar.roots(trust):
            roots = learn(_anchors(trust.anchors_pem), offered, self._clock.now())
            identity = learned(session.identity, roots, self._under)
        key, active = new_key(), identity.active
        if active is None:
            return prepared(identity, key, first_csr(key, identity.bond.installation_id))
        issued = x509.load_pem_x509_certificates(active.chain_pem.encode())[0]
        return prepared(identity, key, renewal_csr(key, issued))

    async def _ask(self, session: _Session) -> Identity:
        identity = session.identity
        asking, active = identity.asking, identity.active
        assert asking is not None
        csr, trust = x509.load_pem_x509_csr(asking.csr_pem.encode()), self._as(identity, active)
        if asking.renewal:
            answer = await session.registrar.renew(trust, csr)
        else:
            answer = await session.registrar.enrol(trust, identity.bond.organisation, identity.token or "", csr)
        now, identity = self._clock.now(), session.identity
        if isinstance(answer, Later):
            return told_to_wait(identity, answer.wait_s, now, self._dice())
        checked = check(
            answer.certificates,
            read_key(asking.key_pem),
            identity.bond.installation_id,
            _anchors(trust.anchors_pem),
            now,
            self._max_lifetime_days,
        )
        return signed(identity, checked, self._dice())

    async def _probe(self, session: _Session) -> Identity:
        act, said = await session.prober.probe(self._as(session.identity, session.identity.candidate))
        if act is Act.DONE:
            return promoted(session.identity)
        if act is Act.REENROL:
            return candidate_refused(session.identity, said, self._clock.now(), self._dice())
        raise NotNow(said)

    async def _keep(self, session: _Session, after: Identity) -> None:
        """Write it, then believe it. Raises `_Over`, `PrivateFileError`."""
        if session is not self._session:
            raise _Over
        await self._vault.write(write_identity(after))
        if session is not self._session:
            raise _Over  # destroyed meanwhile, and after this was written: the vault keeps to the order
        before, old = session.identity.active, self.trust()
        session.identity, self._trouble = after, ""
        if after.active is not None and (before is None or before.generation != after.active.generation):
            _log.info("telemetry has a certificate", generation=after.active.generation)
            self._promoted()
            if old is not None:
                await self._retire(old)

    async def _found(self, bond: Bond, token: str | None) -> tuple[Identity | None, bool]:
        """What to go on with, and whether it is what was here. Raises `PrivateFileError`."""
        raw, before, ours = await self._vault.read(), None, True
        try:
            before = None if raw is None else read_identity(raw)
        except IdentityError as error:
            self._trouble = f"{self._vault.place} does not count: {error}. {NO_TOKEN}"
        if before is not None and not before.bond.same(bond):
            ours, before = False, None
            await self._vault.destroy()
        if before is not None and (token is None or self._works(before)):
            if bond.host and not before.bond.host:  # it could not be read when this identity was made
                before = before.model_copy(update={"bond": bond})
                with suppress(PrivateFileError):  # then at the next start
                    await self._vault.write(write_identity(before))
            return before, ours
        if token is None:
            self._trouble = self._trouble or NO_TOKEN
            return None, ours
        identity = fresh(bond, token)
        if before is not None:
            identity = identity.model_copy(update={"generation": before.generation})
        await self._vault.write(write_identity(identity))
        return identity, ours

    def _works(self, identity: Identity) -> bool:
        """Whether a new token would be of no use to it."""
        return next_step(identity, self._clock.now()).do is not Do.STUCK and identity.active is not None

    def _as(self, identity: Identity, certified: Certified | None = None) -> Trust:
        roots = identity.learned if identity.learned_under == self._under else ()
        trust = Trust(self._anchors_pem + "\n" + "".join(roots) if roots else self._anchors_pem)
        if certified is None:
            return trust
        return replace(trust, generation=certified.generation, chain_pem=certified.chain_pem, key_pem=certified.key_pem)

    async def _pause(self, wait_s: float | None) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._woken.wait()
        except TimeoutError:
            pass


def _anchors(pem: str) -> tuple[x509.Certificate, ...]:
    try:
        return read_anchors(pem)
    except WireError as error:
        raise NotNow(str(error)) from error
