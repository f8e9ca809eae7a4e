"""The settings file: TOML, flat, small. Read as a whole or refused with the line.

`tomllib` does not say on which line a key stands, so a second look at a text that is known to be good TOML finds the
lines. A parser that keeps them (tomlkit) would be another dependency, and ten times as slow.
"""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from muster.config.problem import Origin, Problem, Source
from muster.config.table import TABLE, Kind, SettingInfo, suggestion
from validator.files import FileError, read_file

MAX_FILE_BYTES = 64 * 1024
"""All settings with a comment each take 5 KiB. Read on the event loop when it changes: keep it small."""

MAX_UNKNOWN = 20
"""Unknown keys that are told one by one: more is another program's file."""

_TOLD_CHARS = 60
"""Of a key that is none."""

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

_QUOTES = 'text stands in quotes, as in listen = "127.0.0.1:8645"; numbers, true and false do not'
_HINTS = {
    "Invalid value": _QUOTES,
    "Expected newline": _QUOTES,
    "Cannot overwrite": "this key is there twice; keep one",
    "Unterminated string": "a quote is opened and never closed",
}
_USUAL_HINT = "one `key = value` a line; `muster config init` prints an example"

_PIECE = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'" r"|\#[^\n]*|[\w-]+|.",
    re.DOTALL,
)
"""Strings, comments, bare words, and any other character by itself."""


@dataclass(frozen=True, slots=True)
class FileSettings:
    """What the file says. Values are of the right kind, not yet within their bounds."""

    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def read_settings_file(path: Path) -> FileSettings:
    """Read and check it. Never raises: whatever is wrong is in `problems`."""
    whole = Origin(Source.FILE, str(path))
    try:
        text = read_file(path, MAX_FILE_BYTES).text
        mode = path.stat().st_mode
    except FileError as error:
        return FileSettings(problems=(Problem(whole, "", f"{error.message}. {error.remedy}"),))
    except OSError as error:
        return FileSettings(problems=(Problem(whole, "", f"can't be read: {error.strerror}"),))
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return FileSettings(problems=(_syntax(error, text, path),))
    return _check(document, key_lines(text), path, mode)


def key_lines(text: str) -> dict[str, int]:
    """The line of each key at the top, and of each table. The text has to be good TOML."""
    lines: dict[str, int] = {}
    line, depth, fresh, in_table = 1, 0, True, False
    for match in _PIECE.finditer(text):
        piece = match[0]
        if piece == "\n":
            fresh = fresh or depth == 0
        elif piece in {"[", "{"}:
            depth += 1
        elif piece in {"]", "}"}:
            depth -= 1
        elif fresh and re.match(r"[\w\"'-]", piece):
            fresh = False
            in_table = in_table or depth > 0
            if depth > 0 or not in_table:
                lines.setdefault(piece.strip("\"'"), line)
        line += piece.count("\n")
    return lines


def _syntax(error: ValueError | RecursionError, text: str, path: Path) -> Problem:
    told = str(error) if isinstance(error, tomllib.TOMLDecodeError) else ""
    found = _PLACE.search(told)
    line, column = found.groups() if found else (None, None)
    if found and line is None:
        line = str(text.count("\n") + 1)
    what = _PLACE.sub("", told) or "a number or a nesting that is too long to be meant"
    hint = next((hint for begin, hint in _HINTS.items() if what.startswith(begin)), _USUAL_HINT)
    origin = Origin(Source.FILE, str(path), int(line) if line else None, int(column) if column else None)
    return Problem(origin, "", f"not TOML: {what[:1].lower()}{what[1:]} ({hint})")


def _check(document: dict[str, Any], lines: Mapping[str, int], path: Path, mode: int) -> FileSettings:
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    problems: list[Problem] = []
    unknown = 0
    for key, value in document.items():
        origin = Origin(Source.FILE, str(path), lines.get(key))
        info = TABLE.get(key)
        if info is None:
            unknown += 1
            if unknown <= MAX_UNKNOWN:
                problems.append(Problem(origin, "", _unknown(key, value)))
            continue
        origins[key] = origin
        if info.secret and mode & (stat.S_IRGRP | stat.S_IROTH):
            problems.append(Problem(origin, key, _readable(path, mode, info)))
        if complaint := _wrong_kind(value, info):
            problems.append(Problem(origin, key, complaint, tells_allowed=False))
        else:
            values[key] = _beside(value, info, path.parent)
    if unknown > MAX_UNKNOWN:
        more = f"{unknown - MAX_UNKNOWN} more keys are no settings: is it the right file?"
        problems.append(Problem(Origin(Source.FILE, str(path)), "", more))
    return FileSettings(values, origins, tuple(problems))


def _unknown(key: str, value: object) -> str:
    shown = key if len(key) <= _TOLD_CHARS else key[:_TOLD_CHARS] + "…"
    if isinstance(value, dict):
        return f"[{shown}] is no setting: there are no tables; write the keys at the top, without a head"
    meant = suggestion(key)
    return f"{shown} is not a setting" + (f"; did you mean {meant}?" if meant else "; `muster config show` lists them")


def _readable(path: Path, mode: int, info: SettingInfo) -> str:
    return (
        f"may hold a password, and others can read the file (mode {stat.S_IMODE(mode):04o}). `chmod 600 {path}`; or "
        f"better, keep it in a file of its own and name that with {info.key}_file"
    )


def _wrong_kind(value: object, info: SettingInfo) -> str:
    """TOML has types, so nothing is guessed: `true` is no number, and "30" is none either."""
    match info.kind:
        case Kind.TRUTH:
            good = isinstance(value, bool)
        case Kind.WHOLE:
            good = isinstance(value, int) and not isinstance(value, bool)
        case Kind.NUMBER:
            good = isinstance(value, int | float) and not isinstance(value, bool)
        case Kind.TEXTS | Kind.PATHS:
            good = isinstance(value, list) and all(isinstance(one, str) and one for one in value)
        case _:
            good = isinstance(value, str) and bool(value)
    if good:
        return ""
    if value == "" or (isinstance(value, list) and "" in value):
        return "is empty; leave the key out for the default"
    return f"is {_kind_of(value)}"


def _kind_of(value: object) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a fraction", str: "a text", dict: "a table"}
    if isinstance(value, list):
        return "a list" + ("" if all(isinstance(one, str) for one in value) else " with something else than texts")
    return names.get(type(value), "a date or time")


def _beside(value: Any, info: SettingInfo, directory: Path) -> Any:
    """Paths are meant relative to the file, wherever the service is started."""
    if info.kind is Kind.PATHS:
        return [_path(one, directory) for one in value]
    return _path(value, directory) if info.kind is Kind.PATH else value


def _path(text: str, directory: Path) -> Path:
    return Path(text) if text.startswith("~") else directory.absolute() / text
