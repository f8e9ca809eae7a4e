"""From what an entry says to the credential source that does it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from validator.credential_sources.exec_plugin import DEADLINE_S, PLUGIN_SLOTS, ExecCredential
from validator.credential_sources.files import FileCredential, read_credential
from validator.credential_sources.spec import CredentialSpec
from validator.credentials import BrokenCredential, CredentialError, CredentialSource, StaticCredential
from validator.file_thread import FileThread


class CredentialFactory:
    """Makes credential sources, and holds what they share: the plugins' slots, one thread for files.

    The thread is not the one that reads kubeconfigs: parsing 10,000 contexts takes seconds, and a token file must
    not wait for that.
    """

    def __init__(
        self,
        name: str,
        plugin_slots: asyncio.Semaphore | None = None,
        environ: Mapping[str, str] | None = None,
        plugin_deadline_s: float = DEADLINE_S,
    ) -> None:
        self._thread = FileThread(f"credential-files:{name}")
        self._slots = plugin_slots or asyncio.Semaphore(PLUGIN_SLOTS)
        self._environ = os.environ if environ is None else environ
        self._plugin_deadline_s = plugin_deadline_s

    def make(self, spec: CredentialSpec) -> CredentialSource:
        """The source for `spec`; one that is unusable as it stands becomes a `BrokenCredential`. No I/O."""
        if spec.exec is not None:
            return ExecCredential(spec.owner, spec.exec, self._environ, self._slots, self._plugin_deadline_s)
        if any(isinstance(part, Path) for part in (spec.token, spec.chain, spec.key)):
            return FileCredential(spec, self._thread)
        try:
            return StaticCredential(read_credential(spec))
        except CredentialError as error:
            return BrokenCredential(error.reason, error.message)
