"""Kubeconfigs as text: parsed leniently where kubectl is lenient, merged by kubectl's rule. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from validator.discovery.fields import FieldError, Fields, Origin, name_of
from validator.discovery.plain_yaml import YamlError, parse_yaml
from validator.discovery.source import SourceProblem
from validator.printable import printable

MAX_ENTRIES = 20_000
"""Contexts, clusters or users in one file: twice the largest fleet that we know of."""


class Kind(StrEnum):
    """The three lists of a kubeconfig; the value is the key of an item's body."""

    CONTEXT = "context"
    CLUSTER = "cluster"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Entry:
    """One named item."""

    name: str
    origin: Origin
    body: Mapping[str, Any] | None
    """None = it can't be used: see `twice`."""
    twice: bool = False
    """The file has two of this name; else, with no body, the file can't be read just now."""


@dataclass(slots=True)
class Kubeconfig:
    """One file, or several merged."""

    entries: dict[Kind, dict[str, Entry]] = field(default_factory=lambda: {kind: {} for kind in Kind})
    problems: list[SourceProblem] = field(default_factory=list)
    complete: bool = True
    """False = something is missing that was meant to be there."""
    lists_contexts: bool = False
    """`contexts:` is there, if only as an empty list."""


Names = Mapping[Kind, frozenset[str]]
"""What one file set when it was last read well."""


def parse_kubeconfig(text: str, origin: Origin) -> Kubeconfig:
    """One file. What is wrong becomes a problem, and `complete` is False where entries may be missing."""
    config = Kubeconfig()
    try:
        top = _top(text, origin)
        for kind in Kind:
            _collect(config, kind, top)
        config.lists_contexts = "contexts" in top.body
    except FieldError as error:
        config.complete = False
        config.problems.append(SourceProblem(origin.file, error.message, error.remedy))
    return config


def merge(files: Iterable[Kubeconfig]) -> Kubeconfig:
    """Merge by kubectl's rule: the first file that sets a name wins. Other content under the same name is warned of."""
    merged = Kubeconfig()
    for config in files:
        merged.problems += config.problems
        merged.complete = merged.complete and config.complete
        merged.lists_contexts = merged.lists_contexts or config.lists_contexts
        for kind, entries in config.entries.items():
            for name, entry in entries.items():
                winner = merged.entries[kind].setdefault(name, entry)
                if winner.body is not None and winner.body != entry.body:
                    merged.problems.append(_shadowed(kind, winner, entry))
    return merged


def names_in(config: Kubeconfig) -> Names:
    """What to remember of a file, for `held`."""
    return {kind: frozenset(entries) for kind, entries in config.entries.items()}


def held(names: Names, origin: Origin, problems: list[SourceProblem]) -> Kubeconfig:
    """Stands in for a file that can't be read: it still owns the names that it set, so that no other file gets them."""
    config = Kubeconfig(problems=problems, complete=False)
    for kind, there in names.items():
        config.entries[kind] = {name: Entry(name, origin, None) for name in there}
    return config


def no_contexts(file: str) -> SourceProblem:
    """A file cut off between two lines is valid YAML; kubectl always writes `contexts:`, and so a fleet is not lost."""
    return SourceProblem(
        file,
        "has no contexts; it may be half-written",
        "Complete the file; if it is to have none, write `contexts: []`.",
    )


def _top(text: str, origin: Origin) -> Fields:
    try:
        value = parse_yaml(text)
    except YamlError as error:
        raise FieldError(str(error), "Correct the file; if it is being written, it is read again.") from error
    if value is None:
        raise FieldError("is empty", "Write the kubeconfig; an empty fleet is `contexts: []`.")
    if not isinstance(value, Mapping) or not (value.keys() & {"clusters", "contexts", "users"}):
        raise FieldError("is no kubeconfig: it has no clusters, contexts and users", "Check that it is the right file.")
    kind = value.get("kind")
    if kind not in {None, "Config"}:
        raise FieldError(f"is of the kind {printable(str(kind))}, not Config", "Check that it is the right file.")
    return Fields(value, origin)


def _collect(config: Kubeconfig, kind: Kind, top: Fields) -> None:
    found = config.entries[kind]
    for number, item in enumerate(top.items(f"{kind}s", MAX_ENTRIES)):
        try:
            name = name_of(item)
            inner = Fields(item, top.origin).inner(kind) if item.get(kind) else None
        except FieldError as error:
            config.problems.append(SourceProblem(f"{top.origin.file}: {kind}s[{number}]", error.message, error.remedy))
            config.complete = False  # whose entry it was can't be said
            continue
        if name in found:
            found[name] = Entry(name, top.origin, None, twice=True)
        else:
            found[name] = Entry(name, top.origin, inner.body if inner else {})


def _shadowed(kind: Kind, winner: Entry, loser: Entry) -> SourceProblem:
    return SourceProblem(
        f'{loser.origin.file}: {kind} "{printable(loser.name)}"',
        f"is not used: {winner.origin.file} has a {kind} of the same name and comes first",
        "Rename one of them, or change the order of the files.",
    )
