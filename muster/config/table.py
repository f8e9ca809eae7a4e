"""What a person has to know of each setting, read from its field: one row a setting.

The reference page, the example file, `muster config show` and every sentence about a mistake are made from it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from muster.config.fields import PREFIX, Settings

FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "data_dir": "--data-dir",
        "listen": "--listen",
        "hosts": "--host",
        "tls_certificate": "--tls-certificate",
        "tls_key": "--tls-key",
        "behind_proxy": "--behind-proxy",
        "kubeconfig": "--kubeconfig",
        "contexts": "--context",
        "static": "--static",
        "in_cluster": "--in-cluster",
        "interval_s": "--interval",
        "timeout_s": "--timeout",
        "backoff_max_s": "--backoff-max",
        "read_every": "--read-every",
        "retention_days": "--retention-days",
        "reference_targets": "--reference",
        "log_level": "--log-level",
        "log_format": "--log-format",
        "otlp_endpoint": "--otlp-endpoint",
    }
)
"""Of `muster run`."""

_UNITS = {"_s": "seconds", "_h": "hours", "_days": "days"}


class Kind(StrEnum):
    """What the file takes for a setting; the value is how people are told."""

    TRUTH = "true or false"
    WHOLE = "a whole number"
    NUMBER = "a number"
    TEXT = "text in quotes"
    CHOICE = "one of a few words in quotes"
    PATH = "a path in quotes"
    TEXTS = "a list of texts in quotes"
    PATHS = "a list of paths in quotes"


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One row."""

    key: str
    kind: Kind
    allowed: str
    """Kind and bounds in one phrase."""
    unit: str
    default: Any
    """None where there is none, or where it depends on the machine."""
    example: Any
    meaning: str
    secret: bool

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return PREFIX + self.key.upper()

    @property
    def flag(self) -> str | None:
        """Its option of `muster run`."""
        return FLAGS.get(self.key)


def _info(key: str, field: FieldInfo) -> SettingInfo:
    kind, choices = _kind(field.annotation)
    unit = next((unit for ending, unit in _UNITS.items() if key.endswith(ending)), "")
    default = None if field.default_factory else field.default
    return SettingInfo(
        key=key,
        kind=kind,
        allowed=_allowed(kind, choices, field.metadata, unit),
        unit=unit,
        default=default,
        example=field.examples[0] if field.examples else default,
        meaning=" ".join((field.description or "").split()),
        secret=SecretStr in get_args(field.annotation),
    )


def _kind(annotation: Any) -> tuple[Kind, tuple[str, ...]]:
    """The kind, and the words if it is a choice."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin is Literal:
        return Kind.CHOICE, arguments
    if origin is tuple:
        return (Kind.PATHS if _kind(arguments[0])[0] is Kind.PATH else Kind.TEXTS), ()
    if NoneType in arguments:
        return _kind(next(one for one in arguments if one is not NoneType))
    kinds = {bool: Kind.TRUTH, int: Kind.WHOLE, float: Kind.NUMBER, Path: Kind.PATH}
    return kinds.get(annotation, Kind.TEXT), ()


def _allowed(kind: Kind, choices: tuple[str, ...], metadata: list[Any], unit: str) -> str:
    bounds = {
        name: bound for one in metadata for name in ("ge", "le", "max_length") if (bound := getattr(one, name, None))
    }
    if choices:
        return ", ".join(choices)
    if "le" in bounds:
        return f"{kind}, {bounds['ge']:.12g} to {bounds['le']:.12g} {unit}".rstrip()
    if "max_length" in bounds:
        return f"{kind}, at most {bounds['max_length']}"
    return kind


TABLE: Mapping[str, SettingInfo] = MappingProxyType(
    {key: _info(key, field) for key, field in Settings.model_fields.items()}
)


def suggestion(word: str) -> str:
    """The key that may have been meant by a key, variable or flag that does not exist; empty if none looks like it."""
    named = {key: key for key in TABLE} | {
        flag.removeprefix("--").replace("-", "_"): key for key, flag in FLAGS.items()
    }
    plain = word[:100].lower().removeprefix(PREFIX.lower()).lstrip("-").replace("-", "_")
    found = difflib.get_close_matches(plain, named, n=1)
    return named[found[0]] if found else ""
