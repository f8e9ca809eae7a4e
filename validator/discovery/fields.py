"""Typed, bounded access to one mapping of a kubeconfig or static file. Pure; errors name the field, never its value."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validator.printable import printable

MAX_NAME_CHARS = 512
"""EKS ARNs, and OpenShift's `namespace/host:port/user`, are the longest context names in the field."""
MAX_TEXT_CHARS = 4096
"""Of a field that is neither data nor a token: a URL, a path (PATH_MAX), an argument."""


class FieldError(Exception):
    """A field can't be used: what is wrong, beginning with the field's name, and what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def at(self, place: str) -> FieldError:
        """The same with the place before it."""
        return FieldError(f"{place}: {self.message}", self.remedy)


@dataclass(frozen=True, slots=True)
class Origin:
    """The file that an entry stands in, and whether it is believed."""

    file: str
    directory: Path | None
    """What relative paths are relative to, as for kubectl; None where there is no file."""
    foreign_because: str | None = None
    """Why the text is not the operator's own; None = it is."""


@dataclass(frozen=True, slots=True)
class Fields:
    """One mapping. An empty string counts as absent, as it does for kubectl."""

    body: Mapping[str, Any]
    origin: Origin
    prefix: str = ""
    """Before every field's name in messages: `exec.`."""

    def __post_init__(self) -> None:
        if not isinstance(self.body, Mapping):
            raise FieldError("is no mapping", "Write it as `key: value` lines.")

    def text(self, key: str, limit: int = MAX_TEXT_CHARS) -> str | None:
        """A string."""
        value = self.body.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise FieldError(f"{self.prefix}{key} is no text", f"Put the value of {key} in quotes.")
        if len(value) > limit:
            raise FieldError(
                f"{self.prefix}{key} is longer than {limit} characters", f"Check {key}; it can't be right."
            )
        return value

    def line(self, key: str, limit: int = MAX_TEXT_CHARS) -> str | None:
        """A string without line breaks and control characters."""
        value = self.text(key, limit)
        if value is not None and not value.isprintable():
            raise FieldError(f"{self.prefix}{key} holds control characters", f"Write {key} on one line.")
        return value

    def flag(self, key: str) -> bool:
        """A boolean; absent is false."""
        value = self.body.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise FieldError(
            f"{self.prefix}{key} is neither true nor false", f"Write {key}: true or {key}: false, without quotes."
        )

    def data(self, key: str, max_bytes: int) -> str | None:
        """Text in base64, as in the `…-data` fields."""
        encoded = self.text(key, max_bytes * 4 // 3 + 1024)
        return None if encoded is None else decoded(self.prefix + key, encoded)

    def inner(self, key: str) -> Fields | None:
        """A mapping inside this one."""
        value = self.body.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise FieldError(f"{self.prefix}{key} is no mapping", f"Write {key} as `key: value` lines.")
        return Fields(value, self.origin, f"{self.prefix}{key}.")

    def items(self, key: str, most: int) -> list[Any]:
        """A list; absent is empty."""
        value = self.body.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise FieldError(f"{self.prefix}{key} is no list", f"Write {key} as lines that begin with `- `.")
        if len(value) > most:
            raise FieldError(f"{self.prefix}{key} has more than {most} items", f"Check {key}, or split the file.")
        return value

    def path(self, key: str) -> Path | None:
        """A file's path, relative to the file that it is named in. Refused in a foreign file."""
        value = self.line(key)
        if value is None:
            return None
        if self.origin.foreign_because is not None or self.origin.directory is None:
            raise refused(self.prefix + key, "names a file on the hub", "Embed its content instead", self.origin)
        return self.origin.directory / value


def refused(field: str, what: str, instead: str, origin: Origin) -> FieldError:
    """A field that only the operator's own file may have: it makes the hub read, run or go somewhere."""
    return FieldError(
        f"{field} {what}, which is accepted only in the operator's own file, and this one is not: "
        f"{origin.foreign_because or 'it is no file'}",
        f"{instead}, or have it in a file that belongs to the hub's user and that nobody else can write.",
    )


def decoded(key: str, encoded: str) -> str:
    """Base64 to text. Raises `FieldError`."""
    try:
        return base64.b64decode("".join(encoded.split()), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise FieldError(f"{key} is no base64 of a text", f"Copy {key} again; it is cut off or altered.") from error


def name_of(body: Any) -> str:
    """The `name` of a list item. Raises `FieldError`."""
    if not isinstance(body, Mapping):
        raise FieldError("is no mapping", "Write it as `name: …` and its fields.")
    name = body.get("name")
    if not isinstance(name, str) or not name:
        raise FieldError("has no name", "Give it a `name:` (in quotes, if it looks like true or null).")
    if len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise FieldError(
            f"has a name that is longer than {MAX_NAME_CHARS} or holds control characters: {printable(name)}",
            "Rename it.",
        )
    return name
