"""Server, CA, proxy: from the text of an entry to an `Endpoint`. Pure but for the CA file, which the caller reads."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from validator import pem
from validator.discovery.fields import FieldError, Fields, decoded, refused
from validator.files import FileError
from validator.model import Endpoint, Proxy

MAX_HOST_CHARS = 253
"""RFC 1035's bound of a name."""

MAX_PATH_CHARS = 500
"""Rancher's prefixes have some 30."""

_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*")
"""Segments of RFC 3986's `pchar`, without escapes: nobody's prefix needs them, and they could hide a slash or a dot."""

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")

CheckedCa = Callable[[str], str]
"""`pem.ca_bundle`, or something that remembers what it has checked."""


def endpoint_of(fields: Fields, read_file: Callable[[Path], str], checked_ca: CheckedCa = pem.ca_bundle) -> Endpoint:
    """Where the entry's API server answers. `read_file` may raise `FileError`. Raises `FieldError`."""
    host, port, path = server_address(fields)
    insecure = fields.flag("insecure-skip-tls-verify")
    ca_pem = _ca(fields, read_file, checked_ca)
    if insecure and ca_pem is not None:
        raise FieldError(
            "insecure-skip-tls-verify is set beside a certificate-authority, which kubectl refuses too",
            "Remove insecure-skip-tls-verify.",
        )
    server_name = fields.line("tls-server-name", MAX_HOST_CHARS)
    if server_name is not None:
        server_name = checked_host("tls-server-name", server_name)
    return Endpoint(host, port, ca_pem, server_name, insecure, _proxy(fields), path)


def server_address(fields: Fields) -> tuple[str, int, str]:
    """Host, port and path prefix of `server`. Raises `FieldError`."""
    text = fields.line("server")
    if text is None:
        raise FieldError("server is missing", "Write server: https://HOST:PORT.")
    parts = _split("server", text)
    if parts.scheme != "https":
        raise FieldError(
            f"server is not an https:// URL{_scheme_seen(parts)}: the credential would travel in clear text",
            "Write server: https://HOST:PORT.",
        )
    if "@" in parts.netloc:
        raise FieldError("server holds a user name or password", "Remove what stands before the @.")
    if parts.query or parts.fragment:
        raise FieldError("server has a ? or # part", "Write server: https://HOST:PORT, no more.")
    path = parts.path.rstrip("/")
    if len(path) > MAX_PATH_CHARS or not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
        raise FieldError(
            "server has a path that no API server can have", "Write server: https://HOST:PORT, or with a proxy's path."
        )
    return *_host_and_port("server", parts, 443), path


def checked_host(field: str, text: str) -> str:
    """A DNS name or address in its one spelling. Raises `FieldError`."""
    host = text.lower().removesuffix(".")
    if ":" in host:
        try:
            address = IPv6Address(host)
        except ValueError as error:
            raise FieldError(f"{field} holds a bad IPv6 address", f"Correct {field}.") from error
        if address.scope_id:
            raise FieldError(f"{field} has an IPv6 zone (%…)", "Use an address that is valid beyond one link.")
        return str(address)
    labels = host.split(".")
    if labels[-1].isdigit():
        try:
            return str(IPv4Address(host))
        except ValueError as error:
            raise FieldError(f"{field} holds a bad IPv4 address", f"Correct {field}.") from error
    if len(host) > MAX_HOST_CHARS or not all(_LABEL.fullmatch(label) for label in labels):
        raise FieldError(
            f"{field} holds no valid host name", f"Correct {field}; write a name beyond ASCII in its xn-- form."
        )
    return host


def _ca(fields: Fields, read_file: Callable[[Path], str], checked_ca: CheckedCa) -> str | None:
    field = "certificate-authority-data"  # wins over the file, as for kubectl
    text = fields.text(field, pem.MAX_CA_BYTES * 4 // 3 + 1024)
    if text is not None and "-----BEGIN" not in text:
        text = decoded(field, text)
    if text is None and (path := fields.path("certificate-authority")) is not None:
        field = f"certificate-authority ({path})"
        try:
            text = read_file(path)
        except FileError as error:
            raise FieldError(f"certificate-authority: {error.message}", error.remedy) from error
    if text is None:
        return None
    try:
        return checked_ca(text)
    except ValueError as error:
        raise FieldError(f"{field} {error}", "Fetch the cluster's CA certificate anew, in PEM.") from error


def _proxy(fields: Fields) -> Proxy | None:
    text = fields.line("proxy-url")
    if text is None:
        return None
    if fields.origin.foreign_because is not None:
        raise refused("proxy-url", "sends the hub's connections elsewhere", "Remove it", fields.origin)
    parts = _split("proxy-url", text)
    if parts.scheme != "http":
        raise FieldError(
            f"proxy-url is not an http:// URL{_scheme_seen(parts)}: only HTTP CONNECT is spoken to proxies, no TLS "
            "and no SOCKS",
            "Use an http:// proxy, or a direct way to the cluster.",
        )
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise FieldError("proxy-url has a path", "Write proxy-url: http://[USER:PASSWORD@]HOST:PORT.")
    host, port = _host_and_port("proxy-url", parts, 80)
    if parts.username is None:
        return Proxy(host, port)
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(host, port, "Basic " + base64.b64encode(user.encode()).decode())


def _split(field: str, text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError as error:  # unbalanced brackets
        raise FieldError(f"{field} is no URL", f"Correct {field}.") from error


def _scheme_seen(parts: SplitResult) -> str:
    known = parts.scheme in {"http", "https", "socks5", "socks5h", "socks4"}  # anything else may be a host or a secret
    return f" but {parts.scheme}://" if known else ""


def _host_and_port(field: str, parts: SplitResult, default_port: int) -> tuple[str, int]:
    try:
        port = parts.port
    except ValueError as error:
        raise FieldError(f"{field} has a bad port", f"Write a port from 1 to 65535 in {field}.") from error
    if port == 0:
        raise FieldError(f"{field} has port 0", f"Write a port from 1 to 65535 in {field}.")
    if not parts.hostname:
        raise FieldError(f"{field} names no host", f"Write the host in {field}.")
    if ":" in parts.hostname and "[" not in parts.netloc:
        raise FieldError(f"{field} has an IPv6 address without brackets", "Write [ADDRESS]:PORT.")
    return checked_host(field, parts.hostname), default_port if port is None else port
