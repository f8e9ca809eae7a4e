"""Settings of `muster agent`: options and MUSTER_AGENT_* variables, checked together.

Not the service's settings: those bring pydantic-settings, a file, and a reload, none of which a pod of 192 MiB needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from uuid import UUID

from validator.agent.buffer import DEFAULT_VERDICTS
from validator.locations import Environment, endpoint_problem, environment_from
from validator.printable import printable
from validator.probes.azure_clouds import CLOUDS

DEFAULT_TOKEN_FILE = Path("/var/run/secrets/muster/token")
"""Where the chart mounts the projected token."""

MAX_BUFFER = 100_000
"""About 100 MB; more than a pod of an agent has."""

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("json", "console")


class AgentSettingsError(Exception):
    """Settings that make no sense. `problems` are sentences that name the option and the remedy."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What an agent needs to know that its hub must not tell it."""

    hub: str
    """URL of the hub's agent listener: https, and nobody else is shown the token."""
    cluster_id: UUID
    """As which the hub has registered this cluster."""
    token_file: Path = DEFAULT_TOKEN_FILE
    """The projected service-account token, with the audience `muster:<hub id>`."""
    ca_file: Path | None = None
    """What vouches for the hub's certificate, and nothing else does; None = the system's roots."""
    storage_ca_file: Path | None = None
    """Of stores in the house: trusted for storage besides the system's roots."""
    allowed_endpoints: frozenset[str] = frozenset()
    """S3-compatible stores that a location may name."""
    azure: tuple[Environment, ...] = (Environment.PUBLIC,)
    """The clouds of Azure that may be shown this pod's token."""
    buffer: int = DEFAULT_VERDICTS
    """Verdicts that are kept while the hub is away."""
    health_listen: tuple[str | None, int] | None = None
    """Where /healthz and /readyz are answered (host None = all addresses); None = nowhere."""
    log_level: str = "info"
    log_format: Literal["json", "console"] = "json"


def settings_from(
    *,
    hub: str,
    cluster: str,
    token_file: Path,
    ca_file: Path | None,
    storage_ca_file: Path | None,
    allow_endpoint: Iterable[str],
    azure_environment: Iterable[str],
    buffer: int,
    health_listen: str,
    log_level: str,
    log_format: str,
    environ: Mapping[str, str],
) -> AgentSettings:
    """The settings, of what was typed. Raises `AgentSettingsError` with all that is wrong."""
    problems: list[str] = []

    def check(problem: str | None) -> None:
        if problem is not None:
            problems.append(problem)

    check(_hub_problem(hub))
    cluster_id = _uuid(cluster)
    check(
        None
        if cluster_id
        else f"--cluster: {printable(cluster)!r} is no UUID; it is what `muster clusters add` printed"
    )
    endpoints = frozenset(each.rstrip("/") for each in allow_endpoint)
    for endpoint in sorted(endpoints):
        wrong = endpoint_problem(endpoint)
        check(None if wrong is None else f"--allow-endpoint: {printable(endpoint)}: {wrong}")
    azure = list[Environment]()
    for name in azure_environment:
        found = environment_from(name)
        if found is None:
            check(f"--azure-environment: {printable(name)!r} is none of {', '.join(Environment)}")
        else:
            azure.append(found)
    check(None if 1 <= buffer <= MAX_BUFFER else f"--buffer: {buffer} is not between 1 and {MAX_BUFFER}")
    listen = _listen(health_listen)
    check("--health-listen: give HOST:PORT, or :PORT for all addresses" if listen is None and health_listen else None)
    check(None if log_level in LEVELS else f"--log-level: give one of {', '.join(LEVELS)}")
    check(None if log_format in FORMATS else f"--log-format: give one of {', '.join(FORMATS)}")
    if problems or cluster_id is None:
        raise AgentSettingsError(problems)
    return AgentSettings(
        hub=hub.rstrip("/"),
        cluster_id=cluster_id,
        token_file=token_file,
        ca_file=ca_file,
        storage_ca_file=storage_ca_file,
        allowed_endpoints=endpoints,
        azure=tuple(dict.fromkeys(azure)) or (_injected(environ),),
        buffer=buffer,
        health_listen=listen,
        log_level=log_level,
        log_format="console" if log_format == "console" else "json",
    )


def _injected(environ: Mapping[str, str]) -> Environment:
    """The cloud that the webhook has injected the authority of: where this pod's identity is at home."""
    authority = environ.get("AZURE_AUTHORITY_HOST", "").rstrip("/")
    return next((each for each, cloud in CLOUDS.items() if cloud.authority == authority), Environment.PUBLIC)


def _hub_problem(url: str) -> str | None:
    rule = "--hub: give https://HOST or https://HOST:PORT"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return rule
    if parts.username is not None or parts.password is not None:
        return f"{rule}, without a user or password; the agent shows its service account's token"
    if parts.scheme == "http":
        return f"{rule}; over http:// the token could be read on the way"
    if parts.scheme != "https" or not parts.hostname or port == 0 or "?" in url or "#" in url or not url.isprintable():
        return rule
    return None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _listen(text: str) -> tuple[str | None, int] | None:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if port is None or parts.netloc != text or "@" in text:
        return None
    return host, port
