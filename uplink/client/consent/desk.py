"""The consent of one host, in its files: `consent.json` is the authority, `audit.jsonl` says how it came to be.

On: the audit log first, then the record. Off: the record first. So a power cut at any point leaves a decision that was
not carried out, and never one that nobody has written down and that sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from uplink.client.consent.audit import AuditLog
from uplink.client.consent.chain import Checked, Head
from uplink.client.consent.consent import (
    NOBODY,
    Absent,
    Found,
    Impossible,
    Offer,
    Standing,
    Wanted,
    Who,
    decide,
    give,
    narrowed,
    withdraw,
)
from uplink.client.consent.record import (
    MAX_RECORD_BYTES,
    Given,
    Record,
    RecordError,
    Withdrawn,
    read_record,
    shown,
    write_record,
)
from uplink.client.consent.streams import Stream
from uplink.wire.private_file import PrivateFileError, read_private, write_private


@dataclass(frozen=True, slots=True)
class Done:
    """What a decision has led to."""

    record: Record
    head: Head | None
    """Of the audit log; None where nothing has changed, or it could not be written, as `trouble` says: only off goes on
    without it."""
    trouble: str = ""


class Desk:
    """Reads and writes the consent. Synchronous: its owner runs it on a thread of its own."""

    def __init__(self, directory: Path, offer: Callable[[], Offer], environ: Mapping[str, str]) -> None:
        """`offer` is asked each time: settings may change under a running service."""
        self.place = directory / "consent.json"
        self.audit = AuditLog(directory)
        self._offer = offer
        self._environ = environ

    @property
    def offer(self) -> Offer:
        """What a consent would be about now."""
        return self._offer()

    def standing(self) -> Standing:
        """What may be done now, from the file as it is now. Raises nothing."""
        return decide(self.found(), self._offer(), self._environ)

    def found(self) -> Found:
        """The record; or why there is none that counts."""
        try:
            raw = read_private(self.place, MAX_RECORD_BYTES)
            return NOBODY if raw is None else read_record(raw)
        except PrivateFileError as error:
            return Absent(str(error))
        except RecordError as error:
            return Absent(f"{self.place} does not count: {error}. Consent again")

    def check(self, wanted: Wanted, who: Who, now: float) -> None:
        """Whether a consent would be possible. Raises `Impossible`."""
        give(wanted, self._offer(), self._environ, who, 1, now)

    def give(self, wanted: Wanted, who: Who, now: float, *, above: int = 0) -> Done:
        """Consent. `above` is the newest epoch that anything else knows of.

        Raises `Impossible` and `PrivateFileError`: then nothing has changed.
        """
        record = give(wanted, self._offer(), self._environ, who, self._next_epoch(above), now)
        head = self.audit.append(who, "on", shown(record), now)
        write_private(self.place, write_record(record))
        return Done(record, head)

    def narrow(self, without: frozenset[Stream], who: Who, now: float) -> Done:
        """Less of a consent that there is. Raises `Impossible`, and `PrivateFileError` where it could not be kept."""
        found = self.found()
        if not isinstance(found, Given):
            raise Impossible("telemetry is off: there is nothing to narrow")
        record = narrowed(found, without, self._next_epoch(0))
        write_private(self.place, write_record(record))
        return self._noted(record, who, "narrow", {**shown(record), "without": sorted(without)}, now)

    def withdraw(self, who: Who, now: float) -> Done:
        """Off. Whatever is wrong with the files: where the record can't be written it is removed.

        What is off stays as it is, with who switched it off.

        Raises `PrivateFileError` where neither is possible. Then this process must send nothing for as long as it
        lives, and the text says what keeps the next one silent.
        """
        found = self.found()
        if isinstance(found, Withdrawn):
            if found.told:  # the database has to hear of it once more: another instance may have consented since
                found = found.model_copy(update={"told": False})
                write_private(self.place, write_record(found))
            return Done(found, None)
        record = withdraw(who, self._next_epoch(0), now)
        try:
            write_private(self.place, write_record(record))
        except PrivateFileError as error:
            self._remove(error)
            return Done(record, None, f"{error}. The record of the consent was removed instead")
        return self._noted(record, who, "off", shown(record), now)

    def yield_to(self, who: Who, now: float, epoch: int) -> Done | None:
        """Somebody has decided later than `epoch` on another instance: off here, with the epoch that there is.

        A new one would be above theirs, and end their consent at our next start. None: there is nothing to end, or the
        file has another decision by now; instances that share a directory see theirs in it.

        Raises `PrivateFileError`.
        """
        found = self.found()
        if not isinstance(found, Given) or found.epoch != epoch:
            return None
        record = withdraw(who, found.epoch, now).model_copy(update={"told": True})
        write_private(self.place, write_record(record))
        return self._noted(record, who, "off", shown(record), now)

    def told(self, epoch: int) -> None:
        """The database has heard of the off of that epoch. Raises `PrivateFileError`."""
        found = self.found()
        if isinstance(found, Withdrawn) and found.epoch == epoch and not found.told:
            write_private(self.place, write_record(found.model_copy(update={"told": True})))

    def verify(self) -> Checked:
        """The audit log, and whether the decision that holds is in it: a log that is gone altogether is whole, too.

        Raises `PrivateFileError`.
        """
        checked, found = self.audit.verify(), self.found()
        if (
            checked.problem
            or isinstance(found, Absent)
            or found.epoch in map(_epoch, (e.about for e in checked.entries))
        ):
            return checked
        why = f"the decision that holds, of epoch {found.epoch}, is not in it: lines are missing, or it was full"
        return replace(checked, problem=why)

    def note(self, who: Who, action: str, about: Mapping[str, Any], now: float) -> Head:
        """Have the audit log say something else. Raises `PrivateFileError`."""
        return self.audit.append(who, action, about, now)

    def _noted(self, record: Record, who: Who, action: str, about: Mapping[str, Any], now: float) -> Done:
        try:
            return Done(record, self.audit.append(who, action, about, now))
        except PrivateFileError as error:
            return Done(record, None, str(error))

    def _remove(self, because: PrivateFileError) -> None:
        try:
            self.place.unlink(missing_ok=True)
        except OSError as error:
            raise PrivateFileError(
                0,
                f"{because}. Nor can it be removed ({error.strerror}): nothing is sent until the service ends. Remove "
                f"{self.place}, or set MUSTER_TELEMETRY=off, before it starts again",
            ) from error

    def _next_epoch(self, above: int) -> int:
        """Above every epoch that was: of the record, of the audit log where the record was removed, of the database."""
        found, known = self.found(), above
        if isinstance(found, Given | Withdrawn):
            return max(known, found.epoch) + 1
        with suppress(PrivateFileError):
            known = max([known, *(_epoch(entry.about) for entry in self.audit.verify().entries)])
        return known + 1


def _epoch(about: Mapping[str, Any]) -> int:
    epoch = about.get("epoch")
    return epoch if isinstance(epoch, int) else 0
