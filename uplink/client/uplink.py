"""The uplink of one instance, put together: enrolment, spool, gate, sender and off, and the tasks that they are.

What needs no database is there from the start, so that off destroys the key even while there is none. Nothing here
opens a connection to the endpoint before somebody has consented and the database has said so (`gate.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from uuid import UUID

import structlog

from store.errors import StoreError
from store.pool import Database
from uplink.client.consent.consent import Found, Impossible, Standing
from uplink.client.consent.dictionary import Dictionary
from uplink.client.consent.record import Given, Withdrawn
from uplink.client.consent.streams import Stream
from uplink.client.encoding.batch import Batch
from uplink.client.encoding.facts import FactSource
from uplink.client.encoding.halve import allowed
from uplink.client.enrolment.anchors import Anchors
from uplink.client.enrolment.enroller import Enroller
from uplink.client.enrolment.enrolment import Word
from uplink.client.enrolment.est import EstRegistrar
from uplink.client.enrolment.identity import Bond
from uplink.client.enrolment.prober import IngestProber
from uplink.client.enrolment.vault import Vault
from uplink.client.network.line import IngestLine
from uplink.client.network.proxy import Proxies
from uplink.client.network.transport import Transport
from uplink.client.network.unreached import Unreached
from uplink.client.spooling.copies import Copies
from uplink.client.spooling.epochs import Epochs, Overtaken
from uplink.client.spooling.export import Exporter, Signer
from uplink.client.spooling.export_key import ExportKey
from uplink.client.spooling.filler import Filler
from uplink.client.spooling.gate import Gate
from uplink.client.spooling.off import Off
from uplink.client.spooling.sender import Sender
from uplink.client.spooling.spool import Spool, SpoolClosed
from uplink.client.telemetry import LinkState
from uplink.wire.errors import WireError
from validator.clock import Clock
from validator.file_thread import FileThread

_log = structlog.get_logger(__name__)

ASK_S = 0.5
"""For the database's word on an epoch, which somebody waits for."""

WORK_S = 30.0

TOLD_S = 0.3
"""For the database to hear of a consent while somebody waits."""

OPEN_AGAIN_S = 0.2
"""Between two attempts to tell it."""

BEGIN_AGAIN_S = 15.0
"""Between two looks for an identity where there was none, or where it could not be read."""

GATHER_AGAIN_S = 10.0
"""Between two batches that were made because somebody wanted to see the next one."""

FORGOTTEN = frozenset({200, 202, 204})


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is set once, when the process begins."""

    directory: Path
    """Of 0700, with all that telemetry keeps in files: whoever removes it has removed it all."""
    identity: Vault
    export_key: Vault
    anchors: Anchors
    proxies: Proxies
    host: Callable[[], str | None]
    """UID of the cluster that Muster runs in, as this process has read it; empty where it runs in none, or can't tell;
    None: it is being read, and nothing is sent before: files and database may be restored ones of another cluster."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What needs the database."""

    epochs: Epochs
    spool: Spool
    gate: Gate
    off: Off
    sender: Sender
    filler: Filler
    exporter: Exporter


class Uplink:
    """See `Link`. Two tasks: `run` on every instance, `lead` while it leads."""

    def __init__(
        self, facts: FactSource, clock: Clock, service_version: str, dictionary: Dictionary, setup: Setup
    ) -> None:
        self._facts = facts
        self._clock = clock
        self._version = service_version
        self._dictionary = dictionary
        self._setup = setup
        self._transport = Transport(self._may_send, setup.proxies)
        self._enroller = Enroller(
            setup.identity, setup.anchors.pem, clock, retire=self._transport.retire, promoted=self._promoted
        )
        self._export_key = ExportKey(setup.export_key)
        self._reading = FileThread("uplink-head")
        self._kept: _Kept | None = None
        self._opening: Standing | None = None
        """Was given here, and the database does not know it yet."""
        self._token: str | None = None
        """Until enrolment has begun with it: a vault that can't be written for a moment must not cost it."""
        self._asked_to_open = asyncio.Event()
        self._opened_here: UUID | None = None
        """A consent that the database has known already: fewer streams of it must find it there."""
        self._overtaken = False
        self._bond: Bond | None = None
        self._begin_again_at = 0.0
        self._gather_again_at = 0.0
        self._registrar: EstRegistrar | None = None
        self._leading = False

    # -- the tasks

    def open(self, db: Database) -> None:
        """There is a database: of its own, since a pool that others keep busy for half a second shuts the gate."""
        epochs, spool = Epochs(db), Spool(db)
        gate = Gate(epochs, self._transport.abort, self._note_overtaken)
        copies = Copies(self._setup.directory / "sent")
        sender = Sender(
            spool, gate, self._line, self._dictionary, self._clock, copies, refused=self._enroller.not_accepted
        )
        filler = Filler(self._facts, spool, gate, self._dictionary, self._clock, self._version, added=sender.wake)

        async def fill(standing: Standing) -> int:
            return await filler.fill(standing, now_all=True)

        exporter = Exporter(spool, epochs, self._dictionary, self._clock, self._setup.directory, self._signer, fill)
        self._kept = _Kept(epochs, spool, gate, Off(epochs, gate, self._destroy), sender, filler, exporter)

    async def run(self, found: Found) -> None:
        kept = self._opened()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(kept.off.run(), name="uplink-off")
                tasks.create_task(self._open_what_is_given(kept), name="uplink-consent")
                await kept.off.resume(found)
                tasks.create_task(kept.gate.run(), name="uplink-gate")
        finally:
            kept.off.silence()

    async def lead(self) -> None:
        kept = self._opened()
        self._leading = True
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._enroller.run(), name="uplink-enroller")
                tasks.create_task(kept.filler.run(), name="uplink-filler")
                tasks.create_task(kept.sender.run(), name="uplink-sender")
        finally:
            self._leading = False
            self._transport.abort()

    async def close(self) -> None:
        await self._transport.close()

    # -- decisions

    async def began(self, standing: Standing, activation_token: str | None) -> None:
        if (given := standing.given) is None:
            return  # forbidden meanwhile
        self._opening = standing
        self._token = activation_token or self._token
        await self._enrol(given)
        self._asked_to_open.set()
        with suppress(TimeoutError):  # it goes on without us: whoever switches off must not have to wait for a database
            async with asyncio.timeout(TOLD_S):
                while self._opening is standing and not self._unsettled:  # noqa: ASYNC110 - it takes milliseconds
                    await asyncio.sleep(0.01)

    async def heed(self, standing: Standing) -> None:
        if (kept := self._kept) is None:
            return
        if (given := standing.given) is None:
            self._opening = None
            if kept.gate.given is not None and standing.nobody:  # somebody has removed the file: that is an off
                await self.ended()
            elif kept.gate.given is not None:
                kept.off.silence()
            if self._bond is not None and isinstance(standing.record, Withdrawn):
                await self._bury()
            return
        if self._opening is None and kept.gate.standing != standing:
            self._opened_here = given.consent_id
            kept.gate.admit(standing)
        await self._enrol(given)

    def overtaken(self) -> bool:
        said, self._overtaken = self._overtaken, False
        return said

    def silence(self) -> None:
        self._opening = None
        if self._kept is not None:
            self._kept.off.silence()

    async def ended(self) -> None:
        self._opening, self._bond, self._token, self._opened_here = None, None, None, None
        self._overtaken = False  # what is decided here now is later still
        if self._kept is not None:
            await self._kept.off.ended()
        else:
            await self._bury()

    async def known_epoch(self) -> int:
        if self._setup.anchors.why:
            raise Impossible(self._setup.anchors.why)
        if self._kept is None:
            raise Impossible("the database is not open yet, and it has to know of a consent. Try again in a moment")
        try:
            return (await self._kept.epochs.read(ASK_S)).epoch
        except StoreError as error:
            raise Impossible(f"the database has to know of a consent, and does not answer: {error}") from None

    async def forget(self) -> None:
        if self._kept is None or self._kept.gate.given is None:
            raise Impossible("telemetry is off: there is no certificate to ask with. Ask your vendor")
        try:
            status = await self._kept.sender.forget()
        except Unreached as error:
            raise Impossible(f"nothing was deleted and nothing has changed: {error}") from None
        if status not in FORGOTTEN:
            raise Impossible(f"nothing was deleted and nothing has changed: the receiver answers {status}")

    # -- looking

    @property
    def unfinished(self) -> bool:
        """Whether an off still has something to do: the database is away, or a key can't be removed."""
        return self._kept is not None and self._kept.off.unfinished

    def state(self) -> LinkState:
        kept = self._kept
        if kept is None or (given := kept.gate.given) is None:
            if self._opening is not None:
                return LinkState("silent", "the database has to know of the consent first, and does not answer")
            return LinkState("off", "" if kept is None else kept.off.left)
        sending, enrolment = kept.sender.state, self._enroller.state()
        word, detail, at = sending.word, sending.detail, sending.next_attempt_at
        if not kept.gate.is_open():
            word, detail = "silent", kept.gate.why
        elif given.endpoints is None:
            known = self._export_key.fingerprint
            word, detail = "export", f"its key has the SHA-256 {known}" if known else "no endpoint is set"
        elif self._setup.anchors.why:
            word, detail = "held", self._setup.anchors.why
        elif not self._leading:
            word, detail = "standby", "only the instance that leads sends"
        elif self._setup.host() is None:
            word, detail = "enrolling", "the UID of this cluster is read first: an identity of another is never used"
        elif self._enroller.trust() is None:
            word, detail, at = enrolment.word.value, enrolment.detail, enrolment.next_attempt_at
            word = "held" if enrolment.word is Word.OFF else word
        elif not detail:
            detail = enrolment.detail
        backlog = sending.backlog
        return LinkState(
            word,
            detail,
            waiting_batches=backlog.batches,
            waiting_bytes=backlog.bytes,
            last_success_at=sending.last_success_at,
            next_attempt_at=at,
            certificate_expires_at=enrolment.expires_at,
            clock_skew_s=self._skew_s() if sending.clock_skew_s is None else sending.clock_skew_s,
        )

    async def head(self, stream: Stream) -> Batch | None:
        kept = self._opened()
        if (standing := kept.gate.standing) is None or (given := standing.given) is None:
            raise Impossible(f"nothing can be shown: {kept.gate.why}")
        try:
            waiting = await kept.spool.next(given, [stream])
            if waiting is None and self._may_gather_again():
                await kept.filler.fill(standing, now_all=True)
                waiting = await kept.spool.next(given, [stream])
            if waiting is None:
                return None
            batch = waiting.batch
            return await self._reading.run(lambda: allowed(batch, given, self._dictionary), WORK_S)
        except (StoreError, SpoolClosed, TimeoutError, WireError) as error:
            raise Impossible(f"what waits can't be read now: {error or 'the consent has changed'}") from None

    def export(self, standing: Standing) -> AsyncIterator[bytes]:
        return self._opened().exporter.export(standing)

    # -- how

    def _opened(self) -> _Kept:
        if self._kept is None:
            raise Impossible("the database is not open yet. Try again in a moment")
        return self._kept

    def _may_gather_again(self) -> bool:
        """Whoever may look can have a batch made, and so sent; but not as many as they like."""
        now = asyncio.get_running_loop().time()
        if due := now >= self._gather_again_at:
            self._gather_again_at = now + GATHER_AGAIN_S
        return due

    def _may_send(self) -> bool:
        """With an identity that is bound to this very cluster: `heed` binds it anew within a second."""
        bond, kept = self._bond, self._kept
        return kept is not None and kept.gate.is_open() and bond is not None and bond.host == self._setup.host()

    def _skew_s(self) -> float | None:
        return None if self._registrar is None else self._registrar.skew_s

    def _promoted(self) -> None:
        if self._kept is not None:
            self._kept.sender.try_again()

    def _line(self) -> IngestLine | None:
        given = None if self._kept is None else self._kept.gate.given
        trust = self._enroller.trust()
        if given is None or given.endpoints is None or trust is None:
            return None
        return IngestLine(trust.generation, self._transport, given.endpoints.ingest_url, trust)

    @property
    def _unsettled(self) -> bool:
        """Whether an off has something to do that a consent has to wait for: it would be undone by it."""
        return self._kept is None or self._kept.off.unfinished

    async def _open_what_is_given(self, kept: _Kept) -> NoReturn:
        """Have the database know what was given here, as soon as it answers; then the gate opens with its word.

        A task of its own, since a database that hangs must hang nobody who decides.
        """
        while True:
            await self._asked_to_open.wait()
            self._asked_to_open.clear()
            told = False
            while (standing := self._opening) is not None:
                if not self._unsettled:
                    told = await self._open_given(kept, standing, told=told)
                await asyncio.sleep(OPEN_AGAIN_S)

    async def _open_given(self, kept: _Kept, standing: Standing, *, told: bool) -> bool:
        """Once. Gives whether the log has been told that it does not work."""
        given = standing.given
        assert given is not None, "nothing else is opened"
        overtaken = False
        try:
            await kept.epochs.open(given, known=self._opened_here == given.consent_id)
        except Overtaken:
            overtaken = True
        except StoreError as error:
            if not told:
                _log.warning("nothing is sent before the database knows of the consent", error=str(error))
            return True
        if self._opening is standing:  # else it was switched off meanwhile
            self._opening = None
            self._overtaken = self._overtaken or overtaken
            if not overtaken:
                self._opened_here = given.consent_id
                kept.gate.admit(standing)
        return False

    def _note_overtaken(self, epoch: int) -> None:
        _log.warning("telemetry is off here: somebody has decided later on another instance", epoch=epoch)
        self._overtaken = True

    async def _enrol(self, given: Given) -> None:
        """Begin, once for each bond. Without network; again after a while where there is no identity to go on with.

        Not before the off of the consent before is done: it would destroy the new identity with the old.
        """
        host = self._setup.host()
        if given.endpoints is None or host is None or self._setup.anchors.why or self._unsettled:
            return
        bond = Bond(
            consent_id=given.consent_id,
            installation_id=given.installation_id,
            organisation=given.organisation,
            register_url=given.endpoints.register_url,
            host=host,
        )
        now = asyncio.get_running_loop().time()
        known = self._bond
        begun = known is not None and known.same(bond) and bool(known.host or not bond.host)
        if begun and (self._enroller.begun or now < self._begin_again_at):
            return
        self._bond, self._begin_again_at = bond, now + BEGIN_AGAIN_S
        self._registrar = registrar = EstRegistrar(self._transport, bond.register_url, self._clock)
        prober = IngestProber(self._transport, given.endpoints.ingest_url)
        if not await self._enroller.begin(bond, self._token, registrar, prober):
            _log.warning("the identity that was here is of another consent, organisation or cluster, and is destroyed")
        if self._enroller.begun:
            self._token = None

    async def _signer(self) -> Signer:
        return await self._export_key.signer(self._enroller.trust())

    async def _bury(self) -> None:
        """What can't be removed now is at the next start: the record says off."""
        try:
            await self._destroy()
            self._bond = None
        except OSError as error:
            _log.error("telemetry is off, and its key could not be removed", error=str(error))

    async def _destroy(self) -> None:
        """Both at once, and both whatever becomes of the other. Raises `OSError`."""
        ended = await asyncio.gather(self._enroller.destroy(), self._export_key.destroy(), return_exceptions=True)
        for error in ended:
            if error is not None:
                raise error
