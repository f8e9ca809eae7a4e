"""From merged kubeconfigs to sightings: every context by itself, so that one bad entry costs one cluster."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from validator import pem
from validator.credential_sources.factory import CredentialFactory
from validator.credentials import BrokenCredential, CredentialSource
from validator.discovery.endpoint_fields import endpoint_of
from validator.discovery.fields import FieldError, Fields, Origin
from validator.discovery.kubeconfig_text import MAX_ENTRIES, Entry, Kind, Kubeconfig, parse_kubeconfig
from validator.discovery.memo import Memo
from validator.discovery.source import Reading, Sighting, SourceProblem
from validator.discovery.user_fields import is_anonymous, told_of_cluster, user_spec
from validator.file_thread import breathe
from validator.model import Endpoint
from validator.printable import printable
from validator.reasons import Reason


class _HeldError(Exception):
    """The context hangs on a file that can't be read just now: it stays as it was, without a word of its own."""


class KubeconfigSightings:
    """Makes readings for one source, and remembers what it made (`Memo`)."""

    def __init__(self, source: str, factory: CredentialFactory, contexts: Collection[str] | None = None) -> None:
        self._source = source
        self._factory = factory
        self._contexts = None if contexts is None else frozenset(contexts)
        self._credentials: Memo[CredentialSource] = Memo(2 * MAX_ENTRIES)
        self._cas: Memo[str] = Memo(2 * MAX_ENTRIES)

    def reading(self, config: Kubeconfig, read_file: Callable[[Path], str]) -> Reading:
        """The reading of merged files; `read_file` gets the text of a CA file or raises `FileError`."""
        problems = list(config.problems)
        sightings: list[Sighting] = []
        contexts = config.entries[Kind.CONTEXT]
        for name in contexts:
            if self._contexts is not None and name not in self._contexts:
                continue
            breathe()
            try:
                sightings.append(self._sighting(config, contexts[name], read_file, problems))
            except _HeldError:
                continue
            except FieldError as error:
                where = _where(contexts[name].origin, "context", name)
                problems.append(SourceProblem(where, error.message, error.remedy, entry=name))
        absent = sorted((self._contexts or frozenset()) - contexts.keys()) if config.complete else ()
        problems.extend(_absent_choice(self._source, name) for name in absent)
        self._credentials.turn(complete=config.complete)
        self._cas.turn(complete=config.complete)
        return Reading(tuple(sightings), tuple(problems), config.complete)

    def _sighting(
        self, config: Kubeconfig, context: Entry, read_file: Callable[[Path], str], problems: list[SourceProblem]
    ) -> Sighting:
        fields = _fields(context, "context")
        cluster = _referred(config, Kind.CLUSTER, fields)
        if cluster is None:
            raise FieldError("cluster is missing", "Name the context's cluster.")
        user = _referred(config, Kind.USER, fields)
        cluster_fields = _fields(cluster, "cluster")
        try:
            endpoint = endpoint_of(cluster_fields, read_file, self._checked_ca)
        except FieldError as error:
            raise error.at(f'cluster "{printable(cluster.name)}"') from error
        credential = None if user is None else self._credential(user, cluster_fields, endpoint)
        if credential is None:
            problems.append(_anonymous(context, user))
        return Sighting(context.name, self._source, endpoint, credential)

    def _credential(self, user: Entry, cluster: Fields, endpoint: Endpoint) -> CredentialSource | None:
        fields = _fields(user, "user")
        if is_anonymous(fields):
            return None
        told = told_of_cluster(fields.body.get("exec"), cluster, endpoint)
        owner = f'user "{printable(user.name)}" in {user.origin.file}'
        content = [user.name, user.origin.file, user.origin.foreign_because, fields.body, told]
        return self._credentials.get(content, lambda: self._made(owner, fields, told))

    def _made(self, owner: str, fields: Fields, told: dict[str, object]) -> CredentialSource:
        try:
            spec = user_spec(owner, fields, told)
        except FieldError as error:
            return BrokenCredential(Reason.CREDENTIAL_INVALID, f"{owner}: {error.message}. {error.remedy}")
        return self._factory.make(spec)

    def _checked_ca(self, text: str) -> str:
        return self._cas.get(text, lambda: pem.ca_bundle(text))


def parse_foreign_kubeconfig(
    text: str, where: str, source: str, sightings: KubeconfigSightings | None = None
) -> Reading:
    """A kubeconfig that came from an API (Gardener), not from the operator: nothing in it may touch the hub's machine.

    `exec`, `proxy-url` and every file path are refused; `where` says whence it came, for messages. Pass the same
    `sightings` again to get the same credential objects for unchanged entries.
    """
    maker = sightings or KubeconfigSightings(source, CredentialFactory(source))
    return maker.reading(parse_kubeconfig(text, Origin(where, None, "it came from elsewhere")), _no_file)


def _no_file(path: Path) -> str:
    raise AssertionError(f"a foreign kubeconfig got {path} past `Fields.path`")


def _referred(config: Kubeconfig, kind: Kind, context: Fields) -> Entry | None:
    """The cluster or user that a context names; None if it names none."""
    name = context.line(kind)
    if name is None:
        return None
    entry = config.entries[kind].get(name)
    if entry is None:
        raise FieldError(
            f'names the {kind} "{printable(name)}", which is in no file', f"Add that {kind}, or correct the context."
        )
    return entry


def _fields(entry: Entry, kind: str) -> Fields:
    if entry.twice:
        raise FieldError(
            f'{kind} "{printable(entry.name)}" is there twice in {entry.origin.file}', "Rename or remove one of them."
        )
    if entry.body is None:
        raise _HeldError
    return Fields(entry.body, entry.origin)


def _where(origin: Origin, kind: str, name: str) -> str:
    return f'{origin.file}: {kind} "{printable(name)}"'


def _anonymous(context: Entry, user: Entry | None) -> SourceProblem:
    return SourceProblem(
        _where(context.origin, "context", context.name),
        "has no user" if user is None else f'its user "{printable(user.name)}" is empty',
        "It is asked anonymously, as kubectl does. Add a user to have its credential checked as well.",
    )


def _absent_choice(source: str, name: str) -> SourceProblem:
    return SourceProblem(
        f"source {source}",
        f'the chosen context "{printable(name)}" is in no file',
        "Correct the list of chosen contexts, or add the context.",
    )
