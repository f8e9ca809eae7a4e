"""YAML (and so JSON) as configuration needs it: mappings, lists, strings, booleans, null; nothing that surprises.

Built on libyaml's events instead of `yaml.load`, for four reasons: anchors and aliases are refused before anything is
expanded (billion laughs); duplicate keys are errors (`yaml.load` takes the last); scalars stay strings, so that a
cluster named `007` or a label `no` is what was written; and a fleet of 10,000 contexts (60 MB) takes 1 s and no tree
of nodes.
"""

from __future__ import annotations

from typing import Any

import yaml

from validator.file_thread import breathe
from validator.printable import printable

Value = Any
"""dict[str, Value] | list[Value] | str | bool | None. Not spelt out: recursive types help no reader here."""

MAX_DEPTH = 32
"""Kubeconfigs are 6 deep; their free-form `extensions` may be deeper."""
_BREATHE_EVERY = 256
"""Events: some 0.5 ms of work (see `breathe`)."""
_STRING_TAG = "tag:yaml.org,2002:str"


class YamlError(Exception):
    """The text is not acceptable; the message says what and on which line, and quotes no value."""


def parse_yaml(text: str) -> Value:
    """The one document in `text`; None if it is empty. Raises `YamlError`."""
    try:
        loader = yaml.CSafeLoader(text)
        try:
            return _document(loader)
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        raise YamlError(f"holds a control or invalid character at offset {error.position}") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise YamlError(f"{line}{printable(error.problem or 'is no YAML', 200)}") from error
    except yaml.YAMLError as error:
        raise YamlError("is no YAML") from error


class _Open:
    """A collection that is being filled."""

    __slots__ = ("key", "value")

    def __init__(self, value: dict[str, Value] | list[Value]) -> None:
        self.value = value
        self.key: str | None = None


def _document(loader: yaml.CSafeLoader) -> Value:
    result: Value = None
    documents = 0
    stack: list[_Open] = []
    seen = 0
    while True:
        event = loader.get_event()
        seen += 1
        if seen % _BREATHE_EVERY == 0:
            breathe()
        if isinstance(event, yaml.ScalarEvent):
            done = _scalar(event, is_key=bool(stack) and isinstance(stack[-1].value, dict) and stack[-1].key is None)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            _refuse_anchor(event)
            _check_place(stack, event)
            stack.append(_Open({} if isinstance(event, yaml.MappingStartEvent) else []))
            continue
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            done = stack.pop().value
        elif isinstance(event, yaml.AliasEvent):
            raise YamlError(f"{_line(event)}: aliases (*name) are not accepted; write the value out")
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise YamlError(f"{_line(event)}: a second document begins; keep one in a file")
            continue
        elif isinstance(event, yaml.StreamEndEvent):
            return result
        else:
            continue
        if stack:
            _put(stack[-1], done, event)
        else:
            result = done


def _put(inside: _Open, done: Value, event: yaml.Event) -> None:
    if isinstance(inside.value, list):
        inside.value.append(done)
    elif inside.key is None:
        if done in inside.value:
            raise YamlError(f"{_line(event)}: the key {printable(done)!r} is there twice")
        inside.key = done
    else:
        inside.value[inside.key] = done
        inside.key = None


def _check_place(stack: list[_Open], event: yaml.Event) -> None:
    if len(stack) >= MAX_DEPTH:
        raise YamlError(f"{_line(event)}: is nested deeper than {MAX_DEPTH}")
    if stack and isinstance(stack[-1].value, dict) and stack[-1].key is None:
        raise YamlError(f"{_line(event)}: a key is a mapping or a list; keys are plain words")


def _refuse_anchor(event: yaml.NodeEvent) -> None:
    if event.anchor is not None:
        raise YamlError(f"{_line(event)}: anchors (&name) are not accepted; write the value out")
    if getattr(event, "tag", None) not in {None, "!", _STRING_TAG}:
        raise YamlError(f"{_line(event)}: tags (!name) are not accepted")


def _scalar(event: yaml.ScalarEvent, *, is_key: bool) -> Value:
    _refuse_anchor(event)
    text: str = event.value
    quoted = event.style not in {None, ""} or event.tag is not None
    if is_key or quoted:
        return text
    if text in {"", "~", "null", "Null", "NULL"}:
        return None
    if text in {"true", "True", "TRUE"}:
        return True
    if text in {"false", "False", "FALSE"}:
        return False
    return text


def _line(event: yaml.Event) -> str:
    return f"line {event.start_mark.line + 1 if event.start_mark else 0}"
