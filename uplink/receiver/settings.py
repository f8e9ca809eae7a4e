"""The receiver's settings: each a variable `MUSTER_RECEIVER_…`, and most a flag."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from yarl import URL

from store.owner import default_data_dir
from uplink.receiver.enrolment import ASK_AGAIN_S
from uplink.receiver.retention import RETENTION_DAYS
from uplink.wire.bounds import LIFETIME_DAYS, MAX_LIFETIME_DAYS

PREFIX = "MUSTER_RECEIVER_"
DEFAULT_LISTEN = "127.0.0.1:8646"


class SettingsError(ValueError):
    """Settings make no sense; the text has a line for each."""


def _listen(text: str) -> str:
    try:
        url = URL(f"//{text}")
        ipaddress.ip_address(url.host or "")
        right = url.explicit_port is not None and url.raw_authority == text and url.raw_path == "/"[: len(url.raw_path)]
    except ValueError:
        right = False
    if not right:
        raise ValueError(f"has to be an address with a port, e.g. {DEFAULT_LISTEN} or [::1]:8646")
    return text


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class ReceiverSettings(BaseSettings):
    """What `muster receiver` needs to know."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

    data_dir: Path = Field(default_factory=lambda: default_data_dir().with_name("muster-receiver"))
    """Holds the CA (`authority/`) and, without a `database_url`, the embedded database (`database/`)."""
    database_url: SecretStr | None = None
    """PostgreSQL of its own: it has no tables in common with the service's."""
    listen: Annotated[str, AfterValidator(_listen)] = DEFAULT_LISTEN
    hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = ("localhost", "127.0.0.1", "::1")
    """Names and addresses in the certificate that our CA makes for the listener."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    """A certificate of another CA for the listener, with its chain; clients need that CA as an anchor, too."""
    lifetime_days: Annotated[int, Field(ge=1, le=MAX_LIFETIME_DAYS)] = LIFETIME_DAYS
    retention_days: Annotated[int, Field(ge=1, le=3650)] = RETENTION_DAYS
    ask_again_s: Annotated[int, Field(ge=1, le=86_400)] = ASK_AGAIN_S
    """How long a client is told to wait that nobody has approved yet."""
    quota_mib: Annotated[int, Field(ge=1, le=1024 * 1024)] = 2048
    """Of one organisation, compressed."""
    forward: str | None = None
    """Base URL of another OTLP backend."""
    forward_headers_file: Path | None = None
    """Headers that it wants, e.g. an API key: lines of `Name: value`, not to be read by everybody."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    @property
    def authority_dir(self) -> Path:
        """Of the CA."""
        return self.data_dir / "authority"

    @property
    def database_dir(self) -> Path:
        """Of the embedded database."""
        return self.data_dir / "database"

    @property
    def address(self) -> tuple[str, int]:
        """Where to listen."""
        url = URL(f"//{self.listen}")
        return url.host or "", url.explicit_port or 0

    @property
    def tls_files(self) -> tuple[Path, Path] | None:
        """Certificate and key, if they are not ours to make."""
        return None if self.tls_certificate is None or self.tls_key is None else (self.tls_certificate, self.tls_key)


def load_settings(**flags: Any) -> ReceiverSettings:
    """Flags before variables; a flag that is None or empty was not given. Raises `SettingsError`."""
    given = {name: value for name, value in flags.items() if value not in (None, [], ())}
    try:
        settings = ReceiverSettings(**given)
    except ValidationError as error:
        lines = [f"{PREFIX}{'.'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in error.errors()]
        raise SettingsError("\n".join(lines)) from error
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise SettingsError(f"{PREFIX}TLS_CERTIFICATE and {PREFIX}TLS_KEY go together")
    if settings.forward is None and settings.forward_headers_file is not None:
        raise SettingsError(f"{PREFIX}FORWARD_HEADERS_FILE needs {PREFIX}FORWARD")
    return settings
