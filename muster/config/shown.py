"""The settings as people and programs see them: value, place, and nothing secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from pydantic import SecretStr

from muster.config.changes import AT_RUN_TIME
from muster.config.loading import Loaded
from muster.config.problem import Source
from muster.logs import MASK


def shown(loaded: Loaded) -> list[dict[str, Any]]:
    """A row a setting, in the order of the fields."""
    return [
        {
            "key": key,
            "value": _plain(getattr(loaded.settings, key)),
            "source": origin.source.name.lower(),
            "place": "" if origin.source is Source.DEFAULT else str(origin),
            "changes_at_run_time": key in AT_RUN_TIME,
        }
        for key, origin in loaded.origins.items()
    ]


def masked_url(url: str) -> str:
    """The URL with every password in it masked: that of the user, and all values after the `?`."""
    try:
        parts = urlsplit(url)
        if not parts.scheme or not parts.netloc:
            return MASK
        parameters = "&".join(f"{name}={MASK}" for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        return MASK
    user, at, host = parts.netloc.rpartition("@")
    user = f"{user.partition(':')[0]}:{MASK}" if ":" in user else user
    return urlunsplit((parts.scheme, f"{user}{at}{host}", parts.path, parameters, ""))


def summary(loaded: Loaded) -> str:
    """What is in effect from where, in one line."""
    count = {source: sum(origin.source is source for origin in loaded.origins.values()) for source in Source}
    names = {Source.FLAG: "flags", Source.VARIABLE: "MUSTER_ variables", Source.FILE: str(loaded.file)}
    given = [f"{count[source]} from {name}" for source, name in names.items() if count[source]]
    file = [] if loaded.file else ["no settings file"]
    return ", ".join([*file, *given, f"{count[Source.DEFAULT]} by default"])


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return masked_url(value.get_secret_value())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str) and "://" in value:
        return masked_url(value)
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
