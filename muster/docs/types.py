"""What a JSON schema allows, in words: for tables that people read."""

from __future__ import annotations

from typing import Any

from validator.reasons import Reason

Json = dict[str, Any]

_FEW = 12
"""Values that are listed; more of them make no table readable."""

_HUGE = 2**62
"""A bound above this is the database's, and nobody meets it."""


def in_words(schema: Json, definitions: Json) -> str:
    """One line of Markdown. `definitions` are what its references lead to; documents are linked, the rest is told."""
    if name := str(schema.get("$ref", "")).rpartition("/")[2]:
        return in_words(definitions[name], definitions) if "enum" in definitions[name] else f"[{name}](#{name.lower()})"
    if "allOf" in schema:
        return in_words(schema["allOf"][0], definitions)
    if "anyOf" in schema:
        return _either([in_words(each, definitions) for each in schema["anyOf"]])
    if "enum" in schema:
        return _values(schema["enum"])
    match schema.get("type"):
        case "array":
            items = schema["items"]
            return f"{'some' if 'enum' in items else 'list'} of {in_words(items, definitions)}"
        case "object":
            values = schema.get("additionalProperties")
            return f"object of {in_words(values, definitions)}" if isinstance(values, dict) and values else "object"
        case "string":
            return _text(schema)
        case "integer" | "number" as kind:
            return ", ".join(["whole number" if kind == "integer" else "number", *_bounds(schema)])
        case "boolean":
            return "true or false"
        case "null":
            return "null"
    return "anything"


def _either(kinds: list[str]) -> str:
    if {"whole number", "number"} <= set(kinds):
        kinds.remove("whole number")
    return " or ".join(kinds)


def _values(values: list[str]) -> str:
    if set(values) == {reason.value for reason in Reason}:
        return "the [reasons](reasons.md)"
    listed = ", ".join(f"`{value}`" for value in values[:_FEW])
    return listed if len(values) <= _FEW else f"{listed}, …"


def _text(schema: Json) -> str:
    if schema.get("format") == "date-time":
        return "moment"
    words = ["text"]
    if examples := schema.get("examples"):
        words.append(f"e.g. `{examples[0]}`")
    elif pattern := schema.get("pattern"):
        words.append(f"`{pattern}`")
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    if most is not None:
        words.append(f"{least} to {most} characters" if least else f"at most {most} characters")
    return ", ".join(words)


def _bounds(schema: Json) -> list[str]:
    least, most = schema.get("minimum"), schema.get("maximum", schema.get("exclusiveMaximum"))
    if most is not None and most > _HUGE:
        most = None
    if least is not None and most is not None:
        return [f"{least} to {most}"]
    if (above := schema.get("exclusiveMinimum")) is not None:
        return [f"above {above}" + (f", at most {most}" if most is not None else "")]
    return [f"at least {least}"] if least is not None else [f"at most {most}"] if most is not None else []
