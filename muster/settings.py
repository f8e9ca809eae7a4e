"""Settings of the service: from `MUSTER_*` variables, overridden by the flags of `muster run`.

Every field says its unit and its reason. What makes no sense is refused at start with the variable, the flag and the
remedy; nothing is corrected silently. The database URL has no flag: flags are seen by every user of the machine (`ps`).
"""

from __future__ import annotations

import difflib
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from store.errors import StoreRefused
from store.owner import default_data_dir
from validator.discovery.kubeconfig import kubeconfig_paths

DEFAULT_LISTEN = "127.0.0.1:8645"

MAX_ENTRIES = 100
"""Most entries of one list setting: more is a pasted file."""

_FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "data_dir": "--data-dir",
        "listen": "--listen",
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

_NOT_OURS = ("MUSTER_SERVER", "MUSTER_SERVICE_", "MUSTER_PORT")
"""The CLI's own variable, and what Kubernetes sets in every pod beside a Service called `muster`."""


class SettingsError(ValueError):
    """Settings that make no sense. Each line names the variable and the flag; no value is quoted that may be secret."""


def _split(separator: str) -> BeforeValidator:
    """A list from one variable; flags bring a list already."""

    def split(value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(separator) if part.strip())
        return value

    return BeforeValidator(split)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _address(text: str) -> tuple[str, int]:
    """`host:port`, with an IPv6 host in brackets. Raises ValueError."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or parts.netloc != text or "@" in text:
        raise ValueError(f"{text!r} is not host:port (write an IPv6 address in brackets: [::1]:8645)")
    return host, port


def _check_listen(text: str) -> str:
    host, port = _address(text)
    if host == "localhost":
        return f"127.0.0.1:{port}"
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise ValueError(f"{host!r} is a name; give the address to listen on, e.g. {DEFAULT_LISTEN}") from None
    if not loopback:
        raise ValueError(
            f"{host} is more than this machine. This release has no access tokens, so whoever reaches the port could "
            f"read the whole fleet. Listen on {DEFAULT_LISTEN} and come through `ssh -L 8645:{DEFAULT_LISTEN} HOST`"
        )
    return text


def _check_reference(text: str) -> str:
    host, port = _address(text)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{host!r} is a name; give an IP address, since a name would test DNS as well") from None
    if port == 0:
        raise ValueError(f"{text!r}: port 0 can't be connected to")
    return text


def _check_otlp(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and parts.hostname
    except ValueError:
        good = None
    if not good or not text.isprintable():
        raise ValueError("not an http:// or https:// URL of an OpenTelemetry collector, e.g. http://127.0.0.1:4318")
    if "@" in parts.netloc:
        raise ValueError("holds a user or password; it would show up in logs")
    return text


def _default_data_dir() -> Path:
    try:
        return default_data_dir()
    except StoreRefused:  # no home; only matters where the embedded database is used, which then names this directory
        return Path("/var/lib/muster")


File = Annotated[Path, AfterValidator(lambda path: path.expanduser())]


class Settings(BaseSettings):
    """How one instance runs. Frozen: a change takes a restart."""

    model_config = SettingsConfigDict(
        env_prefix="MUSTER_",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    # where things are
    database_url: SecretStr | None = None
    """PostgreSQL to keep everything in, `postgresql://user:password@host/database`. None = the embedded one."""
    data_dir: File = Field(default_factory=_default_data_dir)
    """Directory of the embedded database. Default: /var/lib/muster as root, else ~/.local/share/muster."""
    listen: Annotated[str, AfterValidator(_check_listen)] = DEFAULT_LISTEN
    """host:port of the API. Loopback only in this release: there are no tokens yet. Port 0 = any free one."""

    # what is watched
    kubeconfig: Annotated[tuple[File, ...], NoDecode, _split(os.pathsep), Field(max_length=MAX_ENTRIES)] = ()
    """Kubeconfig files, separated as in $KUBECONFIG. Empty: see `kubeconfig_paths`."""
    contexts: Annotated[tuple[str, ...], NoDecode, _split(","), Field(max_length=10_000)] = ()
    """Contexts to take from the kubeconfigs, separated by commas. Empty = all."""
    static: Annotated[tuple[File, ...], NoDecode, _split(os.pathsep), Field(max_length=MAX_ENTRIES)] = ()
    """Files with a YAML list of clusters, separated as paths are."""
    in_cluster: bool = False
    """Whether to watch the cluster in which this runs, with the pod's service account."""

    # how it is asked
    interval_s: Annotated[float, Field(ge=1.0, le=3600.0)] = 30.0
    """Seconds between two questions to a cluster that answers. Below 1 s the answers would not be over in time."""
    timeout_s: Annotated[float, Field(ge=0.1, le=60.0)] = 10.0
    """Seconds that one question may take. Below the interval, or a dead cluster would be asked twice at once."""
    backoff_max_s: Annotated[float, Field(ge=1.0, le=86_400.0)] = 300.0
    """Longest time in seconds between two questions to a cluster that has been dead for long: how late a recovery may
    be seen. Also the most that a server's Retry-After is obeyed."""
    read_every: Annotated[int, Field(ge=1, le=1000)] = 4
    """Every so many questions one namespace is read too: `/readyz` alone can be green while etcd is frozen."""
    reference_targets: Annotated[
        tuple[Annotated[str, AfterValidator(_check_reference)], ...], NoDecode, _split(","), Field(max_length=16)
    ] = ()
    """address:port of things that always answer (a router, a name server), separated by commas. If none of them does,
    it is the hub that is cut off, and alerts are held."""

    # what is kept
    retention_days: Annotated[int, Field(ge=1, le=3650)] = 90
    """Days that history is kept, in whole months: a quarter is what people look back at after an incident."""

    # what it tells of itself
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    """Least level that is logged. Logs tell edges, not ticks: `info` is quiet while nothing changes."""
    log_format: Annotated[Literal["json", "console"], BeforeValidator(_lower)] = "json"
    """`json` = a line an event for machines, `console` = for people at a terminal. Both on stderr."""
    otlp_endpoint: Annotated[str | None, AfterValidator(_check_otlp)] = None
    """Your own OpenTelemetry collector, e.g. http://127.0.0.1:4318. None = metrics are on /metrics only."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.timeout_s >= self.interval_s:
            raise ValueError(
                f"MUSTER_TIMEOUT_S (--timeout) is {self.timeout_s:g} and MUSTER_INTERVAL_S (--interval) is "
                f"{self.interval_s:g}: the timeout has to be below the interval"
            )
        return self

    @property
    def listen_address(self) -> tuple[str, int]:
        """Host and port of the API."""
        return _address(self.listen)

    @property
    def references(self) -> tuple[tuple[str, int], ...]:
        """Address and port of each reference target."""
        return tuple(_address(target) for target in self.reference_targets)

    @property
    def kubeconfig_paths(self) -> tuple[Path, ...]:
        """The files to watch: those named; else, where no other source is named either, what kubectl would read."""
        if self.kubeconfig or self.static or self.in_cluster:
            return self.kubeconfig
        return tuple(kubeconfig_paths(os.environ))


def load_settings(**flags: object) -> Settings:
    """The environment, overridden by the flags that were given (neither None nor empty). Raises `SettingsError`."""
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None and value != []})  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "\n".join(_sentence(problem["loc"], problem["msg"]) for problem in error.errors(include_input=False))
    raise SettingsError(problems)  # outside the except: the cause would hold the values


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each `MUSTER_*` variable that means nothing, which is a misspelt one more often than not."""
    known = [f"MUSTER_{name.upper()}" for name in Settings.model_fields]
    return [
        f"{name} is not a setting" + (f"; did you mean {close[0]}?" if close else "")
        for name in sorted(environ)
        if name.startswith("MUSTER_") and name not in known and not name.startswith(_NOT_OURS)
        for close in [difflib.get_close_matches(name, known, n=1)]
    ]


def _sentence(where: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    if not where:
        return message
    name = str(where[0])
    flag = _FLAGS.get(name)
    return f"MUSTER_{name.upper()}{f' ({flag})' if flag else ''}: {message}"
