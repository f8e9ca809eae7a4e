"""The static list as text: strict, because it is our own format; a key that is not known is a typing error. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from validator.discovery.fields import FieldError, Fields, Origin, name_of
from validator.discovery.plain_yaml import YamlError, parse_yaml
from validator.discovery.source import SourceProblem
from validator.printable import printable

MAX_CLUSTERS = 20_000
"""Twice the largest fleet that we know of."""
MAX_LABELS = 64
"""Labels of one cluster; they become columns and alert labels, not storage."""

CREDENTIAL_KINDS = ("tokenFile", "clientCertificate", "exec")
_CLUSTER_KEYS = (
    "name",
    "server",
    "certificate-authority",
    "certificate-authority-data",
    "tls-server-name",
    "insecure-skip-tls-verify",
    "credential",
    "labels",
)
_CREDENTIAL_KEYS = ("tokenFile", "token", "clientCertificate", "clientKey", "exec")
_EXEC_KEYS = ("apiVersion", "command", "args", "env", "installHint", "provideClusterInfo", "interactiveMode")

_LABEL_WORD = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_PREFIX = re.compile(r"(?=.{1,253}/)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/")


@dataclass(slots=True)
class StaticList:
    """The file, entry by entry."""

    entries: dict[str, Fields] = field(default_factory=dict)
    problems: list[SourceProblem] = field(default_factory=list)
    complete: bool = True
    """False = an entry may be missing that was meant to be there."""


def parse_static(text: str, origin: Origin) -> StaticList:
    """The list's entries by name. What is wrong becomes a problem."""
    found = StaticList()
    try:
        items = _items(text, origin)
    except FieldError as error:
        found.complete = False
        found.problems.append(SourceProblem(origin.file, error.message, error.remedy))
        return found
    twice = set()
    for number, item in enumerate(items):
        try:
            name = name_of(item)
        except FieldError as error:
            found.complete = False
            found.problems.append(SourceProblem(f"{origin.file}: clusters[{number}]", error.message, error.remedy))
            continue
        if name in found.entries:
            twice.add(name)
        found.entries[name] = Fields(item, origin)
    for name in sorted(twice):
        del found.entries[name]
        found.problems.append(problem(origin, name, FieldError("is there twice", "Rename or remove one of them.")))
    return found


def problem(origin: Origin, name: str, error: FieldError) -> SourceProblem:
    """A problem of one entry."""
    return SourceProblem(f'{origin.file}: cluster "{printable(name)}"', error.message, error.remedy, entry=name)


def check_cluster(fields: Fields) -> None:
    """Refuse what an entry may not have. Raises `FieldError`."""
    check_keys(fields, _CLUSTER_KEYS)
    both = ("certificate-authority", "certificate-authority-data")
    if all(fields.body.get(key) for key in both):
        raise FieldError(f"has both {' and '.join(both)}", "Keep one of them.")


def check_credential(fields: Fields) -> None:
    """Refuse what `credential` may not have. Raises `FieldError`."""
    check_keys(fields, _CREDENTIAL_KEYS)
    if "token" in fields.body:
        raise FieldError(
            "credential.token: a token is not accepted in this file, which is often kept in version control",
            "Put the token into a file that only the hub can read, and name it as tokenFile.",
        )
    if (plugin := fields.inner("exec")) is not None:
        check_keys(plugin, _EXEC_KEYS)
    kinds = [kind for kind in CREDENTIAL_KINDS if fields.body.get(kind)]
    if len(kinds) != 1:
        raise FieldError(
            f"credential has {' and '.join(kinds) or 'none'} of {', '.join(CREDENTIAL_KINDS)}", "Keep exactly one."
        )
    if bool(fields.body.get("clientCertificate")) != bool(fields.body.get("clientKey")):
        raise FieldError("credential.clientCertificate and clientKey go together", "Give both, or neither.")


def labels_of(fields: Fields) -> dict[str, str]:
    """Labels, in Kubernetes' syntax. Raises `FieldError`."""
    inner = fields.inner("labels")
    if inner is None:
        return {}
    if len(inner.body) > MAX_LABELS:
        raise FieldError(f"labels has more than {MAX_LABELS} labels", "Remove some.")
    for key, value in inner.body.items():
        prefix = _LABEL_PREFIX.match(key)
        if not _LABEL_WORD.fullmatch(key[prefix.end() :] if prefix else key):
            raise FieldError(
                f"labels: {printable(key)!r} is no label key",
                "Use at most 63 letters, digits, -, _ and ., after an optional dns.prefix/.",
            )
        if not isinstance(value, str):
            raise FieldError(f"labels: the value of {printable(key)} is no text", "Put it in quotes.")
        if value and not _LABEL_WORD.fullmatch(value):
            raise FieldError(
                f"labels: the value of {printable(key)} is no label value",
                "Use at most 63 letters, digits, -, _ and ., with a letter or digit at both ends.",
            )
    return dict(inner.body)


def check_keys(fields: Fields, known: Iterable[str]) -> None:
    """Refuse a key that is not known, with the one that was probably meant. Raises `FieldError`."""
    for key in fields.body:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
            raise FieldError(
                f"{fields.prefix}{printable(key)} is not known",
                f"Did you mean {fields.prefix}{near[0]}?" if near else f"Known are: {', '.join(known)}.",
            )


def _items(text: str, origin: Origin) -> list[Any]:
    try:
        top = parse_yaml(text)
    except YamlError as error:
        raise FieldError(str(error), "Correct the file; if it is being written, it is read again.") from error
    if top is None:
        raise FieldError("is empty", "Write the list; an empty fleet is `clusters: []`.")
    fields = Fields(top, origin)
    check_keys(fields, ("clusters",))
    if "clusters" not in fields.body:
        raise FieldError("has no `clusters:` list", "Write the list; an empty fleet is `clusters: []`.")
    return fields.items("clusters", MAX_CLUSTERS)
