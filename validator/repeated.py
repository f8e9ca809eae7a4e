"""A server may repeat the credential that it was shown: in a failing check's name, a redirect, a content type.

Then it must not reach what people see, the database or a log. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from validator.answer import Fact

LEFT_OUT = "(left out: the server repeats the credential)"

MIN_CHARS = 8
"""A token shorter than this may be a word by chance, and is no secret."""
BEGINNING_CHARS = 32
"""So much of it is looked for: what is quoted of an answer may be cut short."""


def without_token(facts: Iterable[Fact], token: str | None) -> tuple[Fact, ...]:
    """The facts, with each text left out that holds the token, in whatever case."""
    if token is None or len(token) < MIN_CHARS:
        return tuple(facts)
    secret = token[:BEGINNING_CHARS].lower()
    return tuple(_without(fact, secret) for fact in facts)


def holds_token(text: str, token: str | None) -> bool:
    """Whether a text of the server has the token in it."""
    return token is not None and len(token) >= MIN_CHARS and _holds(text, token[:BEGINNING_CHARS].lower())


def _without(fact: Fact, secret: str) -> Fact:
    repeating = {key: LEFT_OUT for key, value in fact.evidence.items() if _holds(value, secret)}
    if not repeating and not _holds(fact.message, secret):
        return fact
    evidence: Mapping[str, str | float | bool] = {**fact.evidence, **repeating}
    return replace(fact, message=LEFT_OUT if _holds(fact.message, secret) else fact.message, evidence=evidence)


def _holds(value: object, secret: str) -> bool:
    return isinstance(value, str) and secret in value.lower()
