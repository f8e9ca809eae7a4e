"""Names to addresses for the uplink: c-ares on the loop, from the first question on and until it is cancelled.

`validator.net.resolver` was not taken: a look-up that nobody waits for any more goes on asking name servers there, and
after off not one packet may leave (H3). Nothing exists before the first question, neither socket nor thread.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import aiodns
from aiohttp.abc import AbstractResolver, ResolveResult

MAX_ADDRESSES: Final = 8
"""Of one name: each may cost a connection that does not come about."""

TRY_S: Final = 2.0
TRIES: Final = 3


class Names(AbstractResolver):
    """A resolver for aiohttp. /etc/hosts and /etc/resolv.conf are honoured; IPv6-only names are names."""

    def __init__(
        self, nameservers: Sequence[str] | None = None, udp_port: int | None = None, try_s: float = TRY_S
    ) -> None:
        """Without name servers those of /etc/resolv.conf."""
        self._options: dict[str, Any] = {"nameservers": nameservers, "timeout": try_s, "tries": TRIES}
        if udp_port is not None:
            self._options["udp_port"] = udp_port
        self._dns: aiodns.DNSResolver | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises OSError, as aiohttp wants it."""
        if self._dns is None:
            self._dns = aiodns.DNSResolver(**self._options)
        try:
            found = await self._dns.getaddrinfo(host, type=socket.SOCK_STREAM)
        except (aiodns.error.DNSError, UnicodeError) as error:
            said = str(error.args[1]) if isinstance(error, aiodns.error.DNSError) and len(error.args) > 1 else "no name"
            raise OSError(None, said[:200]) from error
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for address, kind in ((_text(node.addr[0]), node.family) for node in found.nodes[:MAX_ADDRESSES])
        ]

    def cancel(self) -> None:
        """Ask no name server anything more. What waits ends in an error."""
        if self._dns is not None:
            self._dns.cancel()

    async def close(self) -> None:
        """As aiohttp's interface has it. The next question would begin anew."""
        dns, self._dns = self._dns, None
        if dns is not None:
            with suppress(aiodns.error.DNSError):
                await dns.close()


def _text(address: str | bytes) -> str:
    return address.decode("ascii") if isinstance(address, bytes) else address
