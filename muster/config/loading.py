"""From a command line, the environment and the file to settings, knowing where each came from."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from muster.config.fields import CONTRADICTION, PREFIX, Settings
from muster.config.file import FileSettings, read_settings_file
from muster.config.problem import DEFAULT, Origin, Problem, SettingsError, Source
from muster.config.table import TABLE, suggestion
from validator.files import FileError, read_file

MAX_SECRET_BYTES = 16 * 1024

_NOT_OURS = frozenset(
    {
        "MUSTER_CA_FILE",
        "MUSTER_CONFIG",
        "MUSTER_RUNTIME_DIR",
        "MUSTER_SERVER",
        "MUSTER_TELEMETRY",
        "MUSTER_TOKEN_FILE",
    }
)
"""Variables that are no settings of the service: where its file is, and what the other commands read."""

_KUBERNETES = re.compile(r"MUSTER_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")
"""What Kubernetes sets in every pod beside a Service called `muster` or `muster-anything`."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where they come from."""

    settings: Settings
    origins: Mapping[str, Origin]
    """Of every setting."""
    file: Path | None
    """What was read; None if there is no file."""


def place_of_file(config: Path | None, environ: Mapping[str, str], uid: int) -> tuple[Path | None, bool]:
    """Where the settings file is, and whether it was named: then it has to be there."""
    named = config or (Path(environ["MUSTER_CONFIG"]) if environ.get("MUSTER_CONFIG") else None)
    if named is not None:
        return named, True
    if uid == 0:
        return Path("/etc/muster/muster.toml"), False
    base = Path(environ.get("XDG_CONFIG_HOME", ""))
    if not base.is_absolute():  # empty and relative ones are to be ignored, says the specification
        if not environ.get("HOME"):
            return None, False
        base = Path(environ["HOME"]) / ".config"
    return base / "muster" / "muster.toml", False


class Loading:
    """Loads the settings of one command line, again and again."""

    def __init__(self, config: Path | None = None, flags: Mapping[str, object] = MappingProxyType({})) -> None:
        """`flags` by setting; those that were not given are None or empty lists."""
        self.file, self._named = place_of_file(config, os.environ, os.geteuid())
        self._flags = {key: value for key, value in flags.items() if value is not None and value != []}

    def load(self) -> Loaded:
        """Read everything anew. Raises `SettingsError` with all that is wrong.

        A file that was read once has to stay: an editor takes it away for a moment while it saves.
        """
        present = self.file is not None and (self._named or os.path.lexists(self.file))
        file = read_settings_file(self.file) if self.file is not None and present else FileSettings()
        loaded = Loaded(*_join(file, self._flags), self.file if present else None)
        self._named = self._named or present
        return loaded

    def settings(self) -> Settings:
        """Only the settings. Raises `SettingsError`."""
        return self.load().settings


def unknown_variables(environ: Mapping[str, str]) -> list[Problem]:
    """`MUSTER_*` variables that mean nothing, which are misspelt ones more often than not."""
    known = {info.variable for info in TABLE.values()} | _NOT_OURS
    return [
        Problem(
            Origin(Source.VARIABLE, name),
            "",
            "is not a setting" + (f"; did you mean {TABLE[meant].variable}?" if meant else "; unset it"),
        )
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known and not _KUBERNETES.fullmatch(name)
        for meant in [suggestion(name)]
    ]


def _join(file: FileSettings, flags: Mapping[str, object]) -> tuple[Settings, Mapping[str, Origin]]:
    problems = [*file.problems, *unknown_variables(os.environ)]
    variables: dict[str, Any] = EnvSettingsSource(Settings)()
    origins = {
        **dict.fromkeys(TABLE, DEFAULT),
        **file.origins,
        **{key: Origin(Source.VARIABLE, TABLE[key].variable) for key in variables},
        **{key: Origin(Source.FLAG, TABLE[key].flag or key) for key in flags},
    }
    given = {**file.values, **variables, **flags}
    try:
        _take_one_database(given, origins)
        settings = _make(given, origins, quiet=bool(problems))
        if settings.database_url_file is not None and settings.database_url is None:
            given["database_url"] = _secret(settings.database_url_file, origins["database_url_file"])
            origins["database_url"] = Origin(Source.FILE, str(settings.database_url_file))
            settings = _make(given, origins, quiet=bool(problems))
    except SettingsError as error:
        raise SettingsError([*problems, *error.problems]) from None
    if problems:
        raise SettingsError(problems)
    return settings, MappingProxyType(origins)


def _make(given: Mapping[str, Any], origins: Mapping[str, Origin], *, quiet: bool) -> Settings:
    """`quiet` = other mistakes are known, so that contradictions may only be their consequence."""
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = [
            problem
            for detail in error.errors(include_input=False, include_url=False)
            for problem in _explained(detail, origins)
            if not (quiet and detail["type"] == CONTRADICTION)
        ]
    # Outside the except: the cause would hold the values.
    raise SettingsError(problems)


def _explained(detail: ErrorDetails, origins: Mapping[str, Origin]) -> list[Problem]:
    if detail["type"] == CONTRADICTION:
        found = [(max(keys, key=lambda key: origins[key].source), said) for keys, said in detail["ctx"]["all"]]
        return [Problem(origins[key], key, sentence) for key, sentence in found]
    key = str(detail["loc"][0])
    entry = next((f"entry {part + 1}: " for part in detail["loc"][1:] if isinstance(part, int)), "")
    ours = detail["type"] == "value_error"
    message = entry + detail["msg"].removeprefix("Value error, ")
    return [Problem(origins.get(key, DEFAULT), key, message, tells_allowed=ours)]


def _take_one_database(given: dict[str, Any], origins: dict[str, Origin]) -> None:
    """Of the URL and the file with it the stronger source counts; from one source both are a mistake."""
    if "database_url" not in given or "database_url_file" not in given:
        return
    url, file = origins["database_url"], origins["database_url_file"]
    if url.source == file.source:
        raise SettingsError([Problem(file, "database_url_file", "database_url is set as well; keep one of the two")])
    weaker = "database_url" if url.source < file.source else "database_url_file"
    del given[weaker]
    origins[weaker] = DEFAULT


def _secret(path: Path, origin: Origin) -> str:
    try:
        return read_file(path, MAX_SECRET_BYTES).text.strip()
    except FileError as error:
        raise SettingsError([Problem(origin, "database_url_file", f"{error.message}. {error.remedy}")]) from None
