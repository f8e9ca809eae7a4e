"""The source `static`: a YAML list of clusters that people (or their inventory tool) write for Muster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType

from validator import pem
from validator.credential_sources.factory import CredentialFactory
from validator.credential_sources.spec import CredentialSpec
from validator.credentials import BrokenCredential, CredentialSource
from validator.discovery.endpoint_fields import endpoint_of
from validator.discovery.fields import FieldError, Fields, Origin
from validator.discovery.memo import Memo
from validator.discovery.read_set import ReadSet
from validator.discovery.source import Reading, Sighting, SourceProblem
from validator.discovery.static_text import (
    MAX_CLUSTERS,
    check_cluster,
    check_credential,
    labels_of,
    parse_static,
    problem,
)
from validator.discovery.user_fields import exec_spec, told_of_cluster
from validator.discovery.watch import POLL_S, FileWatch, Taken
from validator.file_thread import breathe
from validator.files import FileError
from validator.model import Endpoint
from validator.printable import printable
from validator.reasons import Reason

MAX_FILE_BYTES = 64 * 1024 * 1024
"""20,000 entries with an inline CA are about 40 MiB."""


class StaticSource:
    """Clusters from a list. An exec plugin is accepted only if the file is the operator's own (see `FileContent`)."""

    def __init__(
        self,
        path: Path,
        name: str = "static",
        poll_s: float = POLL_S,
        plugin_slots: asyncio.Semaphore | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._path = path.absolute()
        self._name = name
        self._factory = CredentialFactory(name, plugin_slots, environ)
        self._credentials: Memo[CredentialSource] = Memo(2 * MAX_CLUSTERS)
        self._cas: Memo[str] = Memo(2 * MAX_CLUSTERS)
        self._watch = FileWatch(name, self._take, poll_s)

    @property
    def name(self) -> str:
        return self._name

    def readings(self) -> AsyncIterator[Reading]:
        return self._watch.readings()

    def _take(self) -> Taken:
        files = ReadSet()
        try:
            content = files.read(self._path, MAX_FILE_BYTES)
        except FileError as error:
            trouble = SourceProblem(str(self._path), error.message, error.remedy)
            return Taken(Reading((), (trouble,), complete=False), files.paths)
        origin = Origin(str(self._path), self._path.parent, content.foreign_because)
        found = parse_static(content.text, origin)
        problems = list(found.problems)
        sightings = []
        last = next(reversed(found.entries), None)
        for name, fields in found.entries.items():
            breathe()
            try:
                sightings.append(self._sighting(name, fields, files))
            except FieldError as error:
                problems.append(problem(origin, name, error))
                found.complete &= name != last  # cut off there, the file has lost the rest and is YAML all the same
        self._credentials.turn(complete=found.complete)
        self._cas.turn(complete=found.complete)
        return Taken(Reading(tuple(sightings), tuple(problems), found.complete), files.paths)

    def _sighting(self, name: str, fields: Fields, files: ReadSet) -> Sighting:
        check_cluster(fields)
        labels = labels_of(fields)
        endpoint = endpoint_of(fields, files.ca_text, self._checked_ca)
        given = fields.inner("credential")
        credential = None if given is None else self._credential(name, fields, given, endpoint)
        return Sighting(name, self._name, endpoint, credential, MappingProxyType(labels))

    def _credential(self, name: str, cluster: Fields, given: Fields, endpoint: Endpoint) -> CredentialSource:
        check_credential(given)
        owner = f'cluster "{printable(name)}" in {self._path}'
        told = told_of_cluster(given.body.get("exec"), cluster, endpoint)
        content = [name, given.origin.foreign_because, given.body, told]
        return self._credentials.get(content, lambda: self._made(owner, given, told))

    def _made(self, owner: str, given: Fields, told: dict[str, object]) -> CredentialSource:
        try:
            plugin = given.inner("exec")
            if plugin is not None:
                return self._factory.make(CredentialSpec(owner, exec=exec_spec(plugin, told)))
            token, chain, key = (given.path(key) for key in ("tokenFile", "clientCertificate", "clientKey"))
        except FieldError as error:
            return BrokenCredential(Reason.CREDENTIAL_INVALID, f"{owner}: {error.message}. {error.remedy}")
        return self._factory.make(CredentialSpec(owner, token, chain, key))

    def _checked_ca(self, text: str) -> str:
        return self._cas.get(text, lambda: pem.ca_bundle(text))
