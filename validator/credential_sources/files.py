"""A credential whose parts stand in files that someone else renews: the kubelet, cert-manager, a cron job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from validator.credential_sources.material import MAX_TOKEN_CHARS, assemble
from validator.credential_sources.spec import CredentialSpec, Material, invalid, same_or, unavailable
from validator.credentials import Credential, CredentialError
from validator.file_thread import FileThread
from validator.files import FileError, read_file
from validator.pem import MAX_CLIENT_BYTES

REREAD_AFTER_S = 60.0
"""As client-go: projected tokens are renewed at 80 % of their hour, so a minute is early enough."""
SERVE_AT_MOST_S = 150.0
"""How long a reading is served while the next one hangs; after that the check `credential` has to say so."""
DEADLINE_S = 5.0
"""Of one fetch, its wait for the thread included."""


class FileCredential:
    """Reads its files when asked first, a minute after that, and after a 401.

    The re-read after a minute runs ahead on the thread while `current` serves what it has: a `None` would make the
    next probe ask anonymously, and dial anew where a client certificate belongs to the connection.
    """

    def __init__(self, spec: CredentialSpec, thread: FileThread, deadline_s: float = DEADLINE_S) -> None:
        self._spec = spec
        self._thread = thread
        self._deadline_s = deadline_s
        self._held: Credential | None = None
        self._read_at = 0.0
        self._ahead: Future[Credential] | None = None
        self._single_flight = asyncio.Lock()
        self._fetches = 0

    def current(self, now: float) -> Credential | None:
        self._take_over(now)
        if self._held is None or not 0 <= now - self._read_at < SERVE_AT_MOST_S:
            return None
        if self._ahead is None and now - self._read_at >= REREAD_AFTER_S:
            self._ahead = self._thread.submit(self._reader())
        return self._held

    async def fetch(self, now: float) -> Credential:
        fetches_before = self._fetches
        try:
            async with asyncio.timeout(self._deadline_s), self._single_flight:
                if self._held is not None and self._fetches > fetches_before:
                    return self._held  # someone else's fetch, which began before ours, has just ended
                fresh = await self._thread.run(self._reader(), self._deadline_s)
        except TimeoutError as error:
            self._held = None
            raise unavailable(
                self._spec.owner, f"its files were not read within {self._deadline_s:g} s; check their file system"
            ) from error
        except CredentialError:
            self._held = None
            raise
        self._held = same_or(fresh, self._held)
        self._read_at = now
        self._fetches += 1
        return self._held

    def reject(self, credential: Credential) -> None:
        if credential == self._held:  # a late 401 to the former one says nothing about this one
            self._held = None

    def _take_over(self, now: float) -> None:
        """Take the reading that ran ahead, once it is there."""
        if self._ahead is None or not self._ahead.done():
            return
        ahead, self._ahead = self._ahead, None
        if self._held is None:
            return  # rejected meanwhile, perhaps for this very content: `fetch` reads anew
        self._held = None if ahead.exception() else same_or(ahead.result(), self._held)
        self._read_at = now

    def _reader(self) -> Callable[[], Credential]:
        """The job for the thread. It must not hold `self`, which a hung file would keep alive."""
        spec = self._spec
        return lambda: read_credential(spec)


def read_credential(spec: CredentialSpec) -> Credential:
    """Read and check what `spec` names; blocks. Raises `CredentialError`."""
    try:
        return assemble(
            _text(spec, spec.token, MAX_TOKEN_CHARS + 1024),  # white space around it
            _text(spec, spec.chain, MAX_CLIENT_BYTES),
            _text(spec, spec.key, MAX_CLIENT_BYTES),
        )
    except ValueError as error:
        paths = [str(part) for part in (spec.token, spec.chain, spec.key) if isinstance(part, Path)]
        if paths:  # whoever renews the files may be half-way: waiting may mend it
            raise unavailable(spec.owner, f"{error} (read from {', '.join(paths)})") from error
        raise invalid(spec.owner, str(error)) from error


def _text(spec: CredentialSpec, material: Material, max_bytes: int) -> str | None:
    if not isinstance(material, Path):
        return material
    try:
        return read_file(material, max_bytes).text
    except FileError as error:
        raise unavailable(spec.owner, f"{error.message}. {error.remedy}") from error
