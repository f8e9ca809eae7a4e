"""The source `kubeconfig`: the files that kubectl uses, read by kubectl's rules and watched."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

from validator.credential_sources.factory import CredentialFactory
from validator.discovery.fields import Origin
from validator.discovery.kubeconfig_sightings import KubeconfigSightings
from validator.discovery.kubeconfig_text import (
    Kind,
    Kubeconfig,
    Names,
    held,
    merge,
    names_in,
    no_contexts,
    parse_kubeconfig,
)
from validator.discovery.read_set import ReadSet
from validator.discovery.source import Reading, SourceProblem
from validator.discovery.watch import POLL_S, FileWatch, Taken
from validator.files import FileError

MAX_FILE_BYTES = 64 * 1024 * 1024
"""10,000 contexts with an RSA client certificate, its key, a CA and a token each are 58 MiB."""
MAX_FILES = 1024
"""Files in KUBECONFIG: one a cluster is common, and each is looked at every poll."""

Trust = Literal["operator", "foreign"]


class KubeconfigSource:
    """Contexts of one or more kubeconfigs.

    `paths` None means KUBECONFIG (several, colon-separated), else ~/.kube/config; `contexts` None means all.
    `trust="operator"` believes a file whose *opened* descriptor belongs to us or root and is writable by nobody else;
    any other file is treated as foreign: its exec plugins, proxies and file paths are refused, the rest is used.
    """

    def __init__(
        self,
        name: str = "kubeconfig",
        paths: Sequence[Path] | None = None,
        contexts: Collection[str] | None = None,
        trust: Trust = "operator",
        poll_s: float = POLL_S,
        plugin_slots: asyncio.Semaphore | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        named = kubeconfig_paths(environ) if paths is None else paths
        self._name = name
        self._paths = tuple(dict.fromkeys(Path(path).absolute() for path in named))
        self._trust = trust
        self._sightings = KubeconfigSightings(name, CredentialFactory(name, plugin_slots, environ), contexts)
        self._names: dict[Path, Names] = {}
        self._watch = FileWatch(name, self._take, poll_s)

    @property
    def name(self) -> str:
        return self._name

    def readings(self) -> AsyncIterator[Reading]:
        return self._watch.readings()

    def _take(self) -> Taken:
        files = ReadSet()
        merged = merge([self._config(path, files) for path in self._paths[:MAX_FILES]])
        if merged.complete and not merged.lists_contexts:
            merged.complete = False
            merged.problems.append(no_contexts(", ".join(map(str, self._paths))))
        if len(self._paths) > MAX_FILES:
            merged.complete = False
            merged.problems.append(_too_many(self._name))
        return Taken(self._sightings.reading(merged, files.ca_text), files.paths)

    def _config(self, path: Path, files: ReadSet) -> Kubeconfig:
        """One file; one that can't be read, or has lost its contexts, still holds the names that it set before."""
        before = self._names.get(path)
        try:
            content = files.read(path, MAX_FILE_BYTES)
        except FileError as error:
            config = Kubeconfig(complete=False)
            config.problems.append(SourceProblem(str(path), error.message, error.remedy))
        else:
            because = "it was configured as foreign" if self._trust == "foreign" else content.foreign_because
            config = parse_kubeconfig(content.text, Origin(str(path), path.parent, because))
        if config.complete and before and before[Kind.CONTEXT] and not config.lists_contexts:
            config.complete = False
            config.problems.append(no_contexts(str(path)))
        if config.complete:
            self._names[path] = names_in(config)
        elif before and not config.lists_contexts:
            return held(before, Origin(str(path), path.parent), config.problems)
        return config


def kubeconfig_paths(environ: Mapping[str, str]) -> list[Path]:
    """Where kubectl looks: KUBECONFIG, else ~/.kube/config."""
    named = [Path(part) for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    home = environ.get("HOME") or Path.home()
    return named or [Path(home, ".kube", "config")]


def _too_many(source: str) -> SourceProblem:
    return SourceProblem(
        f"source {source}", f"has more than {MAX_FILES} files; the others are not read", "Merge some of them."
    )
