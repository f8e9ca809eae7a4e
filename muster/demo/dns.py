"""A name server on loopback with scripted answers: for the demo's clusters that go by name, and for tests.

By hand because it needs so little: A and AAAA over UDP, one question a packet, no compression but a pointer to the
question. No TCP: resolvers come that way only after a truncated answer, and there is none.
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from typing import cast

LOOPBACK = "127.0.0.1"

_TTL_S = 1
_RESPONSE = 0x8180  # QR, RD, RA of RFC 1035, 4.1.1
_A, _AAAA, _IN = 1, 28, 1


class Trouble(Enum):
    """What a name server does instead of giving addresses."""

    NXDOMAIN = 3
    SERVFAIL = 2
    REFUSED = 5
    HANG = -1


Records = Mapping[str, tuple[str, ...] | Trouble]
"""Lower-case names without the final dot; a name that is not listed does not exist."""


class NameServer(asyncio.DatagramProtocol):
    """Answers from `records`, which may be replaced at any time."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.asked: list[str] = []
        """Every name asked for, in order."""
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            name, kind, end = _question(data)
        except (IndexError, struct.error, UnicodeDecodeError):
            return  # not a query
        self.asked.append(name)
        found = self.records.get(name, Trouble.NXDOMAIN)
        if found is Trouble.HANG or self._transport is None:
            return
        code, addresses = (found.value, []) if isinstance(found, Trouble) else (0, _of_kind(kind, found))
        # Each answer: a pointer to the question's name, then type, class, TTL, length and the address.
        answers = b"".join(struct.pack("!HHHIH", 0xC00C, kind, _IN, _TTL_S, len(a)) + a for a in addresses)
        header = data[:2] + struct.pack("!HHHHH", _RESPONSE | code, 1, len(addresses), 0, 0)
        self._transport.sendto(header + data[12:end] + answers, addr)


def _question(packet: bytes) -> tuple[str, int, int]:
    """Name, type and end of the first question."""
    labels, at = [], 12
    while length := packet[at]:
        labels.append(packet[at + 1 : at + 1 + length].decode("ascii").lower())
        at += 1 + length
    (kind,) = struct.unpack_from("!H", packet, at + 1)
    return ".".join(labels), kind, at + 5


def _of_kind(kind: int, addresses: tuple[str, ...]) -> list[bytes]:
    version = {_A: 4, _AAAA: 6}.get(kind)
    return [ip.packed for ip in map(ipaddress.ip_address, addresses) if ip.version == version]


@asynccontextmanager
async def name_server(records: Records) -> AsyncIterator[NameServer]:
    """A running name server; its `port` is chosen by the kernel."""
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NameServer(records), local_addr=(LOOPBACK, 0)
    )
    try:
        yield server
    finally:
        transport.close()
