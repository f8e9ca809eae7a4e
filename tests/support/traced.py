"""What processes ask of the kernel's network, as strace sees it: whatever library asks, and from whichever thread."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CALLS: Final = "connect,sendto,sendmsg,sendmmsg"

_PORT: Final = re.compile(r"sin6?_port=htons\((\d+)\)")
_ADDRESS: Final = re.compile(r'inet_(?:addr|pton)\((?:AF_INET6?, )?"([^"]+)"')


@dataclass(frozen=True, slots=True)
class Called:
    """One call to an internet socket that names where to."""

    port: int
    address: str
    line: str


class Trace:
    """A file that strace writes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def command(self) -> tuple[str, ...]:
        """What starts the rest of its arguments, traced with all that they start; their pid stays the child's."""
        found = shutil.which("strace")
        assert found is not None
        return (
            found,
            *("-D", "-f", "-qq", "--seccomp-bpf", "-e", f"trace={_CALLS}", "-e", "signal=none"),
            *("-s", "300", "-o", str(self._path)),
        )

    def size(self) -> int:
        """To ask for what came after it."""
        return self._path.stat().st_size

    def lines(self, after: int = 0) -> list[str]:
        """Whole lines, beginning at an offset."""
        with self._path.open("rb") as file:
            file.seek(after)
            return file.read().decode(errors="replace").splitlines()

    def called(self, after: int = 0) -> list[Called]:
        """Every call that names an IP address, of a TCP connection or of a datagram."""
        return [
            Called(int(port[1]), address[1], line)
            for line in self.lines(after)
            if (port := _PORT.search(line)) and (address := _ADDRESS.search(line))
        ]

    def asked_for(self, label: str, after: int = 0) -> list[str]:
        """Calls whose payload has a label of a DNS name, as DNS has it or in plain text."""
        return [line for line in self.lines(after) if label in line]
