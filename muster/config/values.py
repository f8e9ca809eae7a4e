"""What single values of settings have to look like. Each function gives the value back, tidied, or raises ValueError.

Their sentences hold the remedy, and quote nothing that may be secret.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, SecretStr

from collector.location import MAX_OWNER_CHARS
from store.address import parse_address
from store.errors import StoreRefused
from uplink.client.consent.origin import origin
from uplink.client.enrolment.secret_name import SecretName
from uplink.client.network.proxy import DIRECT
from uplink.client.network.proxy import parse as parse_proxy
from validator.locations import endpoint_problem
from validator.resources.stork import checked_paths

DEFAULT_LISTEN = "127.0.0.1:8645"

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
MAX_NAME_CHARS = 253
"""Of a host name: what DNS allows."""


def split(separator: str) -> BeforeValidator:
    """A list from one variable; flags and the file bring a list already."""

    def parts(value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(separator) if part.strip())
        return value

    return BeforeValidator(parts)


def lower(value: Any) -> Any:
    """Choices are taken in any case."""
    return value.lower() if isinstance(value, str) else value


def path(value: Path) -> Path:
    """A path, with the home directory filled in."""
    if not str(value).isprintable():
        raise ValueError("holds a control character, and is no path that anybody has meant")
    try:
        return value.expanduser()
    except RuntimeError:
        raise ValueError(f"there is no home directory for {value.parts[0]}; write the path in full") from None


def address(text: str) -> tuple[str, int]:
    """`host:port`, with an IPv6 host in brackets."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or parts.netloc != text or "@" in text:
        raise ValueError(f"{text!r} is not host:port (write an IPv6 address in brackets: [::1]:8645)")
    return host, port


def listen(text: str) -> str:
    """An address of this machine to listen on, with its port."""
    host, port = address(text)
    if host == "localhost":
        return f"127.0.0.1:{port}"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{host!r} is a name; give the address to listen on, e.g. {DEFAULT_LISTEN}") from None
    return text


def maybe_listen(text: str | None) -> str | None:
    """The same, where nobody need listen."""
    return None if text is None else listen(text)


def agent_url(text: str | None) -> str | None:
    """What agents call: `https://HOST` or `https://HOST:PORT`."""
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        good = parts.scheme == "https" and parts.hostname and parts.port != 0
    except ValueError:
        good = None
    if not good or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("not an https:// URL, e.g. https://agents.muster.example.com:8646")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("more than https://HOST:PORT; agents know the paths themselves")
    return text.rstrip("/")


def loopback(text: str) -> str:
    """The same, but of loopback: for the demo, which has no TLS and no secrets."""
    text = listen(text)
    if not ipaddress.ip_address(address(text)[0]).is_loopback:
        raise ValueError(f"{text} is more than this machine; the demo listens on loopback only, e.g. {DEFAULT_LISTEN}")
    return text


def reference(text: str) -> str:
    """A reference target."""
    host, port = address(text)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{host!r} is a name; give an IP address, since a name would test DNS as well") from None
    if port == 0:
        raise ValueError(f"{text!r}: port 0 can't be connected to")
    return text


def host(text: str) -> str:
    """A host name in lower case, or an address as Python writes it, without brackets: as a URL's host is compared."""
    name = text.strip().lower().rstrip(".")
    literal = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        found = ipaddress.ip_address(literal)
    except ValueError:
        labels = name.split(".")
        if len(name) > MAX_NAME_CHARS or labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):
            raise ValueError(
                f"{text[:MAX_NAME_CHARS]!r} is neither a host name nor an address; write muster.example.com, without "
                "scheme, port, path or wildcard"
            ) from None
        return name
    if found.is_unspecified:
        raise ValueError(f"{text!r} is no name by which anybody calls; give the names in the URLs that people use")
    return str(found)


def otlp(text: str | None) -> str | None:
    """URL of an OpenTelemetry collector."""
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


def telemetry_url(text: str | None) -> str | None:
    """An endpoint for telemetry, in its one form."""
    return None if text is None else origin(text)


def telemetry_secret(text: str | None) -> str | None:
    """The Secret for the keys of telemetry."""
    return None if text is None else str(SecretName.parse(text))


def telemetry_proxy(secret: SecretStr | None) -> SecretStr | None:
    """A proxy that telemetry can go through, or `direct`."""
    if secret is not None and secret.get_secret_value() != DIRECT:
        parse_proxy(secret.get_secret_value())
    return secret


def database_url(secret: SecretStr | None) -> SecretStr | None:
    """What the store will take; better to hear it from `muster config check`."""
    if secret is None:
        return None
    try:
        parse_address(secret.get_secret_value())
    except StoreRefused as refused:
        raise ValueError(refused.message.removeprefix("MUSTER_DATABASE_URL ")) from None
    return secret


def owner(text: str) -> str:
    """Somebody whom a location can have as its owner."""
    name = text.strip()
    if not name or len(name) > MAX_OWNER_CHARS or not name.isprintable():
        raise ValueError(f"an owner is 1 to {MAX_OWNER_CHARS} printable characters, as locations have it")
    return name


def endpoint(text: str) -> str:
    """URL of an S3-compatible store, without a slash at its end."""
    problem = endpoint_problem(text)
    if problem is not None:
        raise ValueError(problem)
    return text.rstrip("/")


def status_paths(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Paths to a state in Stork's resources."""
    return checked_paths(paths)
