"""All that waits, as a signed file for the receiver: for where there is no network.

The batches are those that would be sent, with their ids, filtered like them, and stay in the spool: a file that is
carried by hand gets lost. The receiver takes each once, however often and by whichever way it comes.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from store.errors import StoreError
from uplink.client.consent.consent import Impossible, Standing
from uplink.client.consent.dictionary import Dictionary
from uplink.client.consent.record import Given
from uplink.client.consent.streams import Stream
from uplink.client.encoding.halve import allowed
from uplink.client.spooling.epochs import Epochs
from uplink.client.spooling.spool import Spool, SpoolClosed
from uplink.wire import export as wire
from uplink.wire.errors import WireError
from validator.clock import Clock
from validator.file_thread import FileThread

PIECE_BYTES = 64 * 1024
PAGE = 8
"""Batches that are read at once: 8 MiB at most."""

WRITE_S = 300.0
"""For the whole file: a spool of 256 MiB takes a minute."""
READ_S = 15.0


@dataclass(frozen=True, slots=True)
class Signer:
    """Who vouches for the file."""

    key: ec.EllipticCurvePrivateKey
    chain: Sequence[x509.Certificate] = ()
    """Of its certificate, leaf first; without one the receiver's operator has to be told the key's fingerprint."""


class Exporter:
    """Writes the file beside the consent, without a name, and hands it out in pieces."""

    def __init__(
        self,
        spool: Spool,
        epochs: Epochs,
        dictionary: Dictionary,
        clock: Clock,
        directory: Path,
        signer: Callable[[], Awaitable[Signer]],
        fill: Callable[[Standing], Awaitable[object]],
    ) -> None:
        """`fill` gathers what is known now into the spool."""
        self._spool = spool
        self._epochs = epochs
        self._dictionary = dictionary
        self._clock = clock
        self._directory = directory
        self._signer = signer
        self._fill = fill
        self._writing = FileThread("uplink-export")

    async def export(self, standing: Standing) -> AsyncIterator[bytes]:
        """The file. Raises `Impossible` before its first piece: without consent, or without the database's word."""
        given = standing.given
        if given is None:
            raise Impossible(f"an export needs a consent, too, and telemetry is {standing.word}: {standing.why}")
        stop = [False]
        try:
            if not (await self._epochs.read()).permits(given):
                raise Impossible("the database knows of a later decision, or is an older copy. Consent again")
            await self._fill(standing)
            signer = await self._signer()
            file = await self._writing.run(self._make_file, READ_S)
        except SpoolClosed:
            raise Impossible("nothing was exported: the consent has ended, or is another one by now") from None
        except (StoreError, OSError) as error:
            raise Impossible(f"nothing was exported: {error}") from error
        loop = asyncio.get_running_loop()
        batches = self._batches(loop, given, [each for each in Stream if standing.allows(each)], stop)
        head = wire.Head(
            given.organisation, given.installation_id, given.consent_id, given.dictionary, int(self._clock.now())
        )
        try:
            await self._writing.run(lambda: _write(file, head, batches, signer), WRITE_S)
        except (StoreError, OSError, WireError) as error:
            raise Impossible(f"nothing was exported: {error}") from error
        finally:
            stop[0] = True
        try:
            while piece := await self._writing.run(lambda: file.read(PIECE_BYTES), READ_S):
                yield piece
        finally:
            self._writing.submit(file.close)

    def _make_file(self) -> BinaryIO:
        return tempfile.TemporaryFile(dir=self._directory)

    def _batches(
        self, loop: asyncio.AbstractEventLoop, given: Given, streams: Sequence[Stream], stop: list[bool]
    ) -> Iterator[wire.Batch]:
        """On the writing thread; the database is asked on the loop."""
        after = 0
        while not stop[0]:
            asked = asyncio.run_coroutine_threadsafe(self._spool.page(given, streams, after, PAGE), loop)
            page = asked.result(READ_S)
            if not page:
                return
            for waiting in page:
                after = waiting.ordinal
                if (left := allowed(waiting.batch, given, self._dictionary)) is not None:
                    yield wire.Batch(left.id, left.signal, left.raw)


def _write(file: BinaryIO, head: wire.Head, batches: Iterator[wire.Batch], signer: Signer) -> None:
    wire.write_export(file, head, batches, signer.key, signer.chain)
    file.seek(0)
