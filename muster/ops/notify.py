"""Tells the service manager how we are: the sd_notify protocol, https://systemd.io/ and sd_notify(3).

A dozen lines on a datagram socket. Libraries were looked for: `sdnotify` has had no release since 2017 and `sd-notify`
none since 2020, both swallow every error, and neither tells of reloads; `cysystemd` is kept, and is an extension that
needs libsystemd's headers. None is worth a dependency.

**Ready** is an instance that leads, and one that stands by. A standby waits without end by design; were it not ready,
`Type=notify` would kill it after TimeoutStartSec, again and again. It is healthy: it has reached its database, or
its data directory, and takes over by itself. (`/readyz` is another question, for load balancers: who has the picture?)
An instance that still waits for its database is not ready, but asks for more time as long as its loop turns.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

import structlog

from muster.hub import Hub, Role

_log = structlog.get_logger(__name__)

EVERY_S = 5.0
"""Between two looks at the status; half of the watchdog's time where that is shorter."""
SOON_S = 0.2
"""The same until the instance is ready: units that come after it wait for that."""
MORE_TIME_S = 60.0
"""What is asked for, each time, while the instance waits for its database."""
MAX_STATUS_CHARS = 200


class Notifier:
    """One manager's socket; without one every method does nothing. Never raises: the service goes on without it."""

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self._address = address
        self.watchdog_s = watchdog_s if address else None
        """After this long without a sign of life the manager kills us."""
        self.is_ready = False
        self._failed = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], pid: int) -> Notifier:
        """What the manager has set. WATCHDOG_USEC is for us only if WATCHDOG_PID says so, or says nothing."""
        address = environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):  # sd_notify(3): nothing else is one; vsock is for machines
            return cls(None)
        watched = environ.get("WATCHDOG_USEC", "")
        usec = int(watched) if watched.isascii() and watched.isdigit() else 0
        ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        return cls(address, usec / 1e6 if usec and ours else None)

    @property
    def enabled(self) -> bool:
        """Whether anybody listens."""
        return self._address is not None

    def tell(self, **fields: str) -> None:
        """Send one message, e.g. `tell(READY="1", STATUS="leading")`. Does not wait: a full queue loses it."""
        if self._address is None:
            return
        text = "\n".join(f"{name}={value}" for name, value in fields.items())
        # A leading @ stands for the zero byte of an abstract address.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(text.encode(), address)
        except OSError as error:
            if not self._failed:
                _log.warning("the service manager does not listen", address=self._address, error=error.strerror)
            self._failed = True
        else:
            self._failed = False

    def ready(self, **more: str) -> None:
        """The start is over, well."""
        self.is_ready = True
        self.tell(READY="1", **more)

    def stopping(self) -> None:
        """From now on we end."""
        self.tell(STOPPING="1", STATUS="stopping")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Around reading the settings again. The manager needs the clock's value to tell one reload from another.

        Before the instance is ready it says nothing: READY at the end would be a lie.
        """
        if not self.is_ready:
            yield
            return
        self.tell(RELOADING="1", MONOTONIC_USEC=str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000))
        try:
            yield
        finally:
            self.tell(READY="1")


async def keep_told(notifier: Notifier, hub: Hub) -> NoReturn:
    """Tell READY once, STATUS when it changes, and that the loop still turns. Ends only by cancellation."""
    told = ""
    half_s = notifier.watchdog_s / 2 if notifier.watchdog_s else EVERY_S
    while True:
        fields: dict[str, str] = {}
        if (status := status_line(hub)) != told:
            told = fields["STATUS"] = status
        if notifier.watchdog_s:
            fields["WATCHDOG"] = "1"
        if not notifier.is_ready and hub.role in (Role.LEADING, Role.STANDBY):
            notifier.ready(**fields)
        elif not notifier.is_ready:
            notifier.tell(EXTEND_TIMEOUT_USEC=str(int(MORE_TIME_S * 1e6)), **fields)
        elif fields:
            notifier.tell(**fields)
        await asyncio.sleep(min(half_s, EVERY_S if notifier.is_ready else SOON_S))


def status_line(hub: Hub) -> str:
    """One line for `systemctl status`: role, clusters, what is waited for."""
    line = f"{hub.role}"
    if hub.leading is not None and hub.role is Role.LEADING:
        number = len(hub.leading.inventory.clusters)
        line = f"leading, {number} {'cluster' if number == 1 else 'clusters'}"
    elif hub.waiting_for:
        line = f"{hub.role}: {hub.waiting_for}"
    return "".join(c if c.isprintable() else " " for c in line)[:MAX_STATUS_CHARS]
