"""Whether the service can listen, or who does already."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from muster.ops.doctor.finding import Finding, ok, problem
from muster.ops.doctor.service import ServiceSeen

_LISTEN = "0A"
"""TCP_LISTEN in /proc/net/tcp."""


@dataclass(frozen=True, slots=True)
class PortSeen:
    """An attempt to listen."""

    address: str
    error: int | None
    """errno; None = it can be listened on."""
    holder: int | None = None
    """Process id of whoever listens, where that can be seen: as root, or of our own processes."""
    holder_name: str = ""


def look(host: str, port: int) -> PortSeen:
    """Listen for a moment."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            attempt.bind((host, port))
            attempt.listen()
    except OSError as error:
        pid = holder_of(port) if error.errno == errno.EADDRINUSE else None
        return PortSeen(address, error.errno or errno.EIO, pid, _name(pid))
    return PortSeen(address, None)


def judge(seen: PortSeen, service: ServiceSeen | None) -> Finding:
    """Pure."""
    by = f" (process {seen.holder}, {seen.holder_name})" if seen.holder is not None else ""
    elsewhere = "Choose another address with --listen or MUSTER_LISTEN"
    match seen.error:
        case None:
            return ok("port", f"{seen.address} can be listened on; no service runs there")
        case errno.EADDRINUSE if service is not None:
            return ok("port", f"Muster listens on {seen.address}{by}")
        case errno.EADDRINUSE:
            return problem("port", f"something else listens on {seen.address}{by}", f"{elsewhere}, or end that.")
        case errno.EACCES:
            return problem("port", f"{seen.address} may not be listened on", f"{elsewhere}, with a port from 1024 on.")
        case errno.EADDRNOTAVAIL:
            return problem("port", f"this machine has no address {seen.address}", f"{elsewhere}.")
        case number:
            return problem("port", f"{seen.address}: {os.strerror(number)}", f"{elsewhere}.")


def holder_of(port: int) -> int | None:
    """The process that listens there, from /proc (Linux); None where it can't be seen."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError, IndexError, ValueError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if str(descriptor.readlink()) in inodes:
                    return int(process.name)
    return None


def _name(pid: int | None) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip() if pid is not None else ""
    return ""
